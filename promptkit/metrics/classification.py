"""Metrics of scored labels and of generated answers.

Accuracy has the Wilson score interval, the other metrics of labels the bootstrap interval of `intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.metrics.intervals import Estimate, Statistic, bootstrap, mean_of, resamples, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers

BINS = 15
"""Confidence bins of equal width of the expected calibration error (Guo et al. 2017, arXiv 1706.04599)."""
AT = "exact_match@"
"""The prefix of the name of the accuracy of a vote among k texts, as in `exact_match@5`."""
BOUNDS = {"macro_f1": (0.0, 1.0), "ece": (0.0, 1.0), "brier": (0.0, 2.0)}
"""The least and the greatest possible value of each metric that is not a share of rows."""


def classification(gold: Integers, logprobs: Floats) -> dict[str, Estimate]:
    """Returns the accuracy, macro-F1, expected calibration error and Brier score over labels that all rows share.

    Macro-F1 is the mean over the labels that occur in `gold`. The Brier score is the mean over rows of the squared distance
    between the label probabilities and the one-hot gold label, from 0 to 2.

    Args:
        gold: The index of each row's gold label, shape (N,).
        logprobs: Log-probabilities of the labels, not necessarily normalized, shape (N, K). Ties go to the first label.
    """
    return _from_logprobs(gold, logprobs, ("macro_f1", "ece", "brier"))


def choice(gold: Integers, logprobs: Floats) -> dict[str, Estimate]:
    """Returns the accuracy, expected calibration error and Brier score if rows have different answer choices.

    Args:
        gold: The index of each row's gold answer, shape (N,).
        logprobs: As for `classification`, with -inf where a row has fewer than K answers.
    """
    return _from_logprobs(gold, logprobs, ("ece", "brier"))


def generation(correct: Floats, found: NDArray[np.bool_]) -> dict[str, Floats]:
    """Returns, for each row, whether its answer is correct and whether its text contains no answer. All have shape (N,)."""
    return {"exact_match": correct, "no_answer": np.where(found, 0.0, 1.0)}


def voting(correct: Floats, found: NDArray[np.bool_]) -> dict[str, Floats]:
    """Returns, for each row, the share of its n texts without an answer, and the accuracy of a vote among k of them.

    Args:
        correct: For k = 1 to n, the share of subsets of k texts whose vote is correct, shape (N, n).
        found: Whether each text contains an answer, shape (N, n).
    """
    accuracies = {f"{AT}{k}": column for k, column in enumerate(correct.T, start=1)}
    return {"no_answer_samples": 1 - found.mean(1), **accuracies}


def _from_logprobs(gold: Integers, logprobs: Floats, names: Sequence[str]) -> dict[str, Estimate]:
    weights = resamples(len(gold))
    hits = int((logprobs.argmax(1) == gold).sum())
    return {
        "accuracy": wilson(hits, len(gold)),
        **{name: bootstrap(STATISTICS[name](gold, logprobs), weights, bounds=BOUNDS[name]) for name in names},
    }


def _macro_f1(gold: Integers, logprobs: Floats) -> Statistic:
    true_labels, predictions = (np.eye(logprobs.shape[1])[labels] for labels in (gold, logprobs.argmax(1)))
    occurs = true_labels.any(0)

    def macro_f1(weights: Floats) -> Floats:
        hits, predicted, actual = (weights @ x[:, occurs] for x in (true_labels * predictions, predictions, true_labels))
        f1 = 2 * hits / np.maximum(predicted + actual, 1) * (actual > 0)
        means: Floats = f1.sum(1) / (actual > 0).sum(1)
        return means

    return macro_f1


def _ece(gold: Integers, logprobs: Floats) -> Statistic:
    predicted = logprobs.argmax(1)
    confidence = _probabilities(logprobs)[np.arange(len(gold)), predicted]
    gap_by_bin = np.eye(BINS)[np.minimum((confidence * BINS).astype(int), BINS - 1)]
    gap_by_bin *= ((predicted == gold) - confidence)[:, None]

    def ece(weights: Floats) -> Floats:
        gaps: Floats = np.abs(weights @ gap_by_bin).sum(1) / len(gold)
        return gaps

    return ece


def _brier(gold: Integers, logprobs: Floats) -> Statistic:
    return mean_of(((_probabilities(logprobs) - np.eye(logprobs.shape[1])[gold]) ** 2).sum(1))


def _probabilities(logprobs: Floats) -> Floats:
    probabilities: Floats = np.exp(logprobs - np.logaddexp.reduce(logprobs, axis=1, keepdims=True))
    return probabilities


STATISTICS: Mapping[str, Callable[[Integers, Floats], Statistic]] = {"macro_f1": _macro_f1, "ece": _ece, "brier": _brier}
"""The metrics that are not a share of rows: name -> a function of the gold labels and the log-probabilities."""
