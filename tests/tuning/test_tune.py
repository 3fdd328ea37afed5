"""Tuning from labeled rows to a saved predictor: results, interruptions and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS, make_chain, reader_for
from promptkit.core.errors import RunError
from promptkit.core.examples import LabeledExample
from promptkit.core.registry import build
from promptkit.metrics.accuracy import Accuracy
from promptkit.metrics.log_loss import LogLoss
from promptkit.metrics.table import METRICS
from promptkit.models.registry import load
from promptkit.predictor.estimate import Figure
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task
from promptkit.tuning.baseline_predictor import BaselinePredictor, load_predictor
from promptkit.tuning.baselines import free_baselines
from promptkit.tuning.budget import Budget
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.direction import Direction
from promptkit.tuning.explanation import explain, verdict
from promptkit.tuning.figures import CurvePoint, Drop
from promptkit.tuning.folds import stratified
from promptkit.tuning.result import Tuned
from promptkit.tuning.rows import labeled_rows
from promptkit.tuning.space import Space
from promptkit.tuning.tune import tune_space
from promptkit.tuning.tuning import Tuning, TuningProgress
from tests.support.errors import refused

TASK = pk.task("sentiment")
ROWS = by_hash(TASK.rows("test"), 60)


def space(task: Task = TASK, alignments: tuple[str, ...] = ("batch-fitted", "vector")) -> Space:
    """Returns three prompts with a few alignments each."""
    reader = reader_for(task)
    chains = [make_chain(reader), *(make_chain([reader, build("calibration", CALIBRATIONS, name)]) for name in alignments)]
    prompts = {f"{k} shots": pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=k)) for k in (0, 2, 4)}
    return Space(
        prompts=tuple(
            PromptCandidate(name=name, predictor=pk.Predictor(load("fake"), prompt, reader), chains=tuple(chains))
            for name, prompt in prompts.items()
        ),
        baselines=tuple(free_baselines(task)),
    )


def tuning(rows: list[LabeledExample] = ROWS, *budgets: Budget, metric: str | None = None) -> Tuning:
    return Tuning(task=TASK, rows=rows, space=space(), budgets=budgets, metric=metric)


def files(folder: Path) -> dict[str, bytes]:
    """Returns the contents of all files except those that differ between executions."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("timing.json", ".lock")
    }


def test_a_race_without_a_prompt_left_ends_at_once_and_says_so(tmp_path: Path) -> None:
    """The label is a word of the text, which a baseline learns and the fake model does not know."""
    rows = [{"text": f"{'ab'[n % 2] * 3} item {n}", "kind": "ab"[n % 2]} for n in range(120)]
    task = pk.task(rows, label="kind")
    seen: list[TuningProgress] = []
    found = Tuning(task=task, rows=labeled_rows(task), space=space(task))
    tuned = tune_space(found, out=tmp_path, progress=seen.append)
    assert (tuned.result.end, tuned.result.answered < 120, tuned.result.winner) == ("prompts", True, tuned.result.baseline)
    assert f"After {tuned.result.answered} rows no prompt was left" in tuned.why()
    assert tuned.result.recommended_rows == 120
    lines = [json.loads(line) for line in (tuned.path / "race.jsonl").read_text("utf-8").splitlines()[1:]]
    assert [line["end"] for line in lines[-2:]] == [None, "prompts"]
    assert lines[-1]["rows"] == 120
    assert not any(" 0 prompts" in each.line for each in seen)


def test_the_result_is_read_again(tmp_path: Path) -> None:
    first = tune_space(tuning(), out=tmp_path)
    calls: list[TuningProgress] = []
    again = tune_space(tuning(), out=tmp_path, progress=calls.append)
    assert (first.result, first.standings) == (again.result, again.standings)
    assert not calls
    assert first.path == again.path
    assert {path.name for path in first.path.iterdir()} >= {"tune.json", "race.jsonl", "leaderboard.jsonl", "predictor"}


def test_nothing_is_recommended_that_does_not_beat_the_baseline(tmp_path: Path) -> None:
    """The fake model knows nothing, so a baseline is recommended, saved, and predicts rows as the baseline does."""
    tuned = tune_space(tuning(), out=tmp_path)
    assert not tuned.result.beats_baseline
    assert isinstance(tuned.predictor, BaselinePredictor)
    assert tuned.result.recommended == tuned.predictor.name == tuned.result.baseline
    items = [row.unlabeled() for row in TASK.rows("test")[:10]]
    scores = tuned.predictor.baseline.predict(ROWS, items, TASK.labels)
    expected = [max(each, key=lambda label: each[label]) for each in scores]
    assert [*tuned.predictor.predict([dict(item.texts) for item in items]).predictions] == expected
    assert tuned.estimate.low <= tuned.estimate.value <= tuned.estimate.high


