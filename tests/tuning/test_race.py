"""Laws of the race: who is dropped, who wins, and that its course depends on the scores only."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.tuning.race import Course, RaceSettings, Stage
from tests.tuning.races import Match, Runner, challenged, match, right

SEEDS = st.integers(0, 10**6)
LAW = settings(max_examples=40, deadline=None)


def lines(course: Course) -> str:
    return json.dumps([stage.to_json() for stage in course.stages])


def random_match(seed: int, *, rows: int = 100, prompts: int = 8, share: float = 0.0) -> Match:
    """A match with candidates of random accuracies, whose budget is a share of the cost of all answers, or without limit."""
    generator = np.random.default_rng(seed)
    accuracies = [0.5, *generator.uniform(0.5, 0.95, prompts)]
    return match(accuracies, rows=rows, seed=seed, amount=share * rows * prompts or float("inf"))


def test_clearly_worse_candidates_are_dropped_and_the_best_one_wins() -> None:
    course = match([0.5, 0.6, 0.95, 0.55, 0.4]).run()
    assert course.winner == 2
    assert {each.reason for stage in course.stages for each in stage.dropped} == {"test"}
    assert all(each.p < 0.1 for stage in course.stages for each in stage.dropped)
    assert [stage.rows for stage in course.stages] == [16, 32, 48, 64, 80, 96, 100]
    assert not course.stages[0].dropped
    assert course.last.candidates == (0, 2)
    assert course.last.end == "rows"


@LAW
@given(SEEDS)
def test_without_a_limit_nothing_is_dropped_because_of_the_budget(seed: int) -> None:
    for stage in random_match(seed, prompts=20).run().stages:
        assert {each.reason for each in stage.dropped} <= {"test", "equivalent"}


@LAW
@given(SEEDS)
def test_a_candidate_identical_to_the_leader_is_never_dropped_by_a_test(seed: int) -> None:
    original = random_match(seed)
    values = np.vstack([original.values, original.values])
    twins = [*original.entrants, *(replace(each, prompt=100 + n) for n, each in enumerate(original.entrants))]
    for stage in Match(twins, values).run().stages:
        scores = stage.scores.correct.mean(1)
        best = [number for number, score in zip(stage.candidates, scores, strict=True) if score == scores.max()]
        identical = {n for n in stage.candidates if (values[n, : stage.rows] == values[best[0], : stage.rows]).all()}
        assert not [each for each in stage.dropped if each.candidate in identical and each.reason == "test"]


@LAW
@given(SEEDS, st.booleans())
def test_a_candidate_that_is_worse_on_every_row_does_not_change_the_winner(seed: int, is_share: bool) -> None:
    original = random_match(seed)
    if is_share:
        values, worse = original.values, np.zeros(100)
        values[0] = 1.0 * (values[1:].sum(0) > 0)  # some candidate is right in some row
    else:
        values = original.values + np.random.default_rng(seed).normal(size=original.values.shape)
        worse = values.min(0) - 1
    before = Match(original.entrants, values).run()
    after = Match([*original.entrants, Runner(99, 1.0)], np.vstack([values, worse])).run()
    assert after.winner == before.winner


@LAW
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.5]))
def test_the_order_of_the_candidates_does_not_matter(seed: int, share: float) -> None:
    original = random_match(seed, share=share)
    entrants = [replace(each, tokens=float(n)) for n, each in enumerate(original.entrants)]
    order = np.random.default_rng(seed).permutation(len(entrants))
    before = replace(original, entrants=entrants).run()
    after = replace(original, entrants=[entrants[n] for n in order], values=original.values[order]).run()
    assert order[after.winner] == before.winner
    for one, other in zip(before.stages, after.stages, strict=True):
        assert {*one.left} == {int(order[n]) for n in other.left}
        assert one.leader == order[other.leader]


@LAW
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.5]), st.data())
def test_a_resumed_race_has_the_same_course(seed: int, share: float, data: st.DataObject) -> None:
    original, log = random_match(seed, share=share), []
    whole = original.run(log=log)
    assert log == [*whole.stages]
    done = data.draw(st.integers(0, len(log)))
    recorded = [Stage.from_json(json.loads(json.dumps(stage.to_json()))) for stage in log[:done]]
    later: list[Stage] = []
    resumed = original.run(recorded, later)
    assert (lines(resumed), resumed.winner) == (lines(whole), whole.winner)
    assert len(later) == len(log) - done


def test_a_recorded_decision_is_kept_whatever_the_budget_is() -> None:
    original = match([0.5, *[0.7] * 6], amount=250)
    course = original.run()
    assert any(stage.is_halved for stage in course.stages)
    ended = replace(original, amount=float("inf")).run(course.stages)
    assert lines(ended) == lines(course)


def test_stages_with_missing_scores_are_restored_from_json() -> None:
    original = match([0.5, 0.7, 0.8], rows=20)
    original.values[1] = np.nan
    for stage in original.run().stages:
        record = json.loads(json.dumps(stage.to_json()))
        assert Stage.from_json(record).to_json() == record
        assert record["correct"][1] is None


# ---- budget -------------------------------------------------------------------------------------------


@LAW
@given(SEEDS, st.sampled_from([0.2, 0.3, 0.5, 0.8]))
def test_the_budget_holds_and_all_rows_are_answered_if_it_allows(seed: int, share: float) -> None:
    original = random_match(seed, share=share)
    course = original.run()
    before = (0, *(stage.rows for stage in course.stages))
    spent = sum(original.prompts(stage.candidates) * (stage.rows - n) for stage, n in zip(course.stages, before, strict=False))
    assert spent <= original.amount
    if course.last.end == "budget":
        assert spent + min(16, 100 - course.last.rows) > original.amount
    else:
        assert course.last.rows == 100


def test_a_race_ends_when_not_even_one_prompt_can_continue() -> None:
    course = match([0.5, 0.7, 0.8], amount=40).run()
    assert (course.last.end, course.last.rows) == ("budget", 16)
    assert course.last.left == (0, 1, 2)


# ---- equivalent candidates ----------------------------------------------------------------------------


def test_of_equivalent_candidates_the_one_with_the_fewest_tokens_wins() -> None:
    values = right([0.8], 300)
    entrants = [Runner(0, 300.0), Runner(1, 100.0), Runner(2, 200.0)]
    course = Match(entrants, np.repeat(values, 3, axis=0)).run()
    assert course.winner == 1
    assert course.last.candidates == (1,)
    dropped = next(stage for stage in course.stages if stage.dropped)
    assert {each.reason for each in dropped.dropped} == {"equivalent"}
    assert dropped.rows == 96  # with fewer rows, a difference of more than 0.02 is possible


def test_a_baseline_that_is_as_good_wins() -> None:
    values = np.repeat(right([0.8], 300), 2, axis=0)
    assert Match([Runner(0, 300.0), Runner(None, 0.0)], values).run().winner == 1


def test_candidates_of_a_prompt_that_is_left_stay_in_the_race() -> None:
    """An alignment that is behind at first may be the best one later, and it costs no request."""
    values = right([0.9, 0.3, 0.2], 100)
    course = Match([Runner(0, 1.0), Runner(0, 1.0), Runner(1, 1.0)], values).run()
    assert course.last.candidates == (0, 1)


def test_baselines_are_never_dropped() -> None:
    course = match([0.1, 0.2, 0.9, 0.3], baselines=2).run()
    assert course.last.candidates == (0, 1, 2)


# ---- other scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["log-loss", "macro_f1"])
def test_scores_of_rows_that_are_no_shares_have_the_t_test(metric: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=100) + generator.normal(size=(4, 100)) / 2 + np.array([0.0, 0.1, 1.0, 0.1])[:, None]
    course = Match([Runner(n, 1.0) for n in range(4)], values, RaceSettings(metric="log-loss")).run()
    assert course.winner == 2
    assert course.last.candidates == (2,)


def test_challengers_enter_one_by_one_when_all_rows_are_answered() -> None:
    original = challenged(match([0.5, 0.6, 0.6, 0.6, 0.97]), 2)
    course = original.run()
    assert [stage.rows for stage in course.stages[-3:]] == [100, 100, 100]
    assert all(3 not in stage.candidates and 4 not in stage.candidates for stage in course.stages[:-2])
    assert 3 in course.stages[-2].candidates
    assert 4 not in course.stages[-2].candidates
    assert {3, 4} <= {*course.last.candidates}
    assert course.winner == 4


def test_no_challenger_enters_when_the_budget_is_spent() -> None:
    course = challenged(match([0.5, *[0.7] * 6], amount=40), 2).run()
    assert course.last.end == "budget"
    assert max(course.last.candidates) < 5


@LAW
@given(SEEDS, st.data())
def test_a_resumed_race_has_the_same_challengers(seed: int, data: st.DataObject) -> None:
    original, log = challenged(random_match(seed), 3), []
    whole = original.run(log=log)
    recorded = [
        Stage.from_json(json.loads(json.dumps(stage.to_json()))) for stage in log[: data.draw(st.integers(0, len(log)))]
    ]
    resumed = original.run(recorded)
    assert (lines(resumed), resumed.winner) == (lines(whole), whole.winner)
