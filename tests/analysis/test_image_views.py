"""Images as a model reads them, before and after programs, and the figures of runs and training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import promptkit as pk
from promptkit.analysis.bias import bias
from promptkit.analysis.run_figure import draw_run
from promptkit.core.errors import Unsupported
from promptkit.core.requests import Classify
from promptkit.inputs.image import image_input
from tests.models.vision.tiny import NAMES, convolutional
from tests.support.errors import refused
from tests.support.image_files import squares

READER = pk.Classes(["left", "right"], classes={"left": "cat", "right": "dog"})


def predictor(*programs: object) -> pk.Predictor:
    return pk.Predictor(convolutional(), [pk.ImageProcessor(), *programs], READER)


@pytest.fixture
def task() -> pk.Task:
    images, labels = squares(40)
    return pk.image_task(images, labels, label_names=["left", "right"], name="squares")


def images_of(figure: Figure) -> list[Any]:
    return [
        image.get_array() for axes in figure.findobj(lambda each: hasattr(each, "get_images")) for image in axes.get_images()
    ]


def test_pixels_are_those_that_the_model_classifies(task: pk.Task) -> None:
    views = pk.view_images(predictor(pk.Invert(), pk.Place(0.5, background=0.25)), task, n=3)
    model, rows = convolutional(), {row.id: row for row in task.rows("test")}
    assert views.operations == ("invert", "place")
    for row in views.rows:
        (value,) = rows[row.id].inputs.values()
        assert row.label == rows[row.id].label
        for seen in (row.before, row.after):
            assert seen.pixels.shape == (3, *model.card.size)
            plain = pk.Predictor(model, pk.ImageProcessor(), READER).bind(task).encode([rows[row.id].unlabeled()])[0]
            given = plain.request(Classify())
            request = type(given)(input=type(image_input(value, row.id))(pixels=seen.pixels), verb=Classify())
            ((_, (output,)),) = model.answer([request])
            expected = np.exp(output.logprobs.numpy())
            assert [name for name, _ in seen.classes] == [NAMES[s] for s in np.argsort(-expected, kind="stable")[:3]]
            assert [share for _, share in seen.classes] == pytest.approx(sorted(expected, reverse=True)[:3], abs=1e-5)
        corner, middle = row.after.pixels.numpy()[:, 0, 0], row.before.pixels.numpy()
        assert corner == pytest.approx(0.25)
        assert not np.array_equal(row.before.pixels.numpy(), row.after.pixels.numpy())
        assert 0 <= middle.min() <= middle.max() <= 1


def test_the_figure_shows_each_image_before_and_after(task: pk.Task) -> None:
    views = pk.view_images(predictor(pk.Invert()), task, n=2)
    drawn = images_of(views.plot())
    expected = [seen.pixels.numpy().transpose(1, 2, 0) for row in views.rows for seen in (row.before, row.after)]
    assert len(drawn) == 4
    for one, other in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "invert" in str(views)
    assert json.loads(json.dumps(views.to_json()))[0]["before"] == dict(views.rows[0].before.classes)


def test_without_operations_there_is_one_column(task: pk.Task) -> None:
    views = pk.view_images(predictor(), task, n=2)
    assert len(images_of(views.plot())) == 2
    assert all(row.before == row.after for row in views.rows)


def test_a_language_model_has_no_pixels() -> None:
    text = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer({"negative": "bad", "positive": "good"}))
    with refused(Unsupported, "no-pixels", model="fake"):
        pk.view_images(text, pk.task("sentiment"))


def test_the_figure_of_a_run_has_images_accuracies_and_label_maps(task: pk.Task, tmp_path: Path) -> None:
    probe = pk.probes.PrototypicalVerbalizer(per_class=4)
    chains: list[Any] = [READER, [READER, pk.labelmap.BayesianPlus(per_class=2)], [READER, probe]]
    model = convolutional()
    branches = [pk.Predictor(model, [pk.ImageProcessor(), pk.Invert()], chain) for chain in chains]
    run = pk.evaluate(branches, task, limit=8, out=tmp_path, cache=False)
    figure = draw_run(run, pk.view_images(branches[0], task, n=2))
    titles = [axes.get_title(loc="left") for part in figure.subfigs for axes in part.axes]
    assert [title for title in titles if title][:2] == ["input", "after invert"]
    assert titles[-2:-1] == [f"label map {run.results[1].align}, weights of probabilities"]
    assert len(figure.subfigs) == 3
    (axes,) = figure.subfigs[1].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [result.align for result in run.results]
    points = [container[0].get_xdata()[0] for container in axes.containers]
    assert points == [result.metrics["accuracy"]["value"] for result in run.results]
    biases = bias(str(run.path))
    assert biases.contexts == 1  # no image has demonstrations
    assert all(each.excess is None for each in biases.biases)
    assert "no premise" in biases.biases[2].reason
    assert sum(label.gold for label in biases.labels) == 8


def test_the_figure_of_a_training_has_its_losses(task: pk.Task, tmp_path: Path) -> None:
    result = pk.train(
        pk.Predictor(
            convolutional(), [pk.ImageProcessor(), pk.Watermark()], [pk.Classes(["left", "right"]), pk.labelmap.BayesianPlus()]
        ),
        task,
        per_class=4,
        steps=3,
        dev=6,
        out=tmp_path,
        cache=False,
    )
    losses, accuracies = result.plot().subfigs[0].axes
    training, dev, _ = losses.get_lines()
    assert list(training.get_ydata()) == list(result.losses)
    assert list(dev.get_ydata()) == [look.loss for look in result.dev_evaluations]
    assert list(accuracies.get_lines()[0].get_ydata()) == [look.value for look in result.dev_evaluations]
