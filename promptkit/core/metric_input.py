"""The predictions for rows that metrics are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers

OutputKind = Literal["labels", "choices", "texts", "votes"]
"""What was predicted: labels that all rows share, each row's own choices, one text per row, or a vote among several texts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricInput:
    """The predictions for N rows that metrics are computed from. Create it with `of_scores` or `of_texts`."""

    kind: OutputKind
    correct: Floats
    """1.0 for each row with a correct prediction, else 0.0, shape (N,)."""
    answered: NDArray[np.bool_]
    """Whether each row has a prediction, shape (N,). A reply or a generated text may contain no answer, and a row may be
    skipped."""
    gold: Integers
    """The index of each row's gold label or choice, shape (N,); 0 for generated texts and unanswered rows with choices."""
    logprobs: Floats
    """Log-probabilities of the labels or choices, not necessarily normalized, shape (N, K).

    -inf where a row has fewer than K choices, and everywhere for a row without an answer; K is 0 for generated texts."""
    vote_accuracies: Floats
    """For k = 1 to n, the share of subsets of k of a row's n texts whose vote is correct, shape (N, n).

    n is 0 without a vote."""
    samples_answered: NDArray[np.bool_]
    """Whether each of a row's n texts contains an answer, shape (N, n)."""

    @classmethod
    def of_scores(cls, gold: Integers, logprobs: Floats, *, kind: OutputKind = "labels") -> MetricInput:
        """Returns the input for scored labels or choices. Ties go to the first label.

        A row whose log-probabilities are all -inf has no prediction and is not correct.
        """
        none = np.zeros((len(gold), 0))
        answered: NDArray[np.bool_] = ~np.isneginf(logprobs.max(1))
        correct = (answered & (logprobs.argmax(1) == gold)).astype(float)
        return cls(
            kind=kind,
            correct=correct,
            answered=answered,
            gold=gold,
            logprobs=logprobs,
            vote_accuracies=none,
            samples_answered=none.astype(bool),
        )

    @classmethod
    def of_texts(
        cls,
        correct: Floats,
        answered: NDArray[np.bool_],
        *,
        vote_accuracies: Floats | None = None,
        samples_answered: NDArray[np.bool_] | None = None,
    ) -> MetricInput:
        """Returns the input for generated texts; the last two arguments are given if several texts per row vote."""
        none = np.zeros((len(correct), 0))
        return cls(
            kind="texts" if vote_accuracies is None else "votes",
            correct=correct,
            answered=answered,
            gold=np.zeros(len(correct), int),
            logprobs=none,
            vote_accuracies=none if vote_accuracies is None else vote_accuracies,
            samples_answered=none.astype(bool) if samples_answered is None else samples_answered,
        )

    def take(self, rows: Sequence[int]) -> MetricInput:
        """Returns the input for some of the rows, given by index."""
        index = np.array(rows, int)
        return replace(
            self,
            correct=self.correct[index],
            answered=self.answered[index],
            gold=self.gold[index],
            logprobs=self.logprobs[index],
            vote_accuracies=self.vote_accuracies[index],
            samples_answered=self.samples_answered[index],
        )

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def predicted(self) -> Integers:
        """The index of each row's likeliest label or choice, shape (N,); undefined for a row that is not answered."""
        predicted: Integers = self.logprobs.argmax(1)
        return predicted

    @property
    def probabilities(self) -> Floats:
        """The probabilities of the labels or choices, shape (N, K).

        They sum to 1 in each row with a prediction, and are 0 in the others.
        """
        return normalized_probabilities(self.logprobs)


def normalized_probabilities(logprobs: Floats) -> Floats:
    """Returns the probabilities of log-probabilities, shape (N, K); 0 in a row whose log-probabilities are all -inf."""
    if not logprobs.shape[1]:
        return np.zeros_like(logprobs)
    totals = np.logaddexp.reduce(logprobs, axis=1, keepdims=True)
    probabilities: Floats = np.exp(logprobs - np.where(np.isneginf(totals), 0.0, totals))
    return probabilities
