"""The protocol of first aligners, which define what is requested from a model and how its answer is read.

A predictor, a run, a search and a training run use only this protocol, so that a new first aligner is one class. The package
`align` implements it for scored labels and choices (`CandidateScorer`) and for generated texts (`Extraction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from promptkit.core.answer_record import AnswerRecord
from promptkit.core.capabilities import VerbName
from promptkit.core.examples import Example, LabeledExample, TaskKind
from promptkit.core.metric_input import MetricInput, normalized_probabilities
from promptkit.core.model import ModelCard
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Verb

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The predictions of one branch of a run."""

    metric_input: MetricInput
    """The input of the metrics."""
    predictions: tuple[str | None, ...]
    """The prediction for each row; None for a row without an answer."""
    predicted: Mapping[str, int]
    """Label or choice -> number of rows that it is predicted for; empty for free texts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """The answers to rows, whose labels are not known."""

    predictions: tuple[str | None, ...]
    """The prediction for each row; None for a row without an answer."""
    candidates: tuple[tuple[str, ...], ...]
    """The labels or choices of each row, in order; empty for free texts, and for choices of a row without an answer."""
    logprobs: Floats
    """Log-probabilities of the candidates, not necessarily normalized, shape (rows, K).

    -inf where a row has fewer than K candidates, and everywhere for a row without an answer; K is 0 for free texts. With
    `label_lists`, the log-probability that each label applies."""
    label_lists: tuple[tuple[str, ...] | None, ...] | None = None
    """The predicted labels of each row of a multi-label task, None for a row without an answer; None for other tasks."""
    values: Floats | None = None
    """The expected value of each row, shape (rows,), NaN without an answer; None without a numeric scale."""

    @property
    def probabilities(self) -> Floats:
        """The probabilities of the candidates, shape (rows, K); 0 in a row without an answer."""
        return np.exp(self.logprobs) if self.label_lists is not None else normalized_probabilities(self.logprobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The correct answer of one request, for training."""

    gold: int
    """Index of the gold candidate; -1 where any number of labels can apply."""
    members: tuple[bool, ...] = ()
    """Whether each label applies, where any number of labels can; otherwise empty."""
    label_token_counts: tuple[int, ...] = ()
    """In channel scoring, how many leading tokens of each continuation belong to the label and are not part of the loss."""


