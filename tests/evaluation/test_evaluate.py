"""Runs on the fake engine: the contents of run folders, resuming, and invariance of results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.fake import FakeModel
from promptkit.runs.run import Run
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.runs import Killed, contents, killed_after, lines


def predictors(model: Any, *, k: int = 4, seed: int = 0, demos: str = "balanced") -> list[pk.Predictor]:
    select = {"balanced": pk.demos.Balanced, "random-each": pk.demos.RandomEach}[demos]
    prompt = pk.Prompt("sentiment/review", demos=select(k=k, seed=seed))
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    chains: list[list[Any]] = [[], [pk.calibrate.Contextual()], [pk.calibrate.Batch(rows=8)]]
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in chains]


def run(out: Path, *, model: Any = None, limit: int = 30, **options: Any) -> Run:
    return evaluate(
        predictors(model or pk.load("fake", batch_tokens=3000), **options),
        pk.task("sentiment"),
        limit=limit,
        out=out,
        cache=False,
    )


@pytest.mark.parametrize("batches", [0, 1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"id": "half a li'])
def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path, batches: int, torn: bytes) -> None:
    full = run(tmp_path / "full")
    with pytest.raises(Killed):
        run(tmp_path / "killed", model=killed_after(batches, batch_tokens=3000))
    samples = next((tmp_path / "killed").glob("sentiment-*")) / "samples.jsonl"
    with samples.open("ab") as stream:
        stream.write(torn)
    resumed = run(tmp_path / "killed")
    assert contents(resumed) == contents(full)
    assert resumed.resumed < 30


def test_a_finished_run_is_read_and_not_computed_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, model=killed_after(0, batch_tokens=3000))
    assert again.resumed == len(again.ids) == 30
    assert again.to_json()["results"] == first.to_json()["results"]


def test_a_smaller_limit_gives_the_first_rows_with_the_same_answers(tmp_path: Path) -> None:
    subset, many = lines(run(tmp_path, limit=10)), lines(run(tmp_path, limit=30))
    assert subset == many[:10]


def test_answers_do_not_depend_on_the_order_of_rows_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(tmp_path / "a")
    backwards: Callable[[Any, str], list[LabeledExample]] = lambda task, split: task._examples(split)[::-1]  # noqa: E731
    monkeypatch.setattr(pk.Task, "rows", backwards)
    assert contents(run(tmp_path / "b")) == contents(expected)


def test_records_contain_the_prompt_and_the_answer(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    gold = {row.id: row.label for row in task.rows("test")}
    pool = {row.id for row in task.pool()}
    labels = {row.id: row.label for row in task.pool()}
    for line in lines(run(tmp_path)):
        assert list(line) == [
            *("id", "gold", "prediction", "logprobs", "continuations"),
            *("demos", "demo_labels", "dropped", "boundary", "prompt_hash", "tokens"),
        ]
        assert line["demo_labels"] == [labels[demo] for demo in line["demos"]]
        assert line["gold"] == gold[line["id"]]
        assert line["prediction"] == max(line["logprobs"], key=line["logprobs"].get)
        for scored, label in zip(line["continuations"], line["logprobs"], strict=True):
            assert sum(scored["logprobs"]) == pytest.approx(line["logprobs"][label], abs=1e-4)
        assert len(line["demos"]) == 4
        assert pool.issuperset(line["demos"])


def test_calibrated_branches_equal_their_formula_on_the_recorded_scores(tmp_path: Path) -> None:
    finished = run(tmp_path)
    plain, contextual, batch = finished.results
    support = lines(finished, "support.jsonl")
    labels = finished.labels
    free = np.array([[line["logprobs"][y] for y in labels] for line in support if line["id"].startswith("content-free")])
    prior = np.exp(free).mean(0)
    expected = np.exp(plain.logprobs) / prior
    assert np.allclose(np.exp(contextual.logprobs), expected / expected.sum(1, keepdims=True), atol=1e-6)
    fit = np.array([[line["logprobs"][y] for y in labels] for line in support if line["id"].startswith("fit ")])
    assert len(fit) == 8
    shifted = plain.logprobs - (fit - np.log(np.exp(fit).sum(1, keepdims=True))).mean(0)
    assert np.allclose(np.diff(batch.logprobs), np.diff(shifted), atol=1e-6)


def test_a_branch_is_the_same_with_and_without_other_branches(tmp_path: Path) -> None:
    def batches(*rows: int) -> list[pk.Predictor]:
        prompt, words = pk.Prompt("sentiment/review"), pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
        return [pk.Predictor(model, prompt, [words, pk.calibrate.Batch(rows=count)]) for count in rows]

    model, task = pk.load("fake"), pk.task("sentiment")
    together = evaluate(batches(4, 32), task, limit=20, out=tmp_path).results
    for rows, result in zip((4, 32), together, strict=True):
        single = evaluate(batches(rows), task, limit=20, out=tmp_path).results[0]
        assert np.array_equal(result.logprobs, single.logprobs)


def test_a_finished_run_has_the_notes_of_its_execution(tmp_path: Path) -> None:
    model: Any = pk.load("fake")
    model.notes = lambda: ["out of memory: a batch of 9 was split in two"]
    notes = run(tmp_path, model=model).notes
    assert notes == run(tmp_path, model=pk.load("fake")).notes == ("out of memory: a batch of 9 was split in two",)


def test_content_free_inputs_are_scored_in_the_context_of_each_row(tmp_path: Path) -> None:
    finished = run(tmp_path, demos="random-each", limit=5)
    free = [line for line in lines(finished, "support.jsonl") if line["id"].startswith("content-free")]
    assert len(free) == 5 * 3


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"k": 2}, {"demos": "random-each"}, {"limit": 29}, {"model": FakeModel("other", FakeModel.Settings())}],
)
def test_every_setting_that_changes_a_result_changes_the_run_folder(tmp_path: Path, change: dict[str, Any]) -> None:
    assert run(tmp_path).path != run(tmp_path, **change).path


def test_a_smaller_limit_selects_a_subset_regardless_of_the_order_in_the_file() -> None:
    rows = pk.task("sentiment").rows("test")
    assert by_hash(rows, 20) == by_hash(list(rows)[::-1], 50)[:20]


def test_predictors_that_cannot_share_a_pass_are_refused(tmp_path: Path) -> None:
    one, other = predictors(pk.load("fake"))[0], predictors(pk.load("fake"), k=2)[0]
    with refused(InputError, "predictors-differ", predictors=(one.name, other.name)):
        evaluate([one, other], pk.task("sentiment"), out=tmp_path)


def test_a_label_without_a_word_is_refused_before_the_model_is_queried(tmp_path: Path) -> None:
    model = killed_after(0, batch_tokens=3000)
    wrong = pk.Predictor(model, pk.Prompt("sentiment/review"), {"positive": "good", "so so": "meh"})
    with refused(TaskError, "label-without-word", task="sentiment", labels=("negative",)):
        evaluate(wrong, pk.task("sentiment"), out=tmp_path)


def test_compare_pairs_rows_and_shares_passes_of_the_model(tmp_path: Path) -> None:
    model = pk.load("fake")
    plain, contextual, _ = predictors(model)
    other = predictors(model, seed=3)[0]
    comparison = pk.compare(pk.task("sentiment"), plain=plain, other=other, calibrated=contextual, limit=30, out=tmp_path)
    assert len(comparison.runs) == 2
    a, b = (run.results[0].correct for run in comparison.runs)
    difference = comparison.branches[1].difference
    assert difference is not None
    assert difference.value == pytest.approx((b - a).mean())
    for name in ("plain", "other", "calibrated"):
        assert name in str(comparison)
