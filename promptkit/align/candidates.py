"""Base class of first aligners that score candidate answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.align.logprobs import expected_values
from promptkit.align.loss import scored_tokens, without_label_tokens
from promptkit.core.answer_record import DECIMALS, AnswerRecord, is_answered
from promptkit.core.capabilities import VerbName
from promptkit.core.errors import InputError, TaskError, TemplateError, Unsupported
from promptkit.core.examples import Example, LabeledExample, TaskKind
from promptkit.core.metric_input import MetricInput
from promptkit.core.model import ModelCard
from promptkit.core.output_reader import Answers, Outcome, OutputReader, Target
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Score, ScoreOutput, Verb
from promptkit.core.variables import LABELS
from promptkit.inputs.text.encoding import counted

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats


class CandidateScorer:
    """Scores candidate answers by the continuations of a prompt, and predicts the one with the highest score.

    Subclasses define `name`, `labels`, `candidates`, `words`, `label_words`, `settings` and `align`. Trainable subclasses also
    define `align_tensors`. Subclasses whose requests are not continuations override `verb`, `request`, `scores`,
    `record_scores`, `has_details` and `training_scores`.
    """

    name: ClassVar[str]
    labels: tuple[str, ...]
    scale: Mapping[str, float] | None = None
    """The value of each label on a numeric scale; None without a scale."""
    verb: ClassVar[VerbName] = "Score"
    answer_tokens: ClassVar[int] = 0

    @property
    def branch(self) -> str:
        """The name of the aligner."""
        return self.name

    @property
    def task_kind(self) -> TaskKind:
        """Classification if all rows share their labels, otherwise choice."""
        return "classification" if self.labels else "choice"

    @property
    def has_scores(self) -> bool:
        """Whether it scores the candidates itself."""
        return True

    @property
    def gold_scorer(self) -> OutputReader:
        """The aligner itself, which scores the gold answer among the other candidates."""
        return self

    def for_model(self, card: ModelCard) -> Self:
        """Returns the aligner itself, which is the same for every model."""
        return self

    def notes(self) -> tuple[str, ...]:
        """Returns an empty tuple."""
        return ()

    def source_classes(self) -> Mapping[str, Sequence[str]]:
        """Returns an empty mapping."""
        return {}

    def demonstrated(self, row: LabeledExample) -> tuple[str, ...]:
        """Returns the word of the row's label."""
        return (self.label_words().get(row.label, row.label),)

    # ---- what subclasses define --------------------------------------------------------------------

    def settings(self) -> Mapping[str, object]:
        """Returns everything about it that determines a result, as JSON values."""
        raise NotImplementedError

    def label_words(self) -> Mapping[str, str]:
        """Returns the word that demonstrations show for each label; empty if they show answers unchanged."""
        raise NotImplementedError

    def template_values(self) -> Mapping[str, object]:
        """Returns the words of all labels, if there are labels."""
        words = tuple(self.label_words().values())
        return {LABELS: words} if words else {}

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the labels that a row may have, in order. Ties go to the first."""
        raise NotImplementedError

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns the words to score for a row, in a fixed order."""
        raise NotImplementedError

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """Returns one score per candidate, in order, from an output with one continuation per word."""
        raise NotImplementedError

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the scores of `align` as a differentiable tensor of shape (candidates,).

        Args:
            logprobs: Token log-probabilities of each word to score, shape (tokens,) each.
        """
        raise Unsupported(
            f"The scores of the aligner {self.name} cannot be used for training",
            code="untrainable-aligner",
            hint="Use a Verbalizer or Choices",
            aligner=self.name,
        )

    # ---- questions and answers ---------------------------------------------------------------------

    def request(self, example: Example, rendered: Rendered) -> Verb:
        """Returns the request for the log-probabilities of the continuations."""
        return Score(continuations=rendered.continuations)

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...] | None:
        """Returns one score per candidate, or None for a reply that names none."""
        assert isinstance(output, ScoreOutput)
        return self.align(counted(rendered, output)) if output.answered else None

    def prediction(self, example: Example, rendered: Rendered, output: Output) -> str | None:
        """Returns the candidate with the highest score, or None for a reply that names none."""
        scores = self.scores(rendered, output)
        return None if scores is None else self.candidates(example)[scores.index(max(scores))]

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Returns whether an answer is one of the accepted labels."""
        return answer in accepted

    def compared(self, gold: str) -> str:
        """Returns the label."""
        return gold

    def correct_fields(self, answer: str | None, accepted: Sequence[str]) -> Mapping[str, bool]:
        """Returns an empty mapping: labels have no fields."""
        return {}

    # ---- records -----------------------------------------------------------------------------------

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the scores of a row's candidates and what they were computed from.

        Raises:
            TemplateError: Two labels have the same tokens.
        """
        self.check_distinct(example, rendered)
        scores = self.scores(rendered, output)
        if scores is None:
            return {**self.unanswered(gold), "no_answer": True}
        candidates, rounded = self.candidates(example), [round(value, DECIMALS) for value in scores]
        answer: AnswerRecord = {}
        if gold is not None:
            answer = {**self.gold_record(gold), "prediction": candidates[rounded.index(max(rounded))]}
        answer["logprobs"] = dict(zip(candidates, rounded, strict=True))
        return {**answer, **self.record_scores(rendered, output)}

    def record_scores(self, rendered: Rendered, output: Output) -> AnswerRecord:
        """Returns the token log-probabilities of the continuations."""
        assert isinstance(output, ScoreOutput)
        details: AnswerRecord = {
            "continuations": [
                {"text": text, "logprobs": [round(x, DECIMALS) for x in tokens]}
                for text, tokens in zip(rendered.targets, output.logprobs, strict=True)
            ]
        }
        if any(rendered.label_token_counts):
            details["given"] = list(rendered.label_token_counts)
        return details

    def unanswered(self, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the record of a row without an answer."""
        return {} if gold is None else {**self.gold_record(gold), "prediction": None, "correct": False}

    def gold_record(self, gold: LabeledExample) -> AnswerRecord:
        """Returns the fields of a record that contain the correct answer of its row."""
        if self.scale is None:
            return {"gold": gold.label}
        return {"gold": gold.label, "gold_value": self.scale[gold.label] if gold.value is None else gold.value}

    def check_distinct(self, example: Example, rendered: Rendered) -> None:
        """Raises TemplateError if two continuations of a row have the same tokens."""
        _check_distinct(example.id, rendered)

    def is_complete(self, record: Mapping[str, object], example: Example, gold: LabeledExample | None) -> bool:
        """Returns whether a record has a score of every candidate, or states that there is no answer."""
        if gold is not None and not (record.get("gold") == gold.label and "prediction" in record):
            return False
        if record.get("no_answer") is True:
            return True
        scores = record.get("logprobs")
        if not isinstance(scores, dict) or tuple(scores) != self.candidates(example):
            return False
        return all(isinstance(x, float | int) for x in scores.values()) and self.has_details(record)

    def has_details(self, record: Mapping[str, object]) -> bool:
        """Returns whether a record has the fields of `record_scores`."""
        return isinstance(record.get("continuations"), list)

    # ---- results -----------------------------------------------------------------------------------

    def label_scores(self, records: Sequence[AnswerRecord]) -> Floats:
        """Returns the scores in records of rows that have an answer, shape (rows, K)."""
        rows = [self._recorded(record) for record in records]
        scores: Floats = np.full((len(rows), len(self.labels) or max(map(len, rows), default=1)), -np.inf)
        for target, row in zip(scores, rows, strict=True):
            target[: len(row)] = row
        return scores

    def _recorded(self, record: AnswerRecord) -> list[float]:
        """Returns the scores of a row's candidates, in order."""
        scores = record["logprobs"]
        return [scores[label] for label in self.labels or scores]

    def answers(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Answers:
        """Returns the candidate with the highest score of each row. Ties go to the first candidate."""
        own = self.label_scores([record for record in records if is_answered(record)])
        logprobs: Floats = np.full((len(records), own.shape[1]), -np.inf)
        logprobs[[*map(is_answered, records)]] = own if scores is None else np.where(np.isneginf(own), -np.inf, scores)
        candidates = tuple(self.labels or tuple(record.get("logprobs", ())) for record in records)
        rows = zip(candidates, logprobs.argmax(1), ~np.isneginf(logprobs.max(1)), strict=True)
        predictions = tuple(names[index] if has_answer else None for names, index, has_answer in rows)
        values = None if self.scale is None else expected_values(logprobs, [self.scale[label] for label in self.labels])
        return Answers(predictions=predictions, candidates=candidates, logprobs=logprobs, values=values)

    def outcome(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Outcome:
        """Returns the candidate with the highest score of each row."""
        answers = self.answers(records, scores)
        pairs = zip(answers.candidates, records, strict=True)
        gold = np.array([names.index(record["gold"]) if names else 0 for names, record in pairs])
        metric_input = MetricInput.of_scores(
            gold,
            answers.logprobs,
            kind="labels" if self.labels else "choices",
            labels=self.labels,
            predictions=answers.predictions,
            accepted=[(record["gold"],) for record in records],
        )
        if answers.values is not None:
            metric_input = metric_input.with_values(np.array([record["gold_value"] for record in records]), answers.values)
        counts = Counter(prediction for prediction in answers.predictions if prediction is not None)
        predicted = {label: counts[label] for label in self.labels or sorted(counts)}
        return Outcome(metric_input=metric_input, predictions=answers.predictions, predicted=predicted)

    # ---- training ----------------------------------------------------------------------------------

    def target(self, row: LabeledExample, example: Example, label_token_counts: tuple[int, ...]) -> Target:
        """Returns the index of the row's label among its candidates."""
        candidates = self.candidates(example)
        if row.label not in candidates:
            raise label_without_word(row, row.label, candidates)
        return Target(gold=candidates.index(row.label), label_token_counts=label_token_counts)

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the cross-entropy of the scores, -log softmax(scores)[gold]."""
        scores = self.align_tensors(without_label_tokens(target, logprobs))
        return -scores.log_softmax(0)[target.gold], scores

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Returns the cross-entropy of the scores."""
        scores = self.training_scores(target, output)
        return float(np.logaddexp.reduce(scores)) - scores[target.gold], scores

    def scored_input(self, rows: Sequence[LabeledExample], scores: Sequence[Sequence[float]]) -> MetricInput:
        """Returns the input of the metrics for rows whose candidates have these scores."""
        pairs = zip(rows, scores, strict=True)
        records: list[AnswerRecord] = [{**self.gold_record(row), **self.score_record(row, each)} for row, each in pairs]
        width = max(map(len, scores))
        padded = np.array([[*each, *[-np.inf] * (width - len(each))] for each in scores], float)
        return self.outcome(records, padded).metric_input

    def score_record(self, row: LabeledExample, scores: Sequence[float]) -> AnswerRecord:
        """Returns the fields of a record that contain the scores of a row's candidates."""
        return {"logprobs": dict(zip(self.candidates(row.unlabeled()), scores, strict=True))}

    def training_scores(self, target: Target, output: Output) -> tuple[float, ...]:
        """Returns the scores of `align`; in channel scoring, without the label tokens."""
        return self.align(ScoreOutput(logprobs=scored_tokens(target, output)))


def label_without_word(row: LabeledExample, label: str, candidates: Sequence[str]) -> TaskError:
    """Returns the error for a label of a row that an aligner does not know."""
    return TaskError(
        f"Row {row.id} has the label {label}, for which the aligner has no word",
        code="label-without-word",
        got=", ".join(candidates),
        row=row.id,
        label=label,
    )


def _check_distinct(row: str, rendered: Rendered) -> None:
    pairs = zip(rendered.targets, rendered.continuations, strict=True)
    repeated = tuple(text for text, ids in pairs if rendered.continuations.count(ids) > 1)
    if repeated:
        raise TemplateError(
            f"The labels {', '.join(map(repr, repeated[:5]))} have the same tokens, so the model cannot distinguish them",
            code="indistinguishable-labels",
            got=f"row {row}",
            hint="Inspect the row with promptkit render, and correct the label words or the target block",
            labels=repeated[:5],
            row=row,
        )


def checked_scale(labels: Sequence[str], values: Mapping[str, float]) -> Mapping[str, float]:
    """Returns the value of each label in the declared order.

    Raises:
        InputError: A label has no value, another one has, or a value is not a finite number or occurs twice.
    """
    numbers = [value for value in values.values() if isinstance(value, int | float) and math.isfinite(value)]
    if values.keys() != set(labels) or len(set(numbers)) < len(values):
        raise InputError(
            "The scale of an aligner needs a finite number for each label, all of them different",
            code="invalid-scale",
            got=", ".join(f"{label}: {value}" for label, value in values.items()) or "none",
            hint=f"Give a number for each of {', '.join(labels)}",
            labels=tuple(labels),
        )
    return {label: float(values[label]) for label in labels}
