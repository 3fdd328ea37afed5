"""The corrected score of the best of several candidates, against its definition and known truths."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.metrics.intervals import mean_of, resamples, wilson
from promptkit.metrics.selection import best, corrected, corrected_best, corrected_best_statistic, corrected_difference


def by_definition(values: np.ndarray) -> float:
    """The mean over resamples of the score that the best candidate of the drawn rows has on the others."""
    scores = []
    for weights in resamples(values.shape[1])[1:]:
        means = [float(np.average(each, weights=weights)) for each in values.round(6)]
        chosen = max(range(len(values)), key=lambda n: round(means[n], 9))
        if (weights == 0).any():
            scores.append(values[chosen][weights == 0].mean())
    return float(np.mean(scores))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.booleans())
def test_the_estimate_is_the_mean_over_rows_that_were_not_drawn(seed: int, count: int, is_share: bool) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.random((4, count)) < 0.6) * 1.0 if is_share else generator.normal(size=(4, count)).round(6)
    found = corrected_best(values)
    assert found.own == pytest.approx(values.mean(1).max())
    assert found.estimate.value == pytest.approx(by_definition(values))
    assert found.estimate.low <= found.estimate.value <= found.estimate.high
    assert found.optimism == found.own - found.estimate.value


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_candidates_does_not_matter_and_worse_ones_do_not_either(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random((5, 30))
    found = corrected_best(values)
    assert corrected_best(values[generator.permutation(5)]) == found
    assert corrected_best(np.vstack([values, values.min(0) - 1])) == found
    assert corrected_best(values) == found


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.booleans())
def test_statistics_that_are_means_have_the_estimate_of_their_values(seed: int, count: int, is_share: bool) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.random((4, count)) < 0.6) * 1.0 if is_share else generator.normal(size=(4, count))
    options = [mean_of(each) for each in values]
    found, expected = corrected_best_statistic(options, count, is_share=is_share), corrected_best(values)
    assert asdict(found.estimate) == pytest.approx(asdict(expected.estimate))
    assert found.own == pytest.approx(expected.own)
    negative = corrected_best_statistic([mean_of(-each) for each in values], count, higher_is_better=False)
    assert negative.estimate.value == pytest.approx(-expected.estimate.value)


def test_one_candidate_has_almost_no_optimism() -> None:
    correct = (np.random.default_rng(7).random(60) < 0.6) * 1.0
    assert abs(corrected_best(correct[None]).optimism) < 0.005
    assert corrected_best(np.tile(correct, (4, 1))) == corrected_best(correct[None])


def test_a_single_row_has_no_optimism() -> None:
    assert corrected_best(np.array([[1.0], [0.0]])).optimism == 0
    assert corrected_best(np.array([[-2.5], [-3.0]])).estimate.value == -2.5


def test_the_interval_of_one_candidate_is_that_of_wilson_for_the_variance_of_the_resamples() -> None:
    values = np.array([[1.0] * 70 + [0.0] * 30])
    found = corrected_best(values).estimate
    outside = resamples(100)[1:] == 0
    variance = ((outside @ values[0]) / outside.sum(1)).var()
    expected = wilson(found.value * found.value * (1 - found.value) / variance, found.value * (1 - found.value) / variance)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.low, found.high) == pytest.approx((0.573, 0.802), abs=0.01)


def test_the_interval_has_a_width_even_if_every_row_is_right() -> None:
    found = corrected_best(np.ones((1, 100))).estimate
    assert (found.value, found.low, found.high) == pytest.approx((1, 0.906, 1), abs=0.005)


def test_the_interval_of_other_values_has_the_percentiles_of_the_resamples() -> None:
    values = np.random.default_rng(1).normal(size=(1, 200)) * 3
    found = corrected_best(values).estimate
    outside = resamples(200)[1:] == 0
    low, high = np.percentile((outside @ values[0]) / outside.sum(1), [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("is_share", [True, False])
def test_the_interval_contains_the_score_of_a_further_predictor_where_those_of_folds_differ(is_share: bool) -> None:
    """The accuracy of each fold's predictor, and of the further one, deviates from that of the candidate."""
    generator, folds = np.random.default_rng(11), np.arange(100) % 5
    over_rows, both = [], []
    for _ in range(200):
        deviations = generator.normal(0, 0.07, (4, 6))
        values = (generator.random((4, 100)) < 0.6 + deviations[:, folds]) * 1.0
        if not is_share:
            values = 3 * values - 1
        chosen = best(values, resamples(100))
        truth = 0.6 + deviations[chosen[0], 5]
        truth = truth if is_share else 3 * truth - 1
        for inside, of_rows in ((over_rows, None), (both, folds)):
            found = corrected(values, chosen, of_rows).estimate
            inside.append(found.low <= truth <= found.high)
    assert np.mean(both) >= 0.93
    assert np.mean(both) > np.mean(over_rows) + 0.02


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_folds_widen_the_interval_also_if_all_rows_are_alike(accuracy: float) -> None:
    values, folds = np.full((1, 40), accuracy), np.arange(40) % 5
    chosen = best(values, resamples(40))
    narrow, wide = corrected(values, chosen).estimate, corrected(values, chosen, folds).estimate
    assert wide.value == narrow.value == accuracy
    assert wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize("accuracies", [[0.7] * 5, [0.5, 0.6, 0.7, 0.8]])
def test_the_estimate_is_about_unbiased(accuracies: list[float]) -> None:
    generator = np.random.default_rng(8)
    truth = np.array(accuracies)
    errors, optimism = [], []
    for _ in range(80):
        correct = (generator.random((len(truth), 100)) < truth[:, None]) * 1.0
        found, chosen = corrected_best(correct), best(correct, np.ones((1, 100)))[0]
        errors.append(found.estimate.value - truth[chosen])
        optimism.append(found.own - truth[chosen])
    assert abs(np.mean(errors)) < 0.02
    assert np.mean(optimism) > 0


def test_the_difference_of_a_choice_from_itself_is_zero_and_that_of_two_candidates_is_paired() -> None:
    values = (np.random.default_rng(3).random((2, 50)) < 0.5) * 1.0
    first, second = np.zeros(1001, int), np.ones(1001, int)
    same = corrected_difference(values, first, first)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    found = corrected_difference(values, first, second)
    assert found.value == pytest.approx(corrected((values[0] - values[1])[None], first).estimate.value)
    assert found.low < values[0].mean() - values[1].mean() < found.high