def test_the_verdict_says_which_is_better_also_for_metrics_of_which_lower_is_better(tmp_path: Path) -> None:
    found = tune_space(tuning(), out=tmp_path).result
    gain = Figure(value=0.2, low=0.1, high=0.3)
    for metric in (Accuracy(), LogLoss()):
        difference = Direction(metric.higher_is_better).figure(gain)
        result = found.model_copy(
            update={
                **{"winner": "2 shots", "metric": metric.name, "higher_is_better": metric.higher_is_better},
                **{"difference": difference, "beats_baseline": True},
            }
        )
        assert "2 shots beats the best baseline" in verdict(result)
        assert "difference: 0.200 better (95% interval +0.100 to +0.300" in verdict(result)
        worse = result.model_copy(update={"difference": Direction(not metric.higher_is_better).figure(gain)})
        assert "difference: 0.200 worse (95% interval -0.300 to -0.100" in verdict(worse)
        assert ("+ is better" in verdict(result)) is not metric.higher_is_better
        better_with_rows = [0.5, 0.6] if metric.higher_is_better else [0.6, 0.5]
        for scores, improves in ((better_with_rows, True), (better_with_rows[::-1], False)):
            points = tuple(CurvePoint(rows=rows, score=score) for rows, score in zip((20, 40), scores, strict=True))
            assert ("0 to 0.50" in explain(result.model_copy(update={"curve": points}))) is improves
    baseline_wins = found.model_copy(update={"winner": found.baseline, "difference": None})
    assert f"no prompt is better than {found.baseline}" in verdict(baseline_wins)


class Stopped(Exception):
    """Ends a tuning run as a crash would."""


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("blocks", [1, 2])
def test_an_interrupted_run_continues_with_the_same_files(tmp_path: Path, blocks: int, cache: bool) -> None:
    budget = Budget(1000, "requests")
    whole = tune_space(tuning(ROWS, budget), out=tmp_path / "whole", cache=cache)
    seen: list[TuningProgress] = []

    def stop(progress: TuningProgress) -> None:
        seen.append(progress)
        if len(seen) == blocks:
            raise Stopped

    with pytest.raises(Stopped):
        tune_space(tuning(ROWS, budget), out=tmp_path / "parts", cache=cache, progress=stop)
    parts = tune_space(tuning(ROWS, budget), out=tmp_path / "parts", cache=cache)
    assert files(whole.path) == files(parts.path)


def test_after_ctrl_c_the_best_predictor_so_far_is_saved(tmp_path: Path) -> None:
    def interrupt(progress: TuningProgress) -> None:
        if progress.leaders:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_space(tuning(), out=tmp_path, progress=interrupt)
    (folder,) = tmp_path.iterdir()
    predictor = load_predictor(folder / "predictor")
    assert len(predictor.predict([{"text": "A film."}]).predictions) == 1
    with refused(RunError, "not-finished"):
        Tuned.load(folder)
    assert tune_space(tuning(), out=tmp_path).path == folder


def test_a_small_budget_ends_the_race_early(tmp_path: Path) -> None:
    tuned = tune_space(tuning(ROWS, Budget(70, "requests")), out=tmp_path)
    assert tuned.result.end == "budget"
    assert tuned.result.requests <= 70
    assert tuned.result.answered < len(ROWS)
    assert {each.rows for each in tuned.standings if each.is_baseline} == {len(ROWS)}
    assert f", from all {len(ROWS)} rows" in verdict(tuned.result)
    prompt_wins = tuned.result.model_copy(update={"winner": "0 shots", "difference": Figure(value=0.1, low=-0.1, high=0.3)})
    assert f"from {tuned.result.answered} of {len(ROWS)} rows" in verdict(prompt_wins)
    assert f"The race ended after {tuned.result.answered} of {len(ROWS)} rows" in tuned.why()


def test_a_budget_that_is_spent_by_the_first_block_leaves_prompts_untried(tmp_path: Path) -> None:
    tuned = tune_space(tuning(ROWS, Budget(20, "requests")), out=tmp_path)
    assert {each.name for each in tuned.standings if not each.is_baseline} < {
        each.name_of(chain) for each in space().prompts for chain in each.chains
    }
    assert any("4 shots" in note for note in tuned.result.notes)


