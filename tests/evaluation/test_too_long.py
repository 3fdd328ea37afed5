"""Runs with rows that do not fit the context: what is counted, and that resume, shards and commands do not change results."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.analysis.bias import bias
from promptkit.analysis.compare import compare_runs
from promptkit.analysis.doctor import diagnose
from promptkit.analysis.realign import align
from promptkit.cli.main import app
from promptkit.core.errors import InputError, TaskError
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.interpret.checks import pool_rows
from promptkit.interpret.steering_vectors import _mean_state
from promptkit.metrics import MetricInput
from promptkit.metrics.table import estimates
from promptkit.runs.command import eval_command
from promptkit.runs.shard import Shard
from promptkit.searches import instructions
from promptkit.searches.halving import CandidateScore, sort_key
from tests.evaluation.test_kinds_of_tasks import make
from tests.support.errors import refused
from tests.support.runs import Killed, contents, lines

N = 30


def labels(folder: Path, model: Any, on_too_long: Any) -> tuple[list[pk.Predictor], pk.Task]:
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    calibrations: list[Any] = [pk.calibrate.Contextual(), pk.calibrate.Batch(rows=12), pk.calibrate.Temperature(rows=20)]
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=3), on_too_long=on_too_long)
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in ([], *([each] for each in calibrations))], pk.task(
        "sentiment"
    )


def texts(folder: Path, model: Any, on_too_long: Any) -> tuple[list[pk.Predictor], pk.Task]:
    prompt = pk.Prompt("facts/capital", demos=pk.demos.RandomEach(k=3), on_too_long=on_too_long)
    return [pk.Predictor(model, prompt, pk.extract.FirstLine(max_tokens=4))], pk.task("capitals")


def votes(folder: Path, model: Any, on_too_long: Any) -> tuple[list[pk.Predictor], pk.Task]:
    (predictor,), task = texts(folder, model, on_too_long)
    chain: Any = [pk.extract.FirstLine(max_tokens=4), pk.vote.Majority(samples=3, temperature=0.7)]
    return [pk.Predictor(model, predictor.manipulate, chain)], task


def choices(folder: Path, model: Any, on_too_long: Any) -> tuple[list[pk.Predictor], pk.Task]:
    rows = [{"q": f"{i} " * (i % 7), "options": ["red", "blue", f"o{i}"][: 2 + i % 2], "label": i % 2} for i in range(60)]
    task = make(folder / "choices", rows, choices={"column": "options"}, hold_out=0.5)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.RandomEach(k=3), on_too_long=on_too_long)
    return [pk.Predictor(model, prompt, chain) for chain in (pk.Choices(), [pk.Choices(), pk.calibrate.PMI()])], task


KINDS = {labels: 480, texts: 180, votes: 180, choices: 90}
"""Task -> a context length that some rows exceed with three demonstrations, and none without."""


def model(kind: Any, **options: Any) -> Any:
    return pk.load("fake", context_length=KINDS[kind], batch_tokens=60, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_skipped_rows_are_counted_and_count_as_wrong(kind: Any, tmp_path: Path) -> None:
    predictors, task = kind(tmp_path, model(kind), "skip")
    run = evaluate(predictors, task, limit=N, out=tmp_path, cache=False)
    records = lines(run)
    skipped = [record["id"] for record in records if record.get("skipped")]
    assert 0 < len(skipped) < len(records) == len(run.ids)
    assert run.too_long == {"truncated": 0, "skipped": len(skipped)}
    assert run.to_json()["too_long"] == json.loads((run.path / "summary.json").read_text())["too_long"] == run.too_long
    assert any(f"{len(skipped)} of {len(records)} rows were skipped" in note for note in run.notes)
    assert not any(record["dropped"] for record in records)
    for result in run.results:
        name = next(iter(result.metrics))
        assert result.metrics[name]["value"] == pytest.approx(float(result.correct.sum()) / len(records), abs=1e-6)
        for record, prediction, correct in zip(records, result.predictions, result.correct, strict=True):
            assert (prediction is None and not correct) or record["id"] not in skipped
        if result.predicted:
            assert sum(result.predicted.values()) == len(records) - len(skipped)
    if kind in (texts, votes):
        assert run.results[0].metrics["no_answer"]["value"] >= len(skipped) / len(records) - 1e-6
    for row in lines(run, "predictions.jsonl"):
        if row["id"] in skipped:
            assert not any(row["correct"].values())
            assert set(row["predictions"].values()) == {None}


@pytest.mark.parametrize("kind", KINDS)
def test_other_rows_have_the_answers_of_a_model_with_a_long_context(kind: Any, tmp_path: Path) -> None:
    predictors, task = kind(tmp_path, model(kind), "skip")
    unlimited, _ = kind(tmp_path, pk.load("fake", batch_tokens=500), "error")
    run, complete = (evaluate(each[0], task, limit=N, out=tmp_path, cache=False) for each in (predictors, unlimited))
    for record, other in zip(lines(run), lines(complete), strict=True):
        if not record.get("skipped"):
            assert record == other
        else:
            assert {key: record[key] for key in ("id", "gold", "demos", "tokens", "prompt_hash")}.items() <= other.items()
            assert not {"logprobs", "continuations", "generations"} & record.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on_too_long", ["skip", "truncate-demos"])
def test_shards_resume_and_merge_equal_one_process(kind: Any, on_too_long: str, tmp_path: Path) -> None:
    fake = model(kind)
    predictors, task = kind(tmp_path, fake, on_too_long)
    complete = evaluate(predictors, task, limit=N, out=tmp_path / "complete", cache=False)
    assert sum(complete.too_long.values())
    shards = [evaluate_shard(predictors, task, Shard(i, 3), limit=N, out=tmp_path / str(i), cache=False) for i in (1, 2, 3)]
    assert sum(shard.rows for shard in shards) == len(complete.ids)
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(complete)
    assert merged.too_long == complete.too_long
    assert merged.to_json()["results"] == complete.to_json()["results"]
    answer = fake.answer

    def killed(*arguments: Any) -> Any:
        batches = [*answer(*arguments)]
        yield from batches[: len(batches) // 2]
        raise Killed

    fake.answer = killed
    with pytest.raises(Killed):
        evaluate(predictors, task, limit=N, out=tmp_path / "killed", cache=False)
    fake.answer = answer
    resumed = evaluate(predictors, task, limit=N, out=tmp_path / "killed", cache=False)
    assert 0 < resumed.resumed < len(complete.ids)
    assert contents(resumed) == contents(complete)
    again = evaluate(predictors, task, limit=N, out=tmp_path / "killed", cache=False)
    assert (again.too_long, again.results[0].predictions) == (complete.too_long, complete.results[0].predictions)


def test_an_error_names_the_row_and_its_tokens_and_truncation_counts_the_rows(tmp_path: Path) -> None:
    predictors, task = labels(tmp_path, model(labels), "truncate-demos")
    run = evaluate(predictors, task, limit=N, out=tmp_path, cache=False)
    dropped = [record["id"] for record in lines(run) if record["dropped"]]
    assert run.too_long == {"truncated": len(dropped), "skipped": 0}
    assert dropped
    strict, _ = labels(tmp_path, model(labels), "error")
    with refused(TaskError, "prompt-too-long", context_tokens=480, demonstrations=3) as raised:
        evaluate(strict, task, limit=N, out=tmp_path, cache=False)
    assert raised.value.fields["row"] in dropped
    assert raised.value.fields["tokens"] > 480 - len(" Negative")


def test_skipped_rows_are_not_fitted_on(tmp_path: Path) -> None:
    predictors, task = labels(tmp_path, model(labels), "skip")
    run = evaluate(predictors, task, limit=N, out=tmp_path, cache=False)
    fit = [record for record in lines(run, "support.jsonl") if record["id"].startswith("fit ")]
    assert 0 < len(fit) < 20
    assert all("logprobs" in record for record in lines(run, "support.jsonl"))
    starved = pk.Predictor(predictors[0].model, predictors[0].manipulate, [predictors[0].reader, pk.calibrate.ProCa(rows=8)])
    with refused(InputError, "too-few-rows", needed=8) as raised:
        evaluate(starved, task, limit=N, out=tmp_path, cache=False)
    assert 0 < raised.value.fields["given"] < 8


def test_a_run_without_any_row_that_fits_is_refused(tmp_path: Path) -> None:
    predictors, task = labels(tmp_path, pk.load("fake", context_length=50), "skip")
    with refused(TaskError, "all-rows-skipped", rows=N):
        evaluate(predictors, task, limit=N, out=tmp_path, cache=False)


def test_finished_runs_are_analyzed_with_their_skipped_rows(tmp_path: Path) -> None:
    predictors, task = labels(tmp_path, model(labels), "skip")
    run = evaluate(predictors, task, limit=N, out=tmp_path, cache=False)
    sent = N - run.too_long["skipped"]
    realigned = {result.align: result for result in align(run.path, "contextual,batch:rows=12").results}
    for result in run.results[:3]:
        assert realigned[result.align].metrics == result.metrics
        assert realigned[result.align].predictions == result.predictions
    assert bias(str(run.path)).n == sent
    metric_input = pk.Run.load(run.path).results[0].metric_input
    assert int(metric_input.answered.sum()) == sent
    assert np.isneginf(metric_input.logprobs[~metric_input.answered]).all()
    other = evaluate(replace_choice(predictors[0], "truncate-demos"), task, limit=N, out=tmp_path, cache=False)
    assert compare_runs([str(run.path) + ":verbalizer", str(other.path)]).to_json()
    assert "--on-too-long skip" in str(eval_command(json.loads((run.path / "run.json").read_text()), []))
    assert "--on-too-long" not in str(eval_command(json.loads((other.path / "run.json").read_text()), []))


def replace_choice(predictor: pk.Predictor, on_too_long: Any) -> pk.Predictor:
    prompt: Any = predictor.manipulate
    return pk.Predictor(predictor.model, replace(prompt, on_too_long=on_too_long), predictor.reader)


def test_metrics_of_rows_without_a_prediction() -> None:
    """Such a row is wrong, assigns no probability to any label, and is a miss for the F1 score of its label."""
    logprobs = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [1e-300, 1e-300]]))
    logprobs[3] = -np.inf
    rows = MetricInput.of_scores(np.array([0, 1, 1, 0]), logprobs)
    values = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert rows.answered.tolist() == [True, True, True, False]
    assert values["accuracy"] == pytest.approx(2 / 4)
    assert values["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert values["brier"] == pytest.approx((2 * 0.1**2 + 2 * 0.2**2 + 2 * 0.6**2 + 1) / 4)
    assert values["ece"] == pytest.approx((0.1 + 0.2 + 0.6 + 0) / 4)


def test_a_search_counts_skipped_rows_as_wrong_and_ranks_them_last_by_log_probability(tmp_path: Path) -> None:
    predictors, task = labels(tmp_path, model(labels), "skip")
    texts_to_try = ["Rate it.", "Read the review with care, and then " + "say " * 12]
    result = instructions.search(
        predictors[0], task, instructions=texts_to_try, by="logprob", dev=20, test=10, out=tmp_path, cache=False
    )
    first = result.rungs[0].standings
    assert first[texts_to_try[1]].skipped > first["Rate it."].skipped
    assert [score.skipped for score in first.values()] == sorted(score.skipped for score in first.values())
    assert sort_key("a", CandidateScore(0.5, -1.0, 0), "metric") < sort_key("b", CandidateScore(0.4, -0.1, 3), "metric")
    assert result.to_json()["rungs"][0]["instructions"][0]["skipped"] == next(iter(first.values())).skipped  # type: ignore[index]


def test_training_leaves_skipped_rows_out(tmp_path: Path) -> None:
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})

    def trained(on_too_long: Any, context_length: int) -> Any:
        fake = pk.load("fake", context_length=context_length)
        prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2), on_too_long=on_too_long)
        predictor = pk.Predictor(fake, [prompt, pk.SoftPrompt(2)], words)
        options = {"optimizer": "spsa", "steps": 2, "eval_every": 1, "batch_size": 4, "dev": 16}
        return pk.train(predictor, pk.task("sentiment"), out=tmp_path, cache=False, **options)

    untruncated, skipped = trained("skip", 1 << 20), trained("skip", 372)
    assert 0 < skipped.rows["pool"] < untruncated.rows["pool"]
    assert 0 < skipped.rows["dev"] < untruncated.rows["dev"]
    assert not untruncated.notes
    assert [note.split(" rows ")[0] for note in skipped.notes] == [
        f"{untruncated.rows[part] - skipped.rows[part]} of {untruncated.rows[part]}" for part in ("pool", "dev")
    ]
    with refused(TaskError, "prompt-too-long", context_tokens=370):
        trained("error", 372)


def test_engines_are_compared_on_the_rows_that_fit_both(tmp_path: Path) -> None:
    (predictor, *_), task = labels(tmp_path, model(labels), "skip")
    shorter, longer = pk.load("fake", context_length=450), pk.load("fake", context_length=480)
    counts = [
        diagnose(*pair, task, predictor.manipulate, predictor.reader, limit=N).n for pair in permutations((shorter, longer))
    ]
    run = evaluate(pk.Predictor(shorter, predictor.manipulate, predictor.reader), task, limit=N, out=tmp_path, cache=False)
    assert counts == [N - run.too_long["skipped"]] * 2
    assert 0 < counts[0] < N


def test_a_steering_vector_is_the_mean_over_the_rows_that_are_not_skipped(tmp_path: Path) -> None:
    (predictor, *_), task = labels(tmp_path, model(labels), "skip")
    skipping = pk.Predictor(model(labels), predictor.manipulate, predictor.reader)
    rows = pool_rows(task, None, 20, of="a test")
    rendered = skipping.bind(task).encode([row.unlabeled() for row in rows])
    sent = [row for row, prompt in zip(rows, rendered, strict=True) if not prompt.skipped]
    assert 0 < len(sent) < len(rows)
    means = [_mean_state(skipping, task, each, 1, None) for each in (rows, sent)]
    assert np.array_equal(*means)


# ---- the command line and studies ------------------------------------------------------------------


def command(*words: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_commands_take_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("sentiment", "--model", "fake", "--set", "context_length=480", "--shots", 3, "--demos", "random-each", "--json")
    counts = {
        choice: command("eval", *options, "--limit", N, "--on-too-long", choice)["too_long"]
        for choice in ("skip", "truncate-demos")
    }
    assert counts["skip"]["skipped"] == counts["truncate-demos"]["truncated"] > 0
    assert command("eval", *options, "--limit", N)["too_long"] == counts["truncate-demos"]
    rows = command("render", *options, "--n", N, "--on-too-long", "skip")["rows"]
    assert sum(row["skipped"] for row in rows) == counts["skip"]["skipped"]
    assert all(bool(row["skipped"]) == any("is skipped" in text for text in row["warnings"]) for row in rows)


def test_a_study_compares_the_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(
        "task: sentiment\nmodel: fake\nset: {context_length: 480}\nlimit: 30\nshots: 3\ndemos: random-each\n"
        "grid: {on_too_long: [truncate-demos, skip]}\n"
    )
    cells = command("study", "study.yaml", "--json")["cells"]
    counts = {cell["values"]["on_too_long"]: cell["too_long"] for cell in cells}
    assert counts["skip"]["skipped"] == counts["truncate-demos"]["truncated"] > 0
    assert counts["skip"]["truncated"] == counts["truncate-demos"]["skipped"] == 0
