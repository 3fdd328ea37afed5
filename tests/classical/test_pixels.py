"""Baselines of images: the majority class, and logistic regression on pixels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import promptkit as pk
from promptkit.classical.pixels import MAX_ROWS, pixel_regression
from promptkit.core.arrays import Array, as_uint8_array
from promptkit.core.errors import InputError
from promptkit.core.examples import Example, LabeledExample
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.image_files import squares


def rows_of(images: np.ndarray, labels: np.ndarray, prefix: str = "") -> list[LabeledExample]:
    return [
        LabeledExample(id=f"{prefix}{number}", inputs={"image": as_uint8_array(image)}, label=str(label))
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def test_baselines_of_a_task_of_images() -> None:
    task = pk.image_task(*squares(80), label_names=["left", "right"], name="squares")
    table = pk.baselines(task, limit=30)
    names = {each.name: each for each in table.baselines}
    assert set(names) == {"majority of the pool", "regression on pixels"}
    assert names["regression on pixels"].estimate.value > 0.9
    assert names["majority of the pool"].estimate.value < 0.8
    with refused(InputError, "selectors-need-texts", task="squares", selector="random"):
        pk.baselines(task, pk.demos.Random(k=2))


def test_the_regression_is_that_of_scikit_learn_on_scaled_images() -> None:
    images, labels = squares(2)
    items = rows_of(*squares(30, seed=1), prefix="item")
    vectors = [image.ravel() / np.linalg.norm(image.ravel().astype(float)) for image in images]
    expected = LogisticRegression(max_iter=1000).fit(vectors, [str(label) for label in labels])
    assert pixel_regression(rows_of(images, labels), items) == list(expected.predict([_unit(row) for row in items]))


def _unit(row: Example) -> np.ndarray:
    (value,) = row.inputs.values()
    assert isinstance(value, Array)
    pixels = value.numpy().astype(float).ravel()
    return pixels / np.linalg.norm(pixels)


def test_the_order_of_the_rows_has_no_effect_and_sizes_may_differ() -> None:
    rows, items = rows_of(*squares(20, size=6)), rows_of(*squares(20, seed=1, size=40), prefix="item")
    predicted = pixel_regression(rows, items)
    assert predicted == pixel_regression(rows[::-1], items)
    assert np.mean([label == row.label for label, row in zip(predicted, items, strict=True)]) > 0.8


def test_one_label_is_predicted_for_all() -> None:
    images, _ = squares(4)
    assert pixel_regression(rows_of(images, np.zeros(4, int)), rows_of(images, np.ones(4, int))) == ["0"] * 4


@pytest.mark.parametrize("count", [MAX_ROWS + 50])
def test_only_so_many_rows_are_used(count: int) -> None:
    images, labels = squares(count, size=2)
    rows = rows_of(images, labels)
    assert pixel_regression(rows, rows[:20]) == pixel_regression(by_hash(rows, MAX_ROWS), rows[:20])


def test_about_one_row_of_each_label_gives_no_warning() -> None:
    """Warnings are errors in tests."""
    rows = rows_of(squares(30)[0], np.arange(30))
    assert len(pixel_regression(rows, rows[:3])) == 3
