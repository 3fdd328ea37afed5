"""Figures of a run, each with a 95% interval. Knows nothing of models or files.

Shares have the Wilson score interval; the others the percentile bootstrap over rows (1,000 resamples, seed 0), less the
bias of resampling, which alone would put the whole interval of a calibrated model's ECE above the ECE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.metrics.intervals import Estimate, Statistic, _bootstrap, mean_of, resamples, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers


BINS = 15
"""Equal-width confidence bins of the expected calibration error (Guo et al. 2017, 1706.04599)."""


AT = "exact_match@"
"""What the name of the accuracy of k texts begins with."""


def classification(gold: Integers, logprobs: Floats) -> dict[str, Estimate]:
    """Accuracy, macro-F1, ECE and Brier score over labels that are the same for every row.

    gold: shape (N,), indices of labels. logprobs: shape (N, K), unnormalized; ties go to the first label. Macro-F1 is
    the mean over the labels that occur in gold. Brier is the mean over rows of the squared distance between the label
    probabilities and the gold one-hot, 0 to 2.
    """
    return _of_logprobs(gold, logprobs, ("macro_f1", "ece", "brier"))


def choice(gold: Integers, logprobs: Floats) -> dict[str, Estimate]:
    """Accuracy, ECE and Brier score over answers that each row has for itself; see `classification`.

    A row that has fewer than K holds -inf in their place.
    """
    return _of_logprobs(gold, logprobs, ("ece", "brier"))


def generation(correct: Floats, found: NDArray[np.bool_]) -> dict[str, Floats]:
    """Of each row whether its answer is right, and whether no answer was found in its text. All have shape (N,)."""
    return {"exact_match": correct, "no_answer": np.where(found, 0.0, 1.0)}


def voting(right: Floats, found: NDArray[np.bool_]) -> dict[str, Floats]:
    """Of votes among n texts a row: the share of its texts in which no answer was found, and the accuracy of k texts.

    right: shape (N, n), for k = 1 to n the share of a row's subsets of k texts whose vote is right. found: shape (N, n).
    """
    accuracies = {f"{AT}{k}": each for k, each in enumerate(right.T, start=1)}
    return {"no_answer_samples": 1 - found.mean(1), **accuracies}


def _of_logprobs(gold: Integers, logprobs: Floats, names: Sequence[str]) -> dict[str, Estimate]:
    weights = resamples(len(gold))
    right = int((logprobs.argmax(1) == gold).sum())
    return {
        "accuracy": wilson(right, len(gold)),
        **{name: _bootstrap(STATISTICS[name](gold, logprobs), weights, within=WITHIN[name]) for name in names},
    }


def _macro_f1(gold: Integers, logprobs: Floats) -> Statistic:
    truth, said = (np.eye(logprobs.shape[1])[x] for x in (gold, logprobs.argmax(1)))
    present = truth.any(0)

    def macro_f1(weights: Floats) -> Floats:
        hits, called, held = (weights @ x[:, present] for x in (truth * said, said, truth))
        each = 2 * hits / np.maximum(called + held, 1) * (held > 0)
        means: Floats = each.sum(1) / (held > 0).sum(1)
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
    shares: Floats = np.exp(logprobs - np.logaddexp.reduce(logprobs, axis=1, keepdims=True))
    return shares


STATISTICS: Mapping[str, Callable[[Integers, Floats], Statistic]] = {"macro_f1": _macro_f1, "ece": _ece, "brier": _brier}
"""The figures that are no share of rows, as `classification` says them."""


WITHIN = {"macro_f1": (0.0, 1.0), "ece": (0.0, 1.0), "brier": (0.0, 2.0)}
"""The least and the greatest that each can be."""
