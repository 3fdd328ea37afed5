"""Rows without labels are predicted one after another; a row that cannot be read has an error and stops nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pytest
from PIL import Image

import promptkit as pk
from promptkit.core.errors import InputError, TaskError, TemplateError, Unsupported
from promptkit.predictor import in_chunks as module
from tests.models.vision.tiny import NAMES, convolutional
from tests.support.errors import refused

try:
    import polars
except ImportError:
    polars = None  # type: ignore[assignment]

WORDS = {"no": "bad", "yes": "good"}
TEXTS = [f"a film number {number} " * (1 + number % 4) for number in range(20)]
LONG = "long " * 200


def predictor(*later: Any, **options: Any) -> pk.Predictor:
    model = pk.load("fake", context_length=500)
    return pk.Predictor(model, pk.Prompt("sentiment/review", **options), [pk.Verbalizer(WORDS), *later])


def test_mappings_and_texts_give_the_same_predictions() -> None:
    texts = predictor().predict(TEXTS)
    mappings = predictor().predict([{"id": number, "text": text} for number, text in enumerate(TEXTS)])
    assert texts.predictions == mappings.predictions
    assert np.array_equal(texts.probabilities, mappings.probabilities)
    assert len({*texts.confidence.tolist()}) > 10


@pytest.mark.parametrize("data", ["text", 5, {"text": ["a"]}, [{5}], [["a"]], pd.Series([["a"]])])
def test_other_data_are_refused(data: Any) -> None:
    with refused(InputError, "not-rows", columns=("text",)):
        predictor().predict(data)


@pytest.mark.parametrize("column", [pd.Series, *([polars.Series] if polars else []), pyarrow.chunked_array, list, np.array])
def test_a_single_column_is_the_values_of_its_rows(column: Any) -> None:
    expected = predictor().predict([{"text": text} for text in TEXTS])
    predictions = predictor().predict(column([TEXTS] if column is pyarrow.chunked_array else TEXTS))
    assert predictions.predictions == expected.predictions
    assert np.array_equal(predictions.probabilities, expected.probabilities)


@pytest.mark.parametrize(
    "data", [["fine", None, 7], pd.Series(["fine", None, 7]), pd.Series(["fine", np.nan, 7]), ["fine", pd.NA, 7]]
)
def test_a_missing_value_of_a_single_column_is_an_error_of_its_row(data: Any) -> None:
    predictions = predictor().predict(data)
    assert [error is None for error in predictions.errors] == [True, False, True]
    assert predictions[2] == predictor().predict(["7"])[0]


@pytest.mark.parametrize("frame", [pd.DataFrame, pyarrow.table])
def test_a_data_frame_without_the_columns_of_the_predictor_is_refused(frame: Any) -> None:
    with refused(TaskError, "unknown-name", name="text"):
        predictor().predict(frame({"texts": TEXTS}))


def test_a_row_that_cannot_be_read_has_an_error() -> None:
    rows = [
        {"text": "fine"},
        {"text": None},
        {"other": "fine"},
        {"text": np.array(["a", "b"])},
        {"text": LONG},
        {"text": "bad"},
    ]
    predictions = predictor().predict(rows)
    good = predictor().predict([rows[0], rows[-1]])
    assert [error is None for error in predictions.errors] == [True, False, False, False, False, True]
    assert [predictions[0], predictions[5]] == [good[0], good[1]]
    assert not predictions.abstained.any()
    for prediction in predictions:
        assert (prediction.prediction is None) == (prediction.error is not None)
        assert (prediction.probabilities == {}) == (prediction.error is not None)


def test_a_prompt_that_does_not_fit_has_an_error_when_such_rows_are_skipped() -> None:
    predictions = predictor(on_too_long="skip").predict(["fine", LONG])
    assert predictions.errors[0] is None
    assert predictions.errors[1] == "The prompt does not fit the model's context"


def test_rows_that_are_all_unreadable_have_errors() -> None:
    predictions = predictor(pk.calibrate.Contextual()).predict([{"text": None}] * 3)
    assert predictions.predictions == (None,) * 3
    assert predictions.probabilities.tolist() == [[0, 0]] * 3


def test_an_error_of_the_prompt_is_not_an_error_of_a_row() -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.extract.FirstLine())
    with refused(TemplateError, "missing-variables", variables=("labels",)):
        predictor.predict(["fine", "bad"])


def test_no_rows_have_no_predictions() -> None:
    predictions = predictor().predict([])
    assert len(predictions) == 0
    assert predictions.probabilities.shape == (0, 2)


def test_chunks_do_not_change_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predictor(pk.calibrate.Contextual()).predict(TEXTS)
    monkeypatch.setattr(module, "CHUNK", 3)
    chunked = predictor(pk.calibrate.Contextual()).predict(TEXTS)
    assert whole.predictions == chunked.predictions
    assert np.array_equal(whole.probabilities, chunked.probabilities)


@pytest.mark.parametrize("calibration", [pk.calibrate.Contextual(), pk.calibrate.PMI()], ids=lambda each: each.name)
def test_a_calibration_that_needs_no_rows_of_a_task_is_applied(tmp_path: Path, calibration: Any) -> None:
    task = pk.task("sentiment")
    verbalizer = pk.Verbalizer(task.spec.labels)
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [verbalizer, calibration])
    run = pk.evaluate(predictor, task, limit=20, out=tmp_path, cache=False)
    rows = {row.id: dict(row.inputs) for row in task.rows("test")}
    predictions = predictor.predict([rows[row_id] for row_id in run.ids])
    assert predictions.predictions == run.results[0].predictions
    assert predictions.probabilities == pytest.approx(run.results[0].metric_input.probabilities, abs=1e-9)


def test_further_inputs_of_a_calibration_are_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    model: Any = pk.load("fake")
    counts: list[int] = []
    original = model.answer

    def answer(requests: Any, *arguments: Any) -> Any:
        counts.append(len(requests))
        return original(requests, *arguments)

    model.answer = answer
    chain = [pk.Verbalizer(WORDS), pk.calibrate.Contextual()]
    pk.Predictor(model, pk.Prompt("sentiment/review"), chain).predict(TEXTS[:8])
    assert counts == [3, 4, 4]


def test_columns_of_a_table_of_predictions() -> None:
    columns = predictor().predict(["fine", {"text": None}]).to_columns()
    assert [*columns] == ["prediction", "probability", "p_no", "p_yes", "abstained", "error"]
    assert columns["prediction"][0] in WORDS
    assert columns["probability"][0] == max(columns["p_no"][0], columns["p_yes"][0])  # type: ignore[type-var]
    assert [values[1] for values in columns.values()][:5] == [None, None, None, None, False]


def test_probabilities_of_labels() -> None:
    probabilities = predictor().predict_proba(TEXTS)
    assert probabilities.shape == (20, 2)
    assert probabilities.sum(1) == pytest.approx(np.ones(20))


def test_generated_texts_have_predictions_and_no_probabilities() -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", instruction=""), pk.extract.FirstLine())
    predictions = predictor.predict(["fine", {"text": None}])
    assert [*predictions.to_columns()] == ["prediction", "probability", "abstained", "error"]
    assert isinstance(predictions[0].prediction, str)
    assert predictions[0].probability is None
    assert predictions[1].error is not None
    with refused(Unsupported, "no-probabilities", aligner="first_line"):
        predictor.predict_proba(["fine"])


def test_frames_and_datasets_give_the_same_predictions_as_mappings() -> None:
    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    expected = predictor().predict(rows)
    frame, dataset, table = pd.DataFrame(rows), datasets.Dataset.from_list(rows), pyarrow.Table.from_pylist(rows)
    for data in (frame, dataset, table):
        predictions = predictor().predict(data)
        assert predictions.predictions == expected.predictions
        assert np.array_equal(predictions.probabilities, expected.probabilities)
    assert len(predictor().predict(frame[:0])) == 0


def test_images_are_predicted_from_arrays_and_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    task = pk.image_task(pixels, labels=["a", "b"] * 3)
    model = convolutional()
    labels = pk.Classes(["a", "b"], classes={"a": [NAMES[0]], "b": [NAMES[1]]})
    predictor = pk.Predictor(model, pk.ImageProcessor(), labels).fit(task)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    arrays = predictor.predict(pixels)
    paths = predictor.predict([str(tmp_path / f"{number}.png") for number in range(6)])
    assert arrays.predictions == paths.predictions
    assert arrays.probabilities == pytest.approx(paths.probabilities, abs=1e-6)
    broken = predictor.predict([str(tmp_path / "0.png"), str(tmp_path / "missing.png")])
    assert [error is None for error in broken.errors] == [True, False]
