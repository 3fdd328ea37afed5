"""Intervals of out-of-fold estimates, which contain the variance between the predictors of folds."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal

from promptkit.metrics import MetricInput
from promptkit.metrics.between_folds import SCALE, design_effect, variance_ratio
from promptkit.metrics.intervals import Subset, mean_share, wilson
from promptkit.metrics.table import applicable, estimate

ROWS, FOLDS, DRAWS = 100, 5, 1500


def simulate(seed: int, accuracy: float, deviation: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns whether each row is correct, its fold, and the accuracy of a further predictor on 1,000 new rows.

    The true accuracy of each fold's predictor, and of the further one, is drawn from a beta distribution.

    Args:
        seed: The seed of the draw.
        accuracy: The mean of the true accuracies.
        deviation: Their standard deviation, in standard deviations of a row.
    """
    generator = np.random.default_rng(seed)
    total = 1 / deviation**2 - 1 if deviation else np.inf
    true = generator.beta(accuracy * total, (1 - accuracy) * total, FOLDS + 1) if deviation else np.full(FOLDS + 1, accuracy)
    folds = generator.integers(FOLDS, size=ROWS)
    correct = (generator.random(ROWS) < true[folds]).astype(float)
    return correct, folds, generator.binomial(1000, true[-1]) / 1000


@pytest.mark.parametrize("accuracy", [0.4, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("deviation", [0.0, 0.05, 0.1])
def test_the_accuracy_on_new_rows_is_in_the_interval_in_at_least_93_percent_of_draws(accuracy: float, deviation: float) -> None:
    """Folds without variance between them, and with one of 2.5 and 5 points at an accuracy of 50%."""
    inside = []
    for seed in range(DRAWS):
        correct, folds, new = simulate(seed, accuracy, deviation)
        interval = mean_share(correct, folds)
        inside.append(interval.low <= new <= interval.high)
    assert np.mean(inside) >= 0.93


def test_an_interval_over_rows_is_too_narrow_where_predictors_differ_and_the_wider_one_adapts() -> None:
    over_rows, between, widths = [], [], {0.0: [], 0.3: []}
    for seed in range(DRAWS):
        for deviation, of_deviation in widths.items():
            correct, folds, new = simulate(seed, 0.6, deviation)
            narrow, wide = mean_share(correct), mean_share(correct, folds)
            of_deviation.append((wide.high - wide.low) / (narrow.high - narrow.low))
            if deviation:
                over_rows.append(narrow.low <= new <= narrow.high)
                between.append(wide.low <= new <= wide.high)
    assert np.mean(over_rows) < 0.5
    assert np.mean(between) > np.mean(over_rows) + 0.25
    assert np.mean(widths[0.0]) < 1.6
    assert np.mean(widths[0.3]) > np.mean(widths[0.0]) + 0.5


@st.composite
def shares_in_folds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = generator.random(count) if draw(st.booleans()) else generator.integers(2, size=count).astype(float)
    return shares, generator.integers(1, draw(st.integers(2, 8)), size=count)


@given(shares_in_folds())
def test_the_variance_ratio_is_the_posterior_mean_of_random_predictors(case: tuple[np.ndarray, np.ndarray]) -> None:
    """The density of the folds' means, without their common mean, is integrated by other code."""
    shares, folds = case
    assume(shares.std() > 0)
    assume(len(np.unique(folds)) > 1)
    sizes = np.array([np.sum(folds == fold) for fold in np.unique(folds)])
    means = np.array([shares[folds == fold].mean() for fold in np.unique(folds)]) / shares.std()
    contrasts = np.linalg.svd(np.ones((1, len(sizes))))[2][1:]  # free of the common mean

    def density(deviation: float) -> float:
        covariance = contrasts @ np.diag(1 / sizes + deviation**2) @ contrasts.T
        likelihood = multivariate_normal(cov=covariance).pdf(contrasts @ means)
        return float(likelihood / (1 + (deviation / SCALE) ** 2))

    places = [0.01, 0.05, 0.1, 0.3]
    expected = quad(lambda d: d**2 * density(d), 0, 1, points=places)[0] / quad(density, 0, 1, points=places)[0]
    assert variance_ratio(shares, folds) == pytest.approx(expected, rel=0.02)


@given(shares_in_folds(), st.integers(0, 2**32 - 1))
def test_the_interval_contains_that_over_rows_and_depends_neither_on_the_order_nor_on_names_of_folds(
    case: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    shares, folds = case
    narrow, wide = mean_share(shares), mean_share(shares, folds)
    assert wide.value == pytest.approx(narrow.value)
    assert 0 <= wide.low <= narrow.low + 1e-9 <= narrow.high + 1e-9 <= wide.high + 2e-9 <= 1 + 2e-9
    order = np.random.default_rng(seed).permutation(len(shares))
    assert astuple(mean_share(shares[order], 7 * folds[order])) == pytest.approx(astuple(wide))


def test_without_folds_the_interval_is_wilsons() -> None:
    shares = np.array([0.0, 1.0, 1.0, 1.0])
    assert design_effect(shares, None) == 1
    assert mean_share(shares, None) == wilson(3, 4)
    assert MetricInput.of_texts(shares, ["a"] * 4, [["a"]] * 4).with_folds([0, 0, 0, 0]).folds is None


def test_folds_widen_the_intervals_of_all_metrics_and_no_value() -> None:
    generator = np.random.default_rng(0)
    gold, folds = generator.integers(3, size=80), generator.integers(1, 6, size=80)
    logprobs = generator.normal(size=(80, 3)) + 2 * np.eye(3)[gold]
    inputs = MetricInput.of_scores(gold, logprobs)
    metrics = applicable(inputs)
    assert {"accuracy", "macro_f1", "ece", "brier", "precision@0", "recall@1", "f1@2"} <= metrics.keys()
    for metric in metrics.values():
        narrow, wide = estimate(metric, inputs), estimate(metric, inputs.with_folds(folds.tolist()))
        assert wide.value == pytest.approx(narrow.value)
        assert metric.bounds[0] <= wide.low < narrow.low
        assert narrow.high < wide.high <= metric.bounds[1]


def test_a_part_of_the_rows_keeps_their_folds() -> None:
    inputs = MetricInput.of_texts(np.array([0.0, 1.0, 1.0]), ["a"] * 3, [["a"]] * 3).with_folds([1, 2, 3])
    taken = inputs.take([2, 0]).folds
    assert taken is not None
    assert taken.tolist() == [3, 1]


def test_a_label_without_counted_rows_has_the_whole_interval() -> None:
    nothing = Subset(values=np.ones(3), counted=np.zeros(3)).estimate(np.array([1, 2, 3]))
    assert astuple(nothing) == (0.0, 0.0, 1.0)
