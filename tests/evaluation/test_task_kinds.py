"""Runs, baselines and saved predictors of multi-label, ordinal and numeric tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.analysis.bias import bias
from promptkit.analysis.realign import align
from promptkit.core.errors import Unsupported
from promptkit.evaluation.baselines import with_baselines
from promptkit.runs.baseline_files import read_baselines
from promptkit.runs.run import Run
from tests.support.calibrations import MULTI_LABEL
from tests.support.errors import refused
from tests.support.paths import ROOT
from tests.support.runs import Killed, contents, killed_after, lines

WORDS = {"joy": "happy", "anger": "furious", "fear": "scared"}


def feelings(rows: int = 60) -> pk.Task:
    """Texts that name some of three feelings, or none; half of them are held out."""
    table = []
    for number in range(rows):
        labels = [label for bit, label in enumerate(WORDS) if number >> (bit + 1) & 1]
        text = f"Person {number} is {' and '.join(WORDS[label] for label in labels) or 'calm'}."
        table.append({"text": text, "labels": labels})
    halves = {"train": table[::2] + table[::4], "test": table[1::2]}
    return pk.task(halves, multi_label=True, labels=[*WORDS], name="feelings")


def ratings(**options: Any) -> pk.Task:
    """Texts with a rating from 1 to 5."""
    rows = [{"text": f"film {number} was {['bad', 'poor', 'fair', 'good', 'great'][number % 5]}"} for number in range(60)]
    rated = [{**row, "label": 1 + number % 5} for number, row in enumerate(rows)]
    return pk.task({"train": rated[::2], "test": rated[1::2]}, name="ratings", labels=[*range(1, 6)], **options)


def scores() -> pk.Task:
    """Texts with a number from 1 to 5, which the model rates on a scale of whole numbers."""
    rows = [{"text": f"film {number}", "label": 1 + (number * 7 % 41) / 10} for number in range(60)]
    return pk.task({"train": rows[::2], "test": rows[1::2]}, name="scores", labels=[*range(1, 6)], numeric=True)


def predictors(task: pk.Task, *calibrations: Any, model: Any = None, shots: int = 2) -> list[pk.Predictor]:
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.random(k=shots))
    reader, loaded = reader_for(task), model or pk.load("fake", batch_tokens=900)
    return [pk.Predictor(loaded, prompt, [reader, *([] if each is None else [each])]) for each in (None, *calibrations)]


def prediction_lines(run: Run) -> list[dict[str, Any]]:
    """The lines of `predictions.jsonl`."""
    return [json.loads(line) for line in (run.path / "predictions.jsonl").read_text("utf-8").splitlines()]


BOTH = (pk.calibrate.LabelBatch(), pk.calibrate.LabelThreshold())


def evaluated(task: pk.Task, folder: Path, *calibrations: Any, **keywords: Any) -> Run:
    return pk.evaluate(predictors(task, *calibrations, **keywords), task, out=folder, cache=False)


# ---- multi-label -------------------------------------------------------------------------------------


def test_a_run_records_the_labels_and_the_log_odds_of_each_row(tmp_path: Path) -> None:
    task = feelings()
    run = evaluated(task, tmp_path)
    rows = {row.id: row for row in task.rows("test")}
    (result,) = run.results
    for record, prediction, logprobs in zip(lines(run), result.predictions, result.logprobs, strict=True):
        row = rows[record["id"]]
        assert (record["gold"], record["gold_labels"]) == (row.label, [*row.labels])
        predicted = [label for label, odds in record["log_odds"].items() if odds > 0]
        assert prediction == ", ".join(predicted) == record["prediction"]
        assert np.exp(logprobs) == pytest.approx(expit([*record["log_odds"].values()]))
    assert result.metrics["subset_accuracy"]["value"] == pytest.approx(
        np.mean([record["prediction"] == record["gold"] for record in lines(run)]), abs=1e-6
    )
    for record, inputs in zip(prediction_lines(run), lines(run), strict=True):
        assert record["gold_labels"] == inputs["gold_labels"]
        members = [label for label, p in record["probabilities"]["multi-label"].items() if p > 0.5]
        assert record["predicted_labels"] == {"multi-label": members}
    assert result.metric_input.gold_counts == {label: sum(label in row.labels for row in rows.values()) for label in WORDS}


def test_a_run_is_resumed_realigned_and_compared(tmp_path: Path) -> None:
    task = feelings()
    whole = evaluated(task, tmp_path / "whole", *BOTH)
    with pytest.raises(Killed):
        evaluated(task, tmp_path / "part", *BOTH, model=killed_after(2, batch_tokens=900))
    assert contents(evaluated(task, tmp_path / "part", *BOTH)) == contents(whole)
    aligned = align(whole.path, ",".join(MULTI_LABEL))
    for result, original in zip(aligned.results, whole.results, strict=True):
        np.testing.assert_array_equal(result.logprobs, original.logprobs)
    everything = {result.align for result in align(whole.path).results}
    assert everything == {"multi-label", "label-batch:estimate_on=test", *MULTI_LABEL}
    plain, batch, threshold = predictors(task, *BOTH)
    comparison = pk.compare(task, plain=plain, batch=batch, threshold=threshold, out=tmp_path / "compared", cache=False)
    assert len(comparison.branches) == 3
    assert str(comparison)


def test_calibrations_shift_the_log_odds_of_each_label(tmp_path: Path) -> None:
    run = evaluated(feelings(), tmp_path, *BOTH)
    plain, *shifted = (result.logprobs - np.log1p(-np.exp(result.logprobs)) for result in run.results)
    for odds in shifted:
        differences = plain - odds
        assert np.ptp(differences, axis=0) == pytest.approx(np.zeros(3), abs=1e-6)


def test_baselines_are_the_most_frequent_set_and_a_regression_for_each_label(tmp_path: Path) -> None:
    task = feelings()
    run = with_baselines(evaluated(task, tmp_path), task, reader_for(task))
    assert run.baselines is not None
    frequent, regression = run.baselines.results
    train = [row.labels for row in (*task.part("pool"), *task.part("fit"))]
    most = max(map(train.count, train))
    assert train.count(tuple(filter(None, frequent.predictions[0].split(", ")))) == most
    assert regression.metric_input.correct.mean() > frequent.metric_input.correct.mean()
    stored = read_baselines(run.path)
    assert stored is not None
    for one, other in zip(stored.results, run.baselines.results, strict=True):
        np.testing.assert_array_equal(one.metric_input.predicted_sets, other.metric_input.predicted_sets)
    assert "frequent-set" in str(run)
    json.dumps(run.to_json())


def test_methods_for_one_label_per_row_are_refused(tmp_path: Path) -> None:
    task = feelings()
    run, predictor = evaluated(task, tmp_path), predictors(task)[0]
    with refused(Unsupported, "needs-single-label"):
        bias(str(run.path))
    with refused(Unsupported, "needs-single-label"):
        pk.search(predictor, task, method="list", instructions=["a", "b"])
    with refused(Unsupported, "needs-single-label"):
        pk.baselines(task)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.rerank(k=1))
    with refused(Unsupported, "needs-single-label"):
        pk.evaluate(pk.Predictor(pk.load("fake"), prompt, reader_for(task)), task, out=tmp_path, cache=False)
    fitted = predictor.fit(task)
    for call in (lambda: fitted.predict([{"text": "a"}], threshold=0.5), fitted.as_sklearn):
        with refused(Unsupported, "no-probabilities"):
            call()


# ---- scales ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [ratings(ordinal=True), scores()], ids=lambda task: task.name)
def test_expected_values_are_means_over_the_label_probabilities(tmp_path: Path, task: pk.Task) -> None:
    run = evaluated(task, tmp_path, pk.calibrate.Batch())
    rows = {row.id: row for row in task.rows("test")}
    for result in run.results:
        inputs = result.metric_input
        expected = softmax(result.logprobs, axis=1) @ np.arange(1.0, 6.0)
        assert inputs.predicted_values == pytest.approx(expected)
        assert inputs.gold_values is not None
        assert inputs.gold_values.tolist() == [rows[row].value for row in run.ids]
        assert [rows[row].label for row in run.ids] == [*run.gold]
        for record, value, gold in zip(prediction_lines(run), expected, inputs.gold_values, strict=True):
            assert record["gold_value"] == gold
            assert record["values"][result.align] == pytest.approx(value, rel=1e-5)


@settings(max_examples=25)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6, unique=True), st.integers(0, 100))
def test_expected_values_lie_within_the_scale(values: list[float], seed: int) -> None:
    labels = {str(number): str(number) for number in range(len(values))}
    reader = pk.Verbalizer(labels, values=dict(zip(labels, values, strict=True)))
    logits = np.random.default_rng(seed).normal(0, 20, (20, len(values)))
    records: list[Any] = [{"logprobs": dict(zip(labels, row, strict=True))} for row in logits.tolist()]
    found = reader.answers([*records, {"no_answer": True}]).values
    assert found is not None
    assert np.isnan(found[-1])
    assert ((min(values) <= found[:-1]) & (found[:-1] <= max(values))).all()


def test_baselines_of_scales_predict_values(tmp_path: Path) -> None:
    for task, constant_name in ((ratings(ordinal=True), "median"), (scores(), "mean")):
        names = ["majority", "tfidf", constant_name, "ridge"]
        run = with_baselines(evaluated(task, tmp_path), task, reader_for(task))
        assert run.baselines is not None
        assert [result.name for result in run.baselines.results] == names
        train = [row.value for row in (*task.part("pool"), *task.part("fit")) if row.value is not None]
        constant = np.median(train) if "median" in names else np.mean(train)
        values = run.baselines.results[2].metric_input.predicted_values
        assert values == pytest.approx(np.full(len(run.ids), constant), abs=1e-5)
        for result in run.baselines.results:
            assert result.metric_input.predicted_values is not None
            assert ((result.metric_input.predicted_values >= 1) & (result.metric_input.predicted_values <= 5)).all()


def test_generated_numbers_have_values(tmp_path: Path) -> None:
    rows = [{"q": f"{number} + 1?", "label": number + 1.5} for number in range(40)]
    task = pk.task(rows, answer="label", numeric=True, name="sums")
    reader = reader_for(task)
    run = pk.evaluate(predictors(task), task, out=tmp_path, cache=False)
    run = with_baselines(run, task, reader)
    inputs = run.results[0].metric_input
    assert inputs.gold_values is not None
    assert inputs.predicted_values is not None
    assert inputs.gold_values.tolist() == [float(gold) for gold in run.gold]
    assert np.isnan(inputs.predicted_values).tolist() == [text is None for text in run.results[0].predictions]
    records: list[Any] = [{"prediction": text} for text in ("1,234.5", "two", None, "-3")]
    values = reader.answers(records).values
    assert values is not None
    np.testing.assert_array_equal(values, [1234.5, np.nan, np.nan, -3.0])
    assert run.baselines is not None
    assert [result.name for result in run.baselines.results] == ["frequent-answer", "mean", "ridge"]


# ---- saved predictors --------------------------------------------------------------------------------

PREDICT = """
import json, sys
import promptkit as pk
predictor = pk.Predictor.load(sys.argv[1])
columns = predictor.predict([{"text": text} for text in json.loads(sys.argv[2])]).to_columns()
print(json.dumps({name: [*values] for name, values in columns.items()}))
"""


def launched(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["multi-label", "ordinal", "numeric"])
def test_a_saved_predictor_predicts_the_same_in_another_process(tmp_path: Path, kind: str) -> None:
    task = {"multi-label": feelings, "ordinal": lambda: ratings(ordinal=True), "numeric": scores}[kind]()
    calibration = pk.calibrate.LabelThreshold() if kind == "multi-label" else pk.calibrate.Batch()
    fitted = predictors(task, calibration)[1].fit(task)
    texts = ["Person 1 is happy.", "a film", "", "Person 9 is furious and scared."]
    predictions = fitted.predict([{"text": text} for text in texts])
    columns = {name: [*values] for name, values in predictions.to_columns().items()}
    fitted.save(tmp_path / "saved")
    assert json.loads(launched(PREDICT, str(tmp_path / "saved"), json.dumps(texts))) == json.loads(json.dumps(columns))
    assert columns["error"][2]
    assert columns["prediction"][2] is None
    if kind == "multi-label":
        assert "probability" not in columns
        for number in (0, 1, 3):
            members = [label for label in WORDS if columns[f"p_{label}"][number] > 0.5]
            assert columns["prediction"][number] == members == [*(predictions[number].labels or ())]
    else:
        assert columns["value"][2] is None
        for number in (0, 1, 3):
            expected = sum(columns[f"p_{label}"][number] * label for label in range(1, 6))
            assert columns["value"][number] == pytest.approx(expected) == predictions[number].value
