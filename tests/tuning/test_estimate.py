"""Laws of the estimate of a race."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.metrics.intervals import resamples
from promptkit.metrics.selection import corrected_best
from promptkit.tuning.estimate import estimate, replay
from promptkit.tuning.race import RaceSettings
from tests.tuning.races import Match, Runner, challenged, match, right

SEEDS, SHARES = st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.5])
LAW = settings(max_examples=15, deadline=None)


def random_match(seed: int, share: float = 0.0, rows: int = 60) -> Match:
    accuracies = [0.5, 0.55, *np.random.default_rng(seed).uniform(0.5, 0.9, 7)]
    original = match(accuracies, rows=rows, seed=seed, baselines=2, amount=share * rows * 7 or float("inf"))
    return replace(original, entrants=[replace(each, tokens=float(n)) for n, each in enumerate(original.entrants)])


@LAW
@given(SEEDS, SHARES)
def test_a_replay_of_all_rows_is_the_race(seed: int, share: float) -> None:
    original = random_match(seed, share)
    course = original.run()
    rules = original.settings.rules(original.entrants)
    assert replay(course, rules, original.settings, np.ones((1, course.last.rows))).tolist() == [course.winner]


@LAW
@given(SEEDS, SHARES)
def test_the_estimate_depends_on_the_course_only_and_not_on_the_order_of_candidates(seed: int, share: float) -> None:
    original = random_match(seed, share)
    found = estimate(original.run(), original.entrants, original.settings)
    assert estimate(original.run(), original.entrants, original.settings) == found
    order = np.random.default_rng(seed).permutation(9)
    order[order < 2] = 0, 1  # equally good baselines are chosen by their order
    entrants = [original.entrants[n] for n in order]
    permuted = replace(original, entrants=entrants, values=original.values[order])
    other = estimate(permuted.run(), entrants, original.settings)
    assert other.best_baseline is not None
    assert order[other.best_baseline] == found.best_baseline
    assert order[other.number] == found.number
    assert replace(other, number=found.number, best_baseline=found.best_baseline) == found


def test_without_drops_the_estimate_is_that_of_the_best_of_all() -> None:
    values = right([0.7, 0.75, 0.8], 40)
    settings = RaceSettings(block=40, tolerance=0.0)
    entrants = [Runner(n, float(n)) for n in range(3)]
    found = estimate(Match(entrants, values, settings).run(), entrants, settings)
    assert found.winner == corrected_best(values)
    assert (found.baseline, found.best_baseline, found.difference, found.beats_baseline) == (None, None, None, True)


def test_a_clearly_better_candidate_beats_the_baseline_and_an_equal_one_does_not() -> None:
    for accuracy, beats in ((0.95, True), (0.5, False)):
        original = match([0.5, 0.5, accuracy], baselines=2)
        found = estimate(original.run(), original.entrants, original.settings)
        assert found.difference is not None
        assert found.baseline is not None
        assert found.beats_baseline is beats
        if found.number == 2:
            assert found.difference.value == pytest.approx(found.winner.estimate.value - found.baseline.estimate.value)


def test_the_predictors_of_folds_widen_the_intervals_but_not_that_of_the_difference() -> None:
    original = match([0.5, 0.9, 0.6], baselines=1)
    course, folds = original.run(), np.arange(100) % 5 + 1
    found = estimate(course, original.entrants, original.settings)
    wider = estimate(course, original.entrants, original.settings, folds)
    assert wider.difference == found.difference
    for over_rows, both in ((found.winner, wider.winner), (found.baseline, wider.baseline)):
        assert over_rows is not None
        assert both is not None
        assert (both.own, both.estimate.value) == (over_rows.own, pytest.approx(over_rows.estimate.value))
        assert both.estimate.low < over_rows.estimate.low < over_rows.estimate.high < both.estimate.high


def test_baselines_are_scored_on_all_rows_when_the_budget_ends_the_race() -> None:
    original = match([0.5, 0.6, 0.9], rows=100, baselines=2, amount=32)
    original.values[:2, :32] = [[0.0], [1.0]]  # the baseline that is better on the rows of the race is worse on all rows
    original.values[:2, 32:] = [[1.0], [0.0]]
    course = original.run()
    assert course.last.rows == 32
    folds = np.arange(100) % 5
    of_race = estimate(course, original.entrants, original.settings, folds)
    of_all = estimate(course, original.entrants, original.settings, folds, baselines=original.values[:2])
    assert (of_race.best_baseline, of_all.best_baseline) == (1, 0)
    assert of_all.baseline is not None
    assert of_all.baseline.own == pytest.approx(0.68)
    assert of_all.number in (0, course.winner)


@LAW
@given(SEEDS)
def test_with_all_rows_the_given_values_of_baselines_change_nothing(seed: int) -> None:
    original = random_match(seed)
    course, folds = original.run(), np.arange(60) % 5
    given_values = estimate(course, original.entrants, original.settings, folds, baselines=original.values[:2])
    assert given_values == estimate(course, original.entrants, original.settings, folds)


def test_more_rows_make_the_interval_of_a_baseline_narrower() -> None:
    original = match([0.6, 0.9], rows=400, amount=32)
    course = original.run()
    widths = []
    for values in (None, original.values[:1]):
        found = estimate(course, original.entrants, original.settings, baselines=values).baseline
        assert found is not None
        widths.append(found.estimate.high - found.estimate.low)
    assert widths[1] < widths[0] / 2


def test_baselines_without_scores_are_left_out() -> None:
    original = match([0.5, 0.9, 0.6], baselines=2)
    original.values[0] = np.nan
    found = estimate(original.run(), original.entrants, original.settings)
    assert found.best_baseline == 1


def test_a_resample_in_which_another_prompt_remains_continues_with_those_that_answered() -> None:
    original = match([0.55, 0.6, 0.62, 0.64, 0.6], baselines=1, seed=3, amount=200)
    course = original.run()
    rules = original.settings.rules(original.entrants)
    chosen = replay(course, rules, original.settings, resamples(course.last.rows))
    assert set(chosen.tolist()) <= set(course.last.candidates)


@LAW
@given(SEEDS)
def test_a_replay_of_all_rows_has_the_challengers_of_the_race(seed: int) -> None:
    original = challenged(random_match(seed), 3)
    course, entrants = original.run(), [*original.entrants, *original.challengers]
    rules = original.settings.rules(entrants)
    assert len(course.last.candidates) >= 3
    assert replay(course, rules, original.settings, np.ones((1, course.last.rows))).tolist() == [course.winner]


def test_a_challenger_wins_the_resamples_in_which_it_is_the_best() -> None:
    original = challenged(match([0.5, 0.6, 0.6, 0.97]), 1)
    course, entrants = original.run(), [*original.entrants, *original.challengers]
    chosen = replay(course, original.settings.rules(entrants), original.settings, resamples(course.last.rows))
    assert (chosen == 3).mean() > 0.9
