"""Prototypical calibration: clusters of predictions and their labels."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import promptkit as pk
from promptkit.align.calibrate.proca import MIN_VARIANCE
from tests.support.calibration_cases import LABELS, applied, fit, make_case, outputs, probabilities, support_of

calibrate = pk.calibrate


def make_clusters(size=3, rows=90, seed=0):
    """One cluster for each label; the first label is the most likely in all of them."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(size, size=rows)
    means = np.full((size, size), -4.0)
    means[:, 0] = 0
    means[np.arange(1, size), np.arange(1, size)] = -1.5
    return outputs(means[gold] + generator.normal(0, 0.2, (rows, size))), gold


def test_clusters_are_recovered_when_one_label_is_always_most_likely():
    rows, gold = make_clusters()
    support = support_of(rows, rows)
    assert (rows.logprobs.argmax(1) == 0).mean() > 0.95
    assert (applied(calibrate.ProCa(), support, None).argmax(1) == gold).mean() > 0.95


def test_clusters_are_matched_to_labels_with_maximal_sum_of_means():
    fitted = fit(calibrate.ProCa(restarts=4), make_case(3)[0])
    sums = [sum(fitted.means[c, y] for y, c in enumerate(order)) for order in permutations(range(LABELS))]
    assert np.trace(fitted.means) == pytest.approx(max(sums))


@pytest.mark.parametrize("size", [2, 3, 21])
def test_score_is_density_of_the_labels_cluster(size):
    support = make_case(1, size)[0]
    fitted = fit(calibrate.ProCa(restarts=1), support)
    points = np.log(probabilities(support.items.logprobs))
    densities = []
    for mean, root in zip(fitted.means, fitted.precision_roots, strict=True):
        matrix = np.linalg.inv(root @ root.T) if root.ndim == 2 else np.diag(root**-2.0)
        assert np.linalg.eigvalsh(matrix).min() >= MIN_VARIANCE * 0.99
        densities.append(multivariate_normal(mean, matrix).logpdf(points))
    expected = probabilities(np.reshape(densities, (size, -1)).T)
    np.testing.assert_allclose(np.exp(fitted.apply(support.items)), expected, atol=1e-6)
    assert (fitted.precision_roots.ndim == 2) == (size > 20)


def test_more_restarts_do_not_match_worse_and_the_seed_is_used():
    support = make_case(8)[0]
    traces = [np.trace(fit(calibrate.ProCa(restarts=n), support).means) for n in (1, 5, 20)]
    assert traces == sorted(traces)
    one, same, other = (fit(calibrate.ProCa(restarts=1, seed=seed), support).means for seed in (0, 0, 3))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