def test_progress_shows_the_metric_and_not_its_negative(tmp_path: Path) -> None:
    seen: list[TuningProgress] = []
    tune_space(tuning(ROWS[:40], metric="log_loss"), out=tmp_path, progress=seen.append)
    scores = [score for _, score in seen[-1].leaders]
    assert scores == sorted(scores)
    assert scores[0] > 0
    assert f"{scores[0]:.3f}" in seen[-1].line


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss", "brier"])
def test_candidates_are_compared_by_other_metrics(tmp_path: Path, metric: str) -> None:
    calls: list[TuningProgress] = []
    tuned = tune_space(tuning(ROWS[:40], metric=metric), out=tmp_path, progress=calls.append)
    figure = tuned.result.estimate
    assert tuned.result.metric == metric
    assert figure.low >= 0
    assert figure.high <= 1 or metric == "log_loss"
    assert figure.low <= figure.value <= figure.high
    scored = [each.score for each in tuned.standings if each.score is not None and each.rows == tuned.result.answered]
    assert scored == sorted(scored, reverse=metric == "macro_f1")
    scores = {each.name: each.score for each in tuned.standings}
    assert tuned.result.score == scores[tuned.result.winner]
    assert calls[-1].leaders == tuple((name, pytest.approx(scores[name])) for name, _ in calls[-1].leaders)
    assert [point.score for point in tuned.result.curve[-1:]] in ([], [tuned.result.score])
    sign = 1 if metric == "macro_f1" else -1
    assert tuned.result.optimism == pytest.approx(sign * (tuned.result.score - figure.value))
    assert tuned.result.optimism > -0.01
    low, high = METRICS[metric].bounds
    assert low <= figure.low
    assert figure.high <= high


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    tuned = tune_space(tuning(), out=tmp_path)
    leaderboard = tuned.path / "leaderboard.jsonl"
    leaderboard.write_text(leaderboard.read_text("utf-8").replace("0.", "1.", 1), "utf-8")
    with refused(RunError, "changed-file", file=str(leaderboard)):
        Tuned.load(tuned.path)


def test_the_test_rows_are_used_once(tmp_path: Path) -> None:
    test = TASK.with_parts(pool=1.0)
    rows = by_hash(TASK.part("pool"), 40)
    tuned = tune_space(replace(tuning(rows), test=test), out=tmp_path)
    assert tuned.result.test is not None
    assert tuned.result.test_rows == len(TASK.rows("test"))


def test_the_explanation_names_the_winner_and_the_baseline(tmp_path: Path) -> None:
    tuned = tune_space(tuning(), out=tmp_path)
    text = tuned.why()
    assert tuned.result.winner in text
    assert tuned.result.recommended in text
    report = tuned.report(tmp_path / "report.md").read_text("utf-8")
    assert all(each.name in report for each in tuned.standings)
    assert tuned.to_json()["recommended"] == tuned.result.recommended


def test_the_explanation_names_the_rows_that_decided_a_drop(tmp_path: Path) -> None:
    """Rows are named by their number in the data; the rows on which a prompt is worse are those of the race."""
    numbers = {row.id: number for number, row in enumerate(ROWS, start=1)}
    drops: list[Drop] = []
    for seed in range(6):
        tuned = tune_space(replace(tuning(metric="log_loss"), row_numbers=numbers, seed=seed), out=tmp_path / str(seed))
        drops = [drop for drop in tuned.result.drops if drop.reason == "test" and drop.worse]
        if drops:
            break
    assert drops
    drop, text = drops[0], tuned.why()
    assert f"After {drop.rows} rows: {drop.prompt}. Its best candidate, {drop.candidate}, is worse than {drop.leader}" in text
    assert f"{len(drop.worse)} rows ({drop.worse[0]}" in text
    lines = [json.loads(line) for line in (tuned.path / "race.jsonl").read_text("utf-8").splitlines()[1:]]
    stage = next(line for line in lines if line["rows"] == drop.rows)
    order = [f"row {numbers[row.id]}" for row in stratified(TASK, ROWS, seed).rows]
    dropped = {each["candidate"] for each in stage["dropped"]}
    leader = stage["loss"][stage["candidates"].index(stage["leader"])]
    compared = [stage["loss"][place] for place, number in enumerate(stage["candidates"]) if number in dropped]
    found = [
        {order[n] for n, (one, other) in enumerate(zip(leader, each, strict=True)) if one < other} for each in compared if each
    ]
    assert {*drop.worse} in found
    hard = tuned.result.hard_rows
    assert all(order[order.index(row.name)] == f"row {numbers[row.id]}" for row in hard)


def test_a_baseline_has_one_estimate_also_if_it_is_the_winner(tmp_path: Path) -> None:
    result = tune_space(tuning(), out=tmp_path).result
    winner = result.model_copy(update={"winner": result.baseline})
    assert result.recommended_estimate == winner.recommended_estimate == result.baseline_estimate


def test_progress_is_reported_after_each_prompt_of_the_first_block(tmp_path: Path) -> None:
    seen: list[TuningProgress] = []
    tune_space(tuning(), out=tmp_path, progress=seen.append)
    first = [each for each in seen if not each.leaders]
    assert [each.prompts for each in first] == [1, 2, 3]
    assert {each.rows for each in first} == {16}
    assert all(each.line for each in seen)
