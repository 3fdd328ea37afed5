"""The scores of rows that candidates are compared by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.accuracy import Accuracy
from promptkit.metrics.brier import Brier
from promptkit.metrics.log_loss import LogLoss
from promptkit.metrics.macro_f1 import MacroF1
from promptkit.metrics.table import applicable, estimate
from promptkit.tuning.scoring import row_scores, scores_of


def predictions(seed: int, rows: int = 40, labels: int = 3) -> MetricInput:
    generator = np.random.default_rng(seed)
    logprobs = np.log(generator.dirichlet(np.ones(labels), rows))
    return MetricInput.of_scores(generator.integers(labels, size=rows), logprobs, labels=[*"abcdefg"[:labels]])


@given(st.integers(0, 1000))
def test_the_scores_of_a_mean_are_its_values(seed: int) -> None:
    found = predictions(seed)
    np.testing.assert_allclose(row_scores(Accuracy(), found), found.correct, atol=1e-9)
    np.testing.assert_allclose(row_scores(Brier(), found), -Brier().values(found), atol=1e-9)


@given(st.integers(0, 1000))
def test_the_pseudo_values_of_macro_f1_are_those_of_the_jackknife(seed: int) -> None:
    found = predictions(seed)
    gold, predicted, n = found.gold, found.logprobs.argmax(1), len(found)

    def macro(rows: np.ndarray) -> float:
        known = sorted({*gold[rows], *predicted[rows]})
        return float(f1_score(gold[rows], predicted[rows], average="macro", labels=known, zero_division=0))

    everything = np.arange(n)
    expected = [n * macro(everything) - (n - 1) * macro(np.delete(everything, row)) for row in range(n)]
    shift = macro(everything) - np.mean(expected)
    assert shift  # the mean of the pseudo-values is not the metric
    np.testing.assert_allclose(row_scores(MacroF1(), found), expected + shift, atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_mean_of_the_scores_of_rows_is_the_metric(seed: int, rows: int) -> None:
    found = predictions(seed, rows)
    metrics = applicable(found)
    assert {"accuracy", "macro_f1", "ece", "brier", "recall@a"} <= metrics.keys()
    for metric in metrics.values():
        sign = 1 if metric.higher_is_better else -1
        assert sign * row_scores(metric, found).mean() == pytest.approx(estimate(metric, found).value, abs=1e-12)


@given(st.integers(0, 1000))
def test_log_loss_is_that_of_scikit_learn(seed: int) -> None:
    found = predictions(seed)
    assert LogLoss().values(found).mean() == pytest.approx(log_loss(found.gold, found.probabilities, labels=range(3)))


def test_a_candidate_that_cannot_be_fitted_has_no_scores() -> None:
    found = scores_of([None, predictions(0)], Accuracy(), 40)
    assert np.isnan(found.correct[0]).all()
    assert not np.isnan(found.correct[1]).any()
    assert found.values is None
    assert scores_of([predictions(0)], MacroF1(), 40).values is not None
