"""Abstention with a certified error rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from promptkit.core.errors import InputError
from promptkit.predictor.decide.abstain import answers
from promptkit.predictor.decide.risk import certify, rows_needed, shares_to_test, upper_bound
from promptkit.predictor.out_of_fold import OutOfFold
from tests.predictor.decide.rows import take, trec, two_labels
from tests.support.errors import refused

FAILURES_OF_200 = int(binom.ppf(0.999, 200, 0.05))
"""A guarantee that fails in 5% of cases fails more often than this in 200 of them with a probability of 0.1%."""


def error_rate(rows: OutOfFold, threshold: float) -> float:
    answered = answers(rows.probabilities, threshold)
    return float((answered & ~rows.correct).sum() / max(1, answered.sum()))


def test_the_bound_is_that_of_the_exact_binomial_test() -> None:
    for errors, rows in [(0, 59), (3, 100), (17, 40)]:
        bound = upper_bound(errors, rows, 0.95)
        assert binom.cdf(errors, rows, bound) == pytest.approx(0.05)
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1.0


@pytest.mark.parametrize("risk", [0.1, 0.15, 0.2])
def test_the_error_rate_is_exceeded_in_at_most_5_percent_of_200_samples_of_a_real_task(risk: float) -> None:
    everything, generator = trec(), np.random.default_rng(0)
    failures, certified = 0, 0
    for _ in range(200):
        try:
            certificate = certify(take(everything, generator.integers(len(everything), size=400)), risk)
        except InputError:
            continue
        certified += 1
        failures += error_rate(everything, certificate.threshold) > risk
    assert certified > 100
    assert failures <= FAILURES_OF_200


def test_the_guarantee_holds_where_confident_answers_are_the_wrong_ones() -> None:
    """No threshold below the middle is safe, and every one above is worse: a test that searched would be deceived."""
    generator, failures = np.random.default_rng(0), 0
    for _ in range(200):
        confidence = generator.uniform(0.5, 1, 300)
        correct = generator.uniform(size=300) > np.where(confidence > 0.75, 0.12, 0.1)
        try:
            certify(two_labels(confidence.tolist(), correct.tolist()), 0.1)
        except InputError:
            continue
        failures += 1  # R is above 0.1 at every threshold
    assert failures <= FAILURES_OF_200


def test_the_most_rows_are_answered_that_can_be_certified() -> None:
    confidence = np.linspace(0.99, 0.5, 200).tolist()
    certificate = certify(two_labels(confidence, [True] * 200), 0.1)
    assert (certificate.answered, certificate.errors, certificate.coverage) == (200, 0, 1.0)
    certificate = certify(two_labels(confidence, [True] * 100 + [False] * 100), 0.1)
    assert (certificate.answered, certificate.errors) == (100, 0)
    assert certificate.bound <= 0.1
    assert confidence[100] < certificate.threshold <= confidence[99]


def test_ties_are_answered_together_or_not_at_all() -> None:
    certificate = certify(two_labels([0.9] * 100 + [0.8] * 100, [True] * 100 + [False] * 100), 0.1)
    assert certificate.answered == 100
    with refused(InputError, "risk-not-certified"):
        certify(two_labels([0.9] * 200, [True] * 100 + [False] * 100), 0.1)


def test_rows_without_an_answer_are_never_answered() -> None:
    certificate = certify(two_labels([0.9] * 100 + [0.0] * 20, [True] * 120), 0.1)
    assert (certificate.answered, certificate.rows) == (100, 120)
    assert certificate.threshold > 0


def test_too_few_rows_say_how_many_would_suffice() -> None:
    few = two_labels([0.9] * 10, [True] * 10)
    with refused(InputError, "risk-not-certified", rows=10, risk=0.05) as raised:
        certify(few, 0.05)
    needed = raised.value.fields["needed"]
    assert isinstance(needed, int)
    assert certify(two_labels([0.9] * needed, [True] * needed), 0.05).coverage == 1
    assert needed < 70


def test_no_number_of_rows_helps_a_predictor_that_errs_too_often() -> None:
    with refused(InputError, "risk-not-certified", needed=None):
        certify(two_labels([0.9] * 100, [True, False] * 50), 0.1)


@given(st.integers(0, 3000), st.floats(0.001, 0.999))
@settings(max_examples=200, deadline=None)
def test_the_tests_share_the_significance(rows: int, risk: float) -> None:
    levels = shares_to_test(rows, risk)
    assert sum(1 - level for _, level in levels) == pytest.approx(0.05 if levels else 0)
    assert all(upper_bound(0, count, level) <= risk * (1 + 1e-9) for count, level in levels)
    assert [count for count, _ in levels] == sorted({count for count, _ in levels})
    assert not levels or levels[-1][0] == rows


@pytest.mark.parametrize("risk", [0.0, 1.0, -0.1, float("nan")])
def test_a_risk_is_between_0_and_1(risk: float) -> None:
    with refused(InputError, "invalid-value", name="risk"):
        certify(trec(), risk)


def test_the_rows_that_are_needed_grow_with_the_error_rate() -> None:
    few, many = (two_labels([0.9] * 100, [True] * (100 - errors) + [False] * errors) for errors in (1, 3))
    assert (rows_needed(few, 0.05) or 0) < (rows_needed(many, 0.05) or 0)
