"""The predictions for rows that metrics are computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats, Integers

OutputKind = Literal["labels", "choices", "texts", "votes", "label_sets"]
"""What was predicted: labels that all rows share, each row's own choices, one text per row, a vote among several texts, or a
set of labels per row."""


@stateful("metric-input")
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricInput:
    """The predictions for N rows that metrics are computed from. Create it with `of_scores`, `of_texts` or `of_label_sets`."""

    kind: OutputKind
    correct: Floats
    """1.0 for each row with a correct prediction, else 0.0, shape (N,)."""
    answered: Bools
    """Whether each row has a prediction, shape (N,). A reply or a generated text may contain no answer, and a row may be
    skipped."""
    predictions: tuple[str | None, ...]
    """The predicted label, choice or text of each row; None for a row without an answer."""
    accepted: tuple[tuple[str, ...], ...]
    """The accepted answers of each row: its gold label or choice, or all correct texts."""
    labels: tuple[str, ...] = ()
    """The names of the labels, in the order of the columns of `logprobs` and of the sets; for texts, the answers of a closed
    set. Empty for choices and other texts."""
    gold: Integers
    """The index of each row's gold label or choice, shape (N,); 0 for other kinds and for unanswered rows with choices."""
    logprobs: Floats
    """Log-probabilities of the labels or choices, not necessarily normalized, shape (N, K).

    -inf where a row has fewer than K choices, and everywhere for a row without an answer; K is 0 for generated texts. For sets
    of labels, the log-probability that each label applies."""
    vote_accuracies: Floats
    """For k = 1 to n, the share of subsets of k of a row's n texts whose vote is correct, shape (N, n).

    n is 0 without a vote."""
    samples_answered: Bools
    """Whether each of a row's n texts contains an answer, shape (N, n)."""
    gold_sets: Bools
    """Whether each label applies to each row, shape (N, K); K is 0 except for sets of labels and texts of a closed set."""
    predicted_sets: Bools
    """Whether each label is predicted for each row, shape (N, K); False for a row without an answer."""
    gold_values: Floats | None = None
    """The value of each row on a numeric scale, shape (N,); None for a task without a scale."""
    predicted_values: Floats | None = None
    """The predicted value of each row, shape (N,), NaN for a row without an answer; None for a task without a scale."""
    fields: Mapping[str, Floats] = field(default_factory=dict)
    """For JSON answers, field -> the share of it that is correct in each row, from 0 to 1, shape (N,)."""
    valid: Bools | None = None
    """Whether the answer of each row is valid under its JSON schema, shape (N,); None for other answers."""
    folds: Integers | None = None
    """The fold of each row, shape (N,), if each fold has its own predictor; None if one predictor predicts all rows."""

    @classmethod
    def of_scores(
        cls,
        gold: Integers,
        logprobs: Floats,
        *,
        kind: Literal["labels", "choices"] = "labels",
        labels: Sequence[str] = (),
        predictions: Sequence[str | None] | None = None,
        accepted: Sequence[Sequence[str]] | None = None,
    ) -> MetricInput:
        """Returns the input for scored labels or choices. Ties go to the first label.

        A row whose log-probabilities are all -inf has no prediction and is not correct.

        Args:
            gold: Index of the gold label or choice of each row, shape (N,).
            logprobs: Log-probabilities, shape (N, K).
            kind: Whether all rows share the labels.
            labels: The names of shared labels; by default their indices.
            predictions: The prediction for each row; by default the name of the likeliest label.
            accepted: The accepted answers of each row; by default the name of the gold label.
        """
        answered: Bools = ~np.isneginf(logprobs.max(1))
        predicted = logprobs.argmax(1)
        names = tuple(labels) or tuple(map(str, range(logprobs.shape[1])))
        if predictions is None:
            predictions = [names[label] if has_answer else None for label, has_answer in zip(predicted, answered, strict=True)]
        return cls._of(
            kind=kind,
            correct=(answered & (predicted == gold)).astype(float),
            answered=answered,
            predictions=predictions,
            accepted=[(names[index],) for index in gold] if accepted is None else accepted,
            labels=names if kind == "labels" else (),
            gold=gold,
            logprobs=logprobs,
        )

    @classmethod
    def of_texts(
        cls,
        correct: Floats,
        predictions: Sequence[str | None],
        accepted: Sequence[Sequence[str]],
        *,
        vote_accuracies: Floats | None = None,
        samples_answered: Bools | None = None,
    ) -> MetricInput:
        """Returns the input for generated texts; the last two arguments are given if several texts per row vote.

        Args:
            correct: 1.0 for each row with a correct answer, else 0.0, shape (N,).
            predictions: The answer of each row; None for a row without an answer.
            accepted: All correct answers of each row.
            vote_accuracies: As the attribute.
            samples_answered: As the attribute.
        """
        return cls._of(
            kind="texts" if vote_accuracies is None else "votes",
            correct=correct,
            answered=np.array([prediction is not None for prediction in predictions], bool),
            predictions=predictions,
            accepted=accepted,
            vote_accuracies=vote_accuracies,
            samples_answered=samples_answered,
        )

    @classmethod
    def of_label_sets(
        cls,
        gold: Bools,
        predicted: Bools,
        labels: Sequence[str],
        *,
        answered: Bools | None = None,
        logprobs: Floats | None = None,
    ) -> MetricInput:
        """Returns the input for rows that have any number of labels. A row is correct if the whole set is.

        Args:
            gold: Whether each label applies to each row, shape (N, K).
            predicted: Whether each label is predicted for each row, shape (N, K).
            labels: The names of the K labels.
            answered: Whether each row has an answer, shape (N,); by default all have one. Without one a row is not correct.
            logprobs: The log-probability that each label applies, shape (N, K), if there are probabilities.
        """
        has_answer: Bools = np.ones(len(gold), bool) if answered is None else answered
        sets: Bools = predicted & has_answer[:, None]
        names = [(_joined(row, labels) if given else None) for row, given in zip(sets, has_answer, strict=True)]
        return cls._of(
            kind="label_sets",
            correct=(has_answer & (gold == sets).all(1)).astype(float),
            answered=has_answer,
            predictions=names,
            accepted=[(_joined(row, labels),) for row in gold],
            labels=labels,
            logprobs=logprobs,
            gold_sets=gold,
            predicted_sets=sets,
        )

    @classmethod
    def _of(
        cls,
        *,
        kind: OutputKind,
        correct: Floats,
        answered: Bools,
        predictions: Sequence[str | None],
        accepted: Sequence[Sequence[str]],
        labels: Sequence[str] = (),
        gold: Integers | None = None,
        logprobs: Floats | None = None,
        vote_accuracies: Floats | None = None,
        samples_answered: Bools | None = None,
        gold_sets: Bools | None = None,
        predicted_sets: Bools | None = None,
    ) -> MetricInput:
        """Returns the input in which everything that is None is empty."""
        none: Floats = np.zeros((len(correct), 0))
        return cls(
            kind=kind,
            correct=correct,
            answered=answered,
            predictions=tuple(predictions),
            accepted=tuple(map(tuple, accepted)),
            labels=tuple(labels),
            gold=np.zeros(len(correct), int) if gold is None else gold,
            logprobs=none if logprobs is None else logprobs,
            vote_accuracies=none if vote_accuracies is None else vote_accuracies,
            samples_answered=none.astype(bool) if samples_answered is None else samples_answered,
            gold_sets=none.astype(bool) if gold_sets is None else gold_sets,
            predicted_sets=none.astype(bool) if predicted_sets is None else predicted_sets,
        )

    def with_values(self, gold: Floats, predicted: Floats) -> MetricInput:
        """Returns the input with the values of the rows on a numeric scale.

        Args:
            gold: The value of each row, shape (N,).
            predicted: The predicted value of each row, shape (N,); NaN for a row without an answer.
        """
        return replace(self, gold_values=gold, predicted_values=predicted)

    def with_fields(self, fields: Mapping[str, Floats], valid: Bools | None = None) -> MetricInput:
        """Returns the input with the share of each field that is correct in each row, for JSON answers.

        Args:
            fields: Field -> the share of it that is correct in each row, from 0 to 1, shape (N,).
            valid: Whether the answer of each row is valid under its schema, shape (N,); None without a schema.
        """
        return replace(self, fields=dict(fields), valid=valid)

    def with_closed_answers(self, answers: Sequence[str], gold: Integers, predicted: Sequence[int | None]) -> MetricInput:
        """Returns the input of texts that are all among the answers of a closed set.

        Args:
            answers: All possible answers.
            gold: The index of the correct answer of each row, shape (N,).
            predicted: The index of the predicted answer of each row; None for a row without an answer.
        """
        one_hot = np.eye(len(answers) + 1, len(answers), dtype=bool)
        index = [len(answers) if each is None else each for each in predicted]
        return replace(self, labels=tuple(answers), gold_sets=one_hot[gold], predicted_sets=one_hot[index])

    def with_folds(self, folds: Sequence[int]) -> MetricInput:
        """Returns the input of rows that were predicted by a predictor for each fold.

        Args:
            folds: The fold of each row, from 1; all are 0 if one predictor predicts all rows.
        """
        return replace(self, folds=np.array(folds, int) if any(folds) else None)

    def take(self, rows: Sequence[int]) -> MetricInput:
        """Returns the input for some of the rows, given by index."""
        index = np.array(rows, int)
        return replace(
            self,
            correct=self.correct[index],
            answered=self.answered[index],
            predictions=tuple(self.predictions[row] for row in rows),
            accepted=tuple(self.accepted[row] for row in rows),
            gold=self.gold[index],
            logprobs=self.logprobs[index],
            vote_accuracies=self.vote_accuracies[index],
            samples_answered=self.samples_answered[index],
            gold_sets=self.gold_sets[index],
            predicted_sets=self.predicted_sets[index],
            gold_values=None if self.gold_values is None else self.gold_values[index],
            predicted_values=None if self.predicted_values is None else self.predicted_values[index],
            fields={name: shares[index] for name, shares in self.fields.items()},
            valid=None if self.valid is None else self.valid[index],
            folds=None if self.folds is None else self.folds[index],
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

        They sum to 1 in each row with a prediction, and are 0 in the others. For sets of labels, the probability that each
        label applies.
        """
        return np.exp(self.logprobs) if self.kind == "label_sets" else normalized_probabilities(self.logprobs)

    @property
    def gold_counts(self) -> dict[str, int]:
        """Label, choice or correct answer -> the number of rows that have it; the first answer of free answers."""
        if self.kind == "label_sets":
            return dict(zip(self.labels, self.gold_sets.sum(0).tolist(), strict=True))
        return dict(Counter(accepted[0] for accepted in self.accepted))


def normalized_probabilities(logprobs: Floats) -> Floats:
    """Returns the probabilities of log-probabilities, shape (N, K); 0 in a row whose log-probabilities are all -inf."""
    if not logprobs.shape[1]:
        return np.zeros_like(logprobs)
    totals = np.logaddexp.reduce(logprobs, axis=1, keepdims=True)
    probabilities: Floats = np.exp(logprobs - np.where(np.isneginf(totals), 0.0, totals))
    return probabilities


def _joined(members: Bools, labels: Sequence[str]) -> str:
    """Returns the labels of a row as they are shown, such as `sports, politics`."""
    return ", ".join(label for label, is_member in zip(labels, members, strict=True) if is_member)
