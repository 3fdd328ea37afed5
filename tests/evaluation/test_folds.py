"""Runs with folds: each row is predicted from the rows of the other folds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.labelmap.bayesian import Bayesian
from promptkit.analysis.bias import bias
from promptkit.analysis.compare import compare_runs
from promptkit.analysis.label_maps import label_maps
from promptkit.analysis.realign import align
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.display.text_table import as_text
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.metrics.intervals import mean_share
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.runs.run_table import run_table
from promptkit.runs.shard import Shard
from promptkit.studies.learning_curve import learning_curve
from promptkit.tasks.folds import fold_of
from tests.support.errors import refused
from tests.support.runs import Killed, contents, killed_after, lines

WORDS = {"no": "bad", "yes": "good"}


def write_task(folder: Path, labels: list[int]) -> pk.Task:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"text": f"row {i} {'x' * (i % 3)}", "label": label}) for i, label in enumerate(labels)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    spec = {
        "description": "d",
        "template": "sentiment/review",
        "labels": WORDS,
        "sources": [{"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", "hold_out": 0.5}],
    }
    (folder / "task.yaml").write_text(json.dumps(spec))
    return pk.task(folder / "task.yaml")


@dataclass(frozen=True)
class Telltale:
    """An aligner that remembers the labels of the rows that it is fitted on, and recognizes these rows by their outputs."""

    name: ClassVar[str] = "telltale"

    @property
    def needs(self) -> Needs:
        return (LabeledRows(per_class=1000, seed=0),)

    def fit(self, data: FitData) -> _Known:
        labeled = data[LabeledRows(per_class=1000, seed=0)]
        return _Known({row.tobytes(): int(gold) for row, gold in zip(labeled.outputs.logprobs, labeled.gold, strict=True)})


@dataclass(frozen=True)
class _Known:
    labels: dict[bytes, int]

    def apply(self, outputs: Outputs) -> Any:
        found = [self.labels.get(row.tobytes()) for row in outputs.logprobs]
        return np.array([[0.0, 0.0] if label is None else [-100.0 * (label != i) for i in range(2)] for label in found])


def predictors(prompt: pk.Prompt, *aligners: Any, model: Any = None) -> list[pk.Predictor]:
    model = model or pk.load("fake", batch_tokens=200)
    return [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), *each]) for each in ([], *([each] for each in aligners))]


SELECTORS = [pk.demos.RandomEach(k=2), pk.demos.BM25(k=2), pk.demos.Balanced(k=2), pk.demos.Similar(k=1, encoder="fake")]


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 1), min_size=24, max_size=32), st.integers(0, 23), st.sampled_from(SELECTORS))
def test_no_prediction_depends_on_the_label_of_its_own_row(labels: list[int], row: int, selector: Any) -> None:
    """Retrieval finds the row itself, if it may; and the telltale knows its label, if it has seen it."""
    labels = [0, 1, *labels[2:], 0, 1, 0, 1, 0, 1, 0, 1]
    flipped = [1 - label if index == row else label for index, label in enumerate(labels)]
    prompt = pk.Prompt("sentiment/review", demos=selector)
    found = []
    with TemporaryDirectory() as folder:
        for name, each in (("labels", labels), ("flipped", flipped)):
            out = Path(folder) / name
            task = write_task(out, each)
            try:
                run = evaluate(predictors(prompt, Telltale()), task, folds=4, out=out, cache=False)
            except InputError as error:  # a fold may lack rows of a label
                assert error.code in ("too-few-labeled-rows", "too-few-rows")  # noqa: PT017
                return
            (place,) = [index for index, record in enumerate(task.labeled_rows()) if record.inputs["text"] == text_of(row)]
            row_id = task.labeled_rows()[place].id
            samples = {record["id"]: record for record in lines(run)}
            own_fold = {other["id"] for other in samples.values() if other["fold"] == samples[row_id]["fold"]}
            assert own_fold.isdisjoint(samples[row_id]["demos"])
            index = run.ids.index(row_id)
            found.append([result.logprobs[index].tolist() for result in run.results])
    assert found[0] == found[1]


def text_of(row: int) -> str:
    return f"row {row} {'x' * (row % 3)}"


@pytest.fixture(name="task")
def make_task(tmp_path: Path) -> pk.Task:
    return write_task(tmp_path / "task", [int(i % 3 == 0 or i % 7 == 1) for i in range(90)])


def test_a_run_with_folds_has_all_rows_and_says_which_fold_each_belongs_to(task: pk.Task, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    run = evaluate(predictors(prompt, pk.calibrate.Batch(rows=4)), task, folds=5, out=tmp_path)
    assert len(run.ids) == 90
    assert run.folds == 5 == run.to_json()["folds"]
    assert "in 5 folds" in str(run)
    assert any(note.startswith("5 folds") for note in run.notes)
    rows = {row.id: row for row in task.labeled_rows()}
    for file in ("samples.jsonl", "predictions.jsonl"):
        assert {record["id"]: record["fold"] for record in lines(run, file)} == {i: fold_of(row, 5) for i, row in rows.items()}
    support = lines(run, "support.jsonl")
    assert all(fold_of(rows[record["id"].removeprefix("fit ")], 5) != record["fold"] for record in support)
    assert {record["fold"] for record in support} == {1, 2, 3, 4, 5}


def test_the_results_of_folds_equal_the_results_of_separate_runs(task: pk.Task, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    chains = (pk.calibrate.Batch(rows=4), pk.calibrate.Contextual(), pk.probes.LinearProbe(per_class=4))
    run = evaluate(predictors(prompt, *chains), task, folds=3, out=tmp_path)
    for number in (1, 2, 3):
        alone = evaluate(predictors(prompt, *chains), task.fold(number, 3), folds=1, out=tmp_path / f"{number}")
        places = [run.ids.index(row) for row in alone.ids]
        for one, other in zip(run.results, alone.results, strict=True):
            np.testing.assert_allclose(one.logprobs[places], other.logprobs, atol=1e-6)


def test_finished_interrupted_and_sharded_runs_are_equal(task: pk.Task, tmp_path: Path) -> None:
    prompt, chains = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2)), [pk.probes.LinearProbe(per_class=4)]
    whole = evaluate(predictors(prompt, *chains), task, folds=3, out=tmp_path / "whole", cache=False)
    again = evaluate(predictors(prompt, *chains), task, folds=3, out=tmp_path / "whole", cache=False)
    assert again.to_json()["results"] == whole.to_json()["results"]
    killed = predictors(prompt, *chains, model=killed_after(9, batch_tokens=200))
    with pytest.raises(Killed):
        evaluate(killed, task, folds=3, out=tmp_path / "killed", cache=False)
    resumed = evaluate(predictors(prompt, *chains), task, folds=3, out=tmp_path / "killed", cache=False)
    assert resumed.resumed > 0
    assert contents(resumed) == contents(whole)
    shards = [
        evaluate_shard(predictors(prompt, *chains), task, Shard(number, 2), folds=3, out=tmp_path, cache=False)
        for number in (1, 2)
    ]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(whole)
    assert (merged.path / "outputs.safetensors").read_bytes() == (whole.path / "outputs.safetensors").read_bytes()
    assert merged.folds == 3


def test_equal_requests_of_folds_are_computed_once(task: pk.Task, tmp_path: Path) -> None:
    model: Any = pk.load("fake", batch_tokens=200)
    asked: Counter[Any] = Counter()
    original = model.answer

    def answer(requests: Any, done: Any = frozenset()) -> Any:
        for indices, outputs in original(requests, done):
            asked.update(requests[index] for index in indices)
            yield indices, outputs

    model.answer = answer
    zero_shot = pk.Prompt("sentiment/review", demos=pk.demos.Zero())
    run = evaluate(predictors(zero_shot, pk.calibrate.Batch(rows=8), model=model), task, folds=5, out=tmp_path, cache=False)
    assert set(asked.values()) == {1}
    assert len(lines(run, "support.jsonl")) == 40
    assert len(asked) == 90


def test_a_limit_leaves_the_rows_of_the_other_folds(task: pk.Task, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    whole = evaluate(predictors(prompt), task, folds=5, out=tmp_path)
    limited = evaluate(predictors(prompt), task, folds=5, limit=7, out=tmp_path)
    assert limited.ids == whole.ids[:7]
    assert lines(limited) == lines(whole)[:7]


def test_analyses_fit_on_each_fold(task: pk.Task, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    chains = (pk.calibrate.Batch(rows=4), pk.probes.LinearProbe(per_class=6), Bayesian(per_class=6))
    run = evaluate(predictors(prompt, *chains), task, folds=3, out=tmp_path)
    by_name = {result.align: result for result in run.results}
    for result in align(run.path, "batch:rows=4,linear:per_class=6").results:
        np.testing.assert_allclose(result.logprobs, by_name[result.align].logprobs, atol=1e-6)
    for result, read in zip(run.results, pk.Run.load(run.path).results, strict=True):
        np.testing.assert_array_equal(read.logprobs, result.logprobs)
    names = [name for name in by_name if name.startswith("blm")]
    assert [*label_maps(run.path).maps] == [f"{name}, fold {fold}" for name in names for fold in (1, 2, 3)]
    curve = learning_curve(run.path, per_class=(2, 6), draws=2, task=task)
    (linear,) = [points for name, points in curve.curves.items() if name.startswith("linear")]
    last, accuracy = linear[-1], by_name[next(n for n in by_name if n.startswith("linear"))].metrics["accuracy"]["value"]
    assert last is not None
    assert 0 <= last.value <= 1
    assert abs(last.value - accuracy) < 0.2
    assert bias(str(run.path)).n == 90
    other = evaluate(predictors(prompt), task, folds=4, out=tmp_path)
    assert compare_runs([str(run.path), str(other.path)]).n == 90


def test_run_baselines_and_comparison_state_the_variance_between_folds(task: pk.Task, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    run = evaluate(predictors(prompt, pk.calibrate.Batch(rows=4)), task, folds=3, out=tmp_path)
    assert run.baselines is not None
    folds = np.array([row.fold for row in run.rows])
    for result in (*run.results, *run.baselines.results):
        expected = mean_share(result.metric_input.correct, folds)
        assert result.metrics["accuracy"] == expected.rounded()
        assert expected.high - expected.low > (over_rows := mean_share(result.metric_input.correct)).high - over_rows.low
    assert "variance between folds" in as_text(run_table(run))
    read = pk.Run.load(run.path)
    assert read.baselines is not None
    for one, other in zip((*run.results, *run.baselines.results), (*read.results, *read.baselines.results), strict=True):
        np.testing.assert_array_equal(one.metric_input.folds, other.metric_input.folds)
        assert one.metrics == other.metrics
    branches = compare_runs([str(run.path), f"{run.path}:tfidf"]).branches
    for branch, result in zip(branches, (run.results[0], run.baselines.results[-1]), strict=True):
        assert branch.accuracy.rounded() == branch.metrics["accuracy"].value.rounded() == result.metrics["accuracy"]


def test_folds_that_cannot_differ_have_intervals_over_rows(task: pk.Task, tmp_path: Path) -> None:
    """Without demonstrations and calibrations, every fold has the same predictor; its baselines are fitted in each fold."""
    run = evaluate(predictors(pk.Prompt("sentiment/review")), task, folds=3, out=tmp_path)
    assert run.baselines is not None
    (result,) = run.results
    assert result.metrics["accuracy"] == mean_share(result.correct).rounded()
    assert "variance between folds" not in as_text(run_table(run))
    assert all(baseline.metric_input.folds is not None for baseline in run.baselines.results)


def test_the_number_of_folds_is_checked(task: pk.Task, tmp_path: Path) -> None:
    with refused(InputError, "out-of-range", folds=0):
        evaluate(predictors(pk.Prompt("sentiment/review")), task, folds=0, out=tmp_path)


def test_a_data_file_of_few_rows_has_folds_by_default(tmp_path: Path) -> None:
    rows = [{"text": f"row {number} {'x' * (number % 5)}", "label": "ab"[number % 2]} for number in range(40)]
    task = pk.task(rows, template="{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), pk.Verbalizer({"a": "a", "b": "b"}))
    run = evaluate(predictor, task, out=tmp_path)
    assert (run.folds, len(run.ids)) == (5, 40)
    half = evaluate(predictor, task, folds=1, out=tmp_path)
    assert half.folds == 0
    assert set(half.ids) == {row.id for row in task.rows("test")}
