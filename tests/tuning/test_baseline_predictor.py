"""A baseline as a saved predictor."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import promptkit as pk
from promptkit.config.predict import PredictConfig
from promptkit.core.errors import CheckpointError, InputError
from promptkit.predictor.columns import Columns
from promptkit.predictor.estimate import Estimate, Figure
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.tasks.sampling import by_hash
from promptkit.tuning.baseline_predictor import BASELINE, BaselinePredictor, load_predictor
from promptkit.tuning.baselines import baseline_named
from tests.support.errors import refused

TASK = pk.task("sentiment")
ROWS = tuple(by_hash(TASK.rows("test"), 80))
NEW = [{"text": row.texts["text"]} for row in TASK.part("pool")[:30]]


def predictor(name: str = "tfidf") -> BaselinePredictor:
    known = OutOfFold(labels=TASK.labels, gold=np.array([0, 1]), probabilities=np.array([[0.75, 0.25], [0.5, 0.5]]), folds=2)
    figure = Figure(value=0.5, low=0.25, high=0.75)
    estimate = Estimate(task="sentiment", split="test", rows=2, folds=2, metrics={"accuracy": figure})
    made = BaselinePredictor(
        baseline=baseline_named(name), labels=TASK.labels, columns=Columns.of_task(TASK), fitted_on_rows=ROWS
    )
    return made.with_estimate(estimate, known)


@pytest.mark.parametrize("name", ["majority", "tfidf", "neighbors"])
def test_a_saved_baseline_predicts_the_same(name: str, tmp_path: Path) -> None:
    saved = predictor(name)
    loaded = load_predictor(saved.save(tmp_path / "saved"))
    assert isinstance(loaded, BaselinePredictor)
    assert np.array_equal(saved.predict_proba(NEW), loaded.predict_proba(NEW))
    np.testing.assert_allclose(loaded.predict_proba(NEW).sum(1), 1)
    assert (loaded.estimate, loaded.labels, loaded.columns) == (saved.estimate, saved.labels, saved.columns)
    assert loaded.out_of_fold is not None
    assert np.array_equal(loaded.out_of_fold.probabilities, predictor().out_of_fold.probabilities)  # type: ignore[union-attr]


def test_a_file_is_predicted_with_a_saved_baseline(tmp_path: Path) -> None:
    saved = predictor()
    folder, source, target = saved.save(tmp_path / "saved"), tmp_path / "new.csv", tmp_path / "out.csv"
    with source.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text"])
        writer.writeheader()
        writer.writerows(NEW)
    result = PredictConfig(predictor=str(folder), data=source, threshold=0.6).run(target, progress=False)
    with target.open(encoding="utf-8", newline="") as stream:
        written = [row["prediction"] for row in csv.DictReader(stream)]
    expected = saved.predict(NEW, threshold=0.6).predictions
    assert written == [prediction or "" for prediction in expected]
    assert result.abstained == expected.count(None) > 0


def test_a_saved_baseline_of_images_predicts_the_same(tmp_path: Path) -> None:
    task = pk.task("digits")
    rows = tuple(by_hash(task.rows("test"), 60))
    made = BaselinePredictor(
        baseline=baseline_named("pixels"), labels=task.labels, columns=Columns.of_task(task), fitted_on_rows=rows[:50]
    )
    loaded = BaselinePredictor.load(made.save(tmp_path / "saved"))
    new = [dict(row.inputs) for row in rows[50:]]
    assert [row.inputs for row in loaded.fitted_on_rows] == [row.inputs for row in rows[:50]]
    assert np.array_equal(made.predict_proba(new), loaded.predict_proba(new))


def test_changed_rows_are_refused(tmp_path: Path) -> None:
    folder = predictor().save(tmp_path / "saved")
    rows = folder / "demonstrations.jsonl"
    rows.write_text(rows.read_text("utf-8").replace("positive", "negative", 1), "utf-8")
    with refused(CheckpointError, "damaged-baseline", file=str(rows)):
        load_predictor(folder)


def test_a_damaged_baseline_is_refused(tmp_path: Path) -> None:
    folder = predictor().save(tmp_path / "saved")
    (folder / BASELINE).write_text("{}", "utf-8")
    with refused(CheckpointError, "damaged-baseline"):
        load_predictor(folder)


def test_a_baseline_has_no_model(tmp_path: Path) -> None:
    folder = predictor().save(tmp_path / "saved")
    with refused(InputError, "no-model"):
        load_predictor(folder, model="fake")
    with refused(CheckpointError, "path-exists"):
        predictor().save(folder)