@runtime_checkable
class OutputReader(Protocol):
    """The first aligner of a chain. Defines the request for a row, and reads, records and judges the model's answer."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def branch(self) -> str:
        """The name of a run's branch that has no other aligner: its own name, or the name of a vote."""
        ...

    @property
    def task_kind(self) -> TaskKind:
        """The kind of tasks whose answers it reads."""
        ...

    @property
    def verb(self) -> VerbName:
        """The name of the requests that it sends, which the model must support."""
        ...

    @property
    def has_scores(self) -> bool:
        """Whether it scores the candidates itself. If not, it needs a later aligner that does, unless it extracts answers."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; empty if rows have different answer choices."""
        ...

    @property
    def answer_tokens(self) -> int:
        """The number of tokens of the model's context that are reserved for a generated answer; 0 for scored answers."""
        ...

    @property
    def gold_scorer(self) -> OutputReader:
        """The aligner that scores a row's gold answer, which training and searches use.

        It is the aligner itself if it scores candidates. For free texts it scores `LabeledExample.answered`, in which the gold
        text is the only choice.
        """
        ...

    def for_model(self, card: ModelCard) -> OutputReader:
        """Returns the aligner for one model, by the card of the model; usually the aligner itself.

        Raises:
            InputError: The model lacks something that the aligner names, such as a class.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """Returns notes for readers of the results, such as a hand-written label map; usually empty."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Returns everything about it that determines a result, as JSON values."""
        ...

    def label_words(self) -> Mapping[str, str]:
        """Returns the word that demonstrations show for each label; empty if they show answers unchanged."""
        ...

    def template_values(self) -> Mapping[str, object]:
        """Returns the variables that templates can use besides the inputs of the rows, such as `labels` or `schema`."""
        ...

    def demonstrated(self, row: LabeledExample) -> tuple[str, ...]:
        """Returns the words that a demonstration shows as the answer of a row, each in a target block of its own."""
        ...

    def source_classes(self) -> Mapping[str, Sequence[str]]:
        """Returns the names of the model's classes that mean each label, if they were written by hand; usually empty."""
        ...

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the labels that a row may have, in order; empty for free texts. Ties go to the first."""
        ...

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns the words that are scored as continuations of a prompt, in a fixed order; empty if there are none."""
        ...

    def request(self, example: Example, rendered: Rendered) -> Verb:
        """Returns what is requested from the model for a row.

        Args:
            example: The row.
            rendered: What the model reads for it, with one continuation for each of `words`.
        """
        ...

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...] | None:
        """Returns one score per candidate, in order, as natural-log values; None if the output has no answer, or no scores."""
        ...

    def prediction(self, example: Example, rendered: Rendered, output: Output) -> str | None:
        """Returns the predicted answer of a row, or None if the output contains none."""
        ...

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Returns whether an answer equals one of the accepted answers. No answer is never correct."""
        ...

    def compared(self, gold: str) -> str:
        """Returns the part of a correct answer that answers are compared with; usually all of it."""
        ...

    def correct_fields(self, answer: str | None, accepted: Sequence[str]) -> Mapping[str, bool]:
        """Returns whether each field of a JSON answer is correct; empty for answers without fields."""
        ...

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns what a run records of the model's answer to a row.

        Args:
            example: The row.
            rendered: What the model read for it.
            output: The model's answer.
            gold: The row with its label, if the label may be recorded.
        """
        ...

    def unanswered(self, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the record of a row without an answer, which counts as wrong; empty if its label is not recorded."""
        ...

    def is_complete(self, record: Mapping[str, object], example: Example, gold: LabeledExample | None) -> bool:
        """Returns whether a record of an earlier execution has everything that `record` returns; else it is computed again."""
        ...

    def label_scores(self, records: Sequence[AnswerRecord]) -> Floats:
        """Returns the scores in records of rows that have an answer, shape (rows, K); -inf where a row has fewer candidates."""
        ...

    def answers(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Answers:
        """Returns the answers to rows, whose labels need not be recorded. The arguments are those of `outcome`."""
        ...

    def outcome(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Outcome:
        """Returns the predictions for the rows of a run.

        Args:
            records: The records of all evaluated rows.
            scores: The scores of a later aligner for the rows that have an answer, shape (answered rows, K). They replace the
                scores in the records.
        """
        ...

    def target(self, row: LabeledExample, example: Example, label_token_counts: tuple[int, ...]) -> Target:
        """Returns the correct answer of a row, for training.

        Args:
            row: The row with its label.
            example: The row as it is sent to the model.
            label_token_counts: As for `Target`.

        Raises:
            TaskError: The aligner has no word for the label.
            Unsupported: The aligner has no scores to train.
        """
        ...

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the differentiable training loss of one request.

        Args:
            target: The correct answer.
            logprobs: For `Score`, the token log-probabilities of each continuation, shape (tokens,) each; for `Classify`, one
                tensor with the log-probabilities of the classes.

        Returns:
            The loss, and the scores of the candidates that it is computed from, shape (candidates,), in their order. None for
            free texts: the best step of a training run is then the one with the lowest loss.

        Raises:
            Unsupported: The aligner has no differentiable scores.
        """
        ...

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Returns the training loss of one request from a model's output, without gradients.

        Args:
            target: The correct answer.
            output: The model's output.

        Returns:
            As `loss`.

        Raises:
            Unsupported: The aligner has no scores to train.
            ModelError: The output has no answer.
        """
        ...

    def scored_input(self, rows: Sequence[LabeledExample], scores: Sequence[Sequence[float]]) -> MetricInput:
        """Returns the input of the metrics for rows whose candidates have these scores.

        Args:
            rows: The rows with their labels.
            scores: The scores that `loss` returns for each row.

        Raises:
            Unsupported: The aligner has no scores to train.
        """
        ...
