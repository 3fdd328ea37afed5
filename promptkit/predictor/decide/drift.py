"""Notes on new rows that differ from the labeled rows.

Two permutation tests compare new rows with the labeled ones, which were predicted without their own labels. One compares the
shares of predicted labels (Pearson's chi-squared statistic), the other the distribution of confidence (the Kolmogorov-Smirnov
distance over fixed intervals of its log-odds). Both are exact if all rows are exchangeable, since a Monte Carlo test with
p = (1 + exceedances) / (1 + permutations) never rejects too often (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9).
Each has the level 0.5%, so that rows without drift cause a note in at most 1% of cases.

With many new rows, tests find differences too small to matter, so that a note also needs a difference of at least 5 points.
Out-of-fold rows are predicted by predictors that were fitted on fewer rows, whose confidence differs without any drift, so that
compared with them a note needs a difference of at least 20 points. benchmarks/guarantees measures how often notes are wrong.
Only counts are kept, so that any number of rows can be added in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.arguments import check_value
from promptkit.core.errors import InputError
from promptkit.core.read_only import numeric_array
from promptkit.predictor.out_of_fold import OutOfFold

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

FALSE_ALARMS = 0.01
"""The probability of a note if new and labeled rows are exchangeable."""
LEAST_DIFFERENCE = 0.05
"""The least difference of shares that is noted."""
LEAST_DIFFERENCE_FROM_FOLDS = 0.2
"""The same if the labeled rows are predicted by several folds."""
Statistic = Callable[["Integers", "Integers"], "Floats"]
"""Computes the difference of each of T pairs of samples, shape (T,), from their counts, shape (T, categories) each."""
PERMUTATIONS = 1999
"""Permutations of a test, drawn with the seed 0."""
_LABEL, _INTERVAL = "drift label ", "drift interval "
"""The prefixes of the names of counts."""
_EDGES = 1 / (1 + np.exp(-np.linspace(-6, 12, 109)))
"""The limits of the intervals of confidence: log-odds from -6 to 12."""


class Drift:
    """Compares new rows with labeled ones. Add the probabilities of new rows with `add`; `notes` describes the differences."""

    def __init__(self, rows: OutOfFold, counts: Mapping[str, int] | None = None) -> None:
        """Creates a comparison.

        Args:
            rows: Labeled rows that the predictor was not fitted on, as in `Predictor.out_of_fold`.
            counts: The new rows of an interrupted comparison, from `counts`; by default none.
        """
        check_value("rows", rows, OutOfFold, of="Drift")
        check_value("counts", counts, Mapping[str, int] | None, of="Drift")
        self.labels = rows.labels
        self._least_difference = LEAST_DIFFERENCE_FROM_FOLDS if rows.folds else LEAST_DIFFERENCE
        self._old_labels, self._old_confidence = _counts(rows.probabilities)
        counts = counts or {}
        self._new_labels = np.array([counts.get(f"{_LABEL}{i}", 0) for i in range(len(self._old_labels))])
        self._new_confidence = np.array([counts.get(f"{_INTERVAL}{i}", 0) for i in range(len(self._old_confidence))])

    def counts(self) -> dict[str, int]:
        """Returns how many new rows have each predicted label and are in each interval of confidence, without zeros."""
        counts = [*enumerate(self._new_labels.tolist())], [*enumerate(self._new_confidence.tolist())]
        return {
            f"{prefix}{number}": count
            for prefix, numbered in zip((_LABEL, _INTERVAL), counts, strict=True)
            for number, count in numbered
            if count
        }

    def add(self, probabilities: Floats) -> None:
        """Adds new rows.

        Args:
            probabilities: Shape (N, K); all 0 in a row without an answer.
        """
        array = numeric_array("probabilities", probabilities, of="Drift.add")
        if array.ndim != 2 or array.shape[1] != len(self.labels):
            raise InputError(
                f"The probabilities of new rows need the shape (rows, {len(self.labels)})",
                code="wrong-shape",
                got=f"an array of shape {array.shape}",
                shape=array.shape,
                expected=len(self.labels),
            )
        labels, confidence = _counts(array.astype(np.float64))
        self._new_labels += labels
        self._new_confidence += confidence

    def notes(self) -> tuple[str, ...]:
        """Returns a note for each difference; none if the new rows look like the labeled ones."""
        return tuple(note for note in (self._label_note(), self._confidence_note()) if note)

    def _label_note(self) -> str | None:
        """Returns the note on the label whose share differs most."""
        if not differs(_pearson, self._old_labels, self._new_labels):
            return None
        old, new = self._old_labels / self._old_labels.sum(), self._new_labels / self._new_labels.sum()
        change = (new - old).round(9)
        most = max(range(len(change)), key=lambda label: (abs(change[label]), change[label]))
        if abs(change[most]) < self._least_difference:
            return None
        name = "no label" if most == len(self.labels) else repr(self.labels[most])
        return (
            f"The new rows differ from the labeled rows: {name} is predicted for {new[most]:.1%} of the new rows and for "
            f"{old[most]:.1%} of the labeled rows; accuracy and guarantees may not hold for them"
        )

    def _confidence_note(self) -> str | None:
        """Returns the note on the confidence."""
        if not differs(_kolmogorov_smirnov, self._old_confidence, self._new_confidence):
            return None
        old, new = _cumulative(self._old_confidence), _cumulative(self._new_confidence)
        most = int(np.abs(new - old).argmax())
        if abs(new[most] - old[most]) < self._least_difference:
            return None
        edge = np.concatenate([[0.0], _EDGES])[most]
        return (
            f"The new rows differ from the labeled rows: the probability of the likeliest label is below {edge:.3f} in "
            f"{new[most]:.1%} of the new rows and in {old[most]:.1%} of the labeled rows; accuracy and guarantees may not hold "
            "for them"
        )


def differs(statistic: Statistic, old: Integers, new: Integers) -> bool:
    """Returns whether two samples differ at the level 0.5%.

    Args:
        statistic: Computes the differences of many pairs of samples.
        old: The number of rows of the first sample in each category.
        new: The number of rows of the second sample in each category.
    """
    if not old.sum() or not new.sum():
        return False
    kept = old + new > 0
    total, first = (old + new)[kept], old[kept]
    generator = np.random.default_rng(0)
    permuted = generator.multivariate_hypergeometric(total, old.sum(), size=PERMUTATIONS, method="marginals")
    drawn = statistic(permuted, total - permuted)
    (observed,) = statistic(first[None], total[None] - first[None])
    exceeded = int((drawn >= observed * (1 - 1e-9)).sum())
    return (1 + exceeded) / (1 + PERMUTATIONS) <= FALSE_ALARMS / 2


def _counts(probabilities: Floats) -> tuple[Integers, Integers]:
    """Returns how many rows have each label, the last being no answer, and how many have a confidence in each interval."""
    confidence = probabilities.max(1)
    labels = np.where(confidence > 0, probabilities.argmax(1), probabilities.shape[1])
    intervals = np.where(confidence > 0, 1 + np.searchsorted(_EDGES, confidence, side="right"), 0)
    return np.bincount(labels, minlength=probabilities.shape[1] + 1), np.bincount(intervals, minlength=len(_EDGES) + 2)


def _pearson(old: Integers, new: Integers) -> Floats:
    """Returns Pearson's statistic of each of T pairs of samples, shape (T,), from counts of shape (T, categories)."""
    total, share = old + new, new.sum(1, keepdims=True) / (old + new).sum(1, keepdims=True)
    statistic: Floats = ((new - total * share) ** 2 / (total * share * (1 - share))).sum(1)
    return statistic


def _kolmogorov_smirnov(old: Integers, new: Integers) -> Floats:
    """Returns the largest difference of the cumulative shares of each of T pairs of samples, shape (T,)."""
    distance: Floats = np.abs(_cumulative(old) - _cumulative(new)).max(1)
    return distance


def _cumulative(counts: Integers) -> Floats:
    """Returns the share of rows up to each category."""
    cumulative: Floats = counts.cumsum(-1) / counts.sum(-1, keepdims=True)
    return cumulative
