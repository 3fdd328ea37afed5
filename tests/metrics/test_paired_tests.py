"""Paired tests and the correction of Holm, against scipy, the definition that R and statsmodels compute, and simulations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, permutation_test

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.paired_tests import EXACT, bootstrap_test, holm, paired_test, sign_flip_test
from promptkit.metrics.table import METRICS

p_values = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.02, 0.5])), min_size=1, max_size=7)


@given(p_values)
def test_holm_is_the_closed_test_of_bonferroni(values: list[float]) -> None:
    """Each hypothesis is rejected if Bonferroni rejects every intersection of hypotheses that contains it."""
    subsets = [each for size in range(1, len(values) + 1) for each in combinations(range(len(values)), size)]
    expected = [
        max(min(1.0, len(each) * min(values[other] for other in each)) for each in subsets if index in each)
        for index in range(len(values))
    ]
    assert holm(values) == pytest.approx(expected)


@given(p_values)
def test_holm_is_the_running_maximum_of_p_values_times_their_ranks(values: list[float]) -> None:
    """The definition that statsmodels and R compute."""
    ordered, count = np.sort(values), len(values)
    adjusted = np.minimum(1, np.maximum.accumulate(ordered * (count - np.arange(count))))
    assert holm(values) == pytest.approx(adjusted[np.argsort(np.argsort(values, kind="stable"))])


def test_holm_keeps_a_single_p_value() -> None:
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def by_scipy(differences: np.ndarray) -> float:
    result = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return float(result.pvalue)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9).filter(any))
def test_small_samples_have_the_exact_p_value_of_scipy(values: list[int]) -> None:
    differences = np.array(values, float)
    assert sign_flip_test(differences).p == pytest.approx(by_scipy(differences))


def test_right_and_wrong_answers_have_mcnemars_exact_test() -> None:
    differences = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    tested = sign_flip_test(differences)
    assert tested.test == "mcnemar"
    assert tested.p == pytest.approx(by_scipy(differences[:11]))
    assert sign_flip_test(np.zeros(5)).p == 1


def test_random_signs_approach_the_exact_p_value() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, EXACT)
    exact = sign_flip_test(differences)
    drawn = sign_flip_test(np.concatenate([differences, [1e-12]]))
    assert exact.test == drawn.test == "sign-flip"
    assert drawn.p == pytest.approx(exact.p, abs=0.01)


def scored(generator: np.random.Generator, gold: np.ndarray, gain: float = 0.0) -> MetricInput:
    scores = generator.normal(size=(len(gold), 3))
    scores[np.arange(len(gold)), gold] += 0.7 + gain
    return MetricInput.of_scores(gold, scores)


@pytest.mark.parametrize(("name", "test"), [("accuracy", "mcnemar"), ("brier", "sign-flip"), ("macro_f1", "bootstrap")])
def test_p_values_are_uniform_without_a_difference_and_small_with_one(name: str, test: str) -> None:
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 3, 120)
    tested = [paired_test(METRICS[name], scored(generator, gold), scored(generator, gold)) for _ in range(60)]
    assert {each.test for each in tested} == {test}
    assert np.mean([each.p < 0.2 for each in tested]) < 0.37
    assert kstest([each.p for each in tested], "uniform", alternative="greater").pvalue > 0.001
    assert paired_test(METRICS[name], scored(generator, gold), scored(generator, gold, 3.0)).p < 0.01


def test_the_bootstrap_compares_with_its_own_mean() -> None:
    assert bootstrap_test(np.array([2.0, 1.0, 2.0, 3.0])).p == 0.25
    assert bootstrap_test(np.array([1.0, 1.0, 2.0, 3.0])).p == 0.75
    assert bootstrap_test(np.zeros(10)).p == 1
