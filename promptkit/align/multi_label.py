"""Any number of labels for each row: each label is read as yes or no, all of them in one pass.

The continuations of a prompt are a positive and a negative statement for each label, such as ` anger: yes` and ` anger: no`.
The probability that a label applies is the softmax over its own two statements, so the probability of the label's name cancels:

    log-odds[y] = log p(y: yes | x) - log p(y: no | x),    p(y applies) = 1 / (1 + exp(-log-odds[y]))

A label is predicted if its log-odds are above 0, that is, if it applies with a probability above 0.5. The result for a label
does not depend on the other labels, except by what the prompt shows. Training minimizes the binary cross-entropy of each label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.candidates import CandidateScorer, label_without_word
from promptkit.align.logprobs import log_sigmoid
from promptkit.align.loss import without_label_tokens
from promptkit.align.token_scores import SequenceScore, check_sequence_score, sequence_score_tensor, sequence_scores
from promptkit.core.answer_record import DECIMALS, AnswerRecord, is_answered
from promptkit.core.errors import InputError
from promptkit.core.examples import JOINT, Example, LabeledExample, TaskKind
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import Answers, Outcome, Target
from promptkit.core.read_only import read_only
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats

LABEL, ANSWER = "{label}", "{answer}"
"""The places of the label's word and of yes or no in a statement."""


class MultiLabel(CandidateScorer):
    """Decides for each label whether it applies to a row, by the probabilities of two statements.

    >>> MultiLabel(["anger", "joy"]).words()
    ('anger: yes', 'anger: no', 'joy: yes', 'joy: no')

    Args:
        words: The labels, or the word of each label, in the declared order.
        positive: The answer if a label applies.
        negative: The answer if a label does not apply.
        statement: What is scored for a label, with `{label}` for its word and `{answer}` for the answer. Demonstrations show a
            statement for each label.
        score: `"sum"` scores a statement by its log-probability; `"mean"` by the average log-probability per token.

    Raises:
        InputError: There are no labels, two labels have the same word, or the answers or the statement are invalid.
    """

    name: ClassVar[str] = "multi-label"

    def __init__(
        self,
        words: Mapping[str, str | Sequence[str]] | Sequence[str],
        *,
        positive: str = "yes",
        negative: str = "no",
        statement: str = f"{LABEL}: {ANSWER}",
        score: SequenceScore = "sum",
    ) -> None:
        self._words = read_only(_single_words(words))
        self.labels = tuple(self._words)
        self.positive, self.negative, self.statement = positive, negative, statement
        self.score: SequenceScore = score
        check_sequence_score(self.name, score)
        _check_statement(positive, negative, statement)

    @property
    def task_kind(self) -> TaskKind:
        """Multi-label."""
        return "multi-label"

    def settings(self) -> Mapping[str, object]:
        """Returns the name, the words, the answers, the statement and how it is scored."""
        answers = {"positive": self.positive, "negative": self.negative}
        return {"name": self.name, "words": self._words, **answers, "statement": self.statement, "score": self.score}

    def label_words(self) -> Mapping[str, str]:
        """Returns the word of each label."""
        return self._words

    def demonstrated(self, row: LabeledExample) -> tuple[str, ...]:
        """Returns the statement of each label, in the declared order, with its answer for the row."""
        return tuple(self._stated(label, self.positive if label in row.labels else self.negative) for label in self.labels)

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the labels, each of which may apply."""
        return self.labels

    def words(self, example: Example | None = None) -> tuple[str, ...]:
        """Returns the positive and the negative statement of each label."""
        return tuple(self._stated(label, answer) for label in self.labels for answer in (self.positive, self.negative))

    def _stated(self, label: str, answer: str) -> str:
        return self.statement.replace(LABEL, self._words[label]).replace(ANSWER, answer)

    # ---- questions and answers ---------------------------------------------------------------------

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """Returns the log-odds of each label."""
        scores = sequence_scores(output, self.score)
        return tuple(yes - no for yes, no in zip(scores[::2], scores[1::2], strict=True))

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the log-odds of each label as a differentiable tensor of shape (labels,)."""
        scores = sequence_score_tensor(logprobs, self.score)
        return scores[::2] - scores[1::2]

    def prediction(self, example: Example, rendered: Rendered, output: Output) -> str | None:
        """Returns the labels that apply, joined, or None for a reply without an answer."""
        scores = self.scores(rendered, output)
        return None if scores is None else self._joined([value > 0 for value in scores])

    def _joined(self, members: Sequence[bool]) -> str:
        return JOINT.join(self._members(members))

    def _members(self, members: Sequence[bool]) -> tuple[str, ...]:
        return tuple(label for label, is_member in zip(self.labels, members, strict=True) if is_member)

    # ---- records -----------------------------------------------------------------------------------

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the log-odds of each label and what they were computed from."""
        self.check_distinct(example, rendered)
        scores = self.scores(rendered, output)
        if scores is None:
            return {**self.unanswered(gold), "no_answer": True}
        rounded = [round(value, DECIMALS) for value in scores]
        answer: AnswerRecord = {}
        if gold is not None:
            answer = {**self.gold_record(gold), "prediction": self._joined([value > 0 for value in rounded])}
        answer["log_odds"] = dict(zip(self.labels, rounded, strict=True))
        return {**answer, **self.record_scores(rendered, output)}

    def gold_record(self, gold: LabeledExample) -> AnswerRecord:
        """Returns the labels that apply to a row, joined and as a list."""
        return {"gold": gold.label, "gold_labels": [*gold.labels]}

    def is_complete(self, record: Mapping[str, object], example: Example, gold: LabeledExample | None) -> bool:
        """Returns whether a record has the log-odds of every label, or states that there is no answer."""
        if gold is not None and not (record.get("gold_labels") == [*gold.labels] and "prediction" in record):
            return False
        if record.get("no_answer") is True:
            return True
        odds = record.get("log_odds")
        if not isinstance(odds, dict) or tuple(odds) != self.labels:
            return False
        return all(isinstance(x, float | int) for x in odds.values()) and self.has_details(record)

    # ---- results -----------------------------------------------------------------------------------

    def label_scores(self, records: Sequence[AnswerRecord]) -> Floats:
        """Returns the log-odds in records of rows that have an answer, shape (rows, K)."""
        rows = [[record["log_odds"][label] for label in self.labels] for record in records]
        return np.array(rows, float).reshape(len(rows), len(self.labels))

    def answers(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Answers:
        """Returns the labels whose log-odds are above 0 for each row."""
        answered = [*map(is_answered, records)]
        odds: Floats = np.full((len(records), len(self.labels)), -np.inf)
        odds[answered] = self.label_scores([record for record in records if is_answered(record)]) if scores is None else scores
        lists = [self._members(row) if is_read else None for row, is_read in zip((odds > 0).tolist(), answered, strict=True)]
        return Answers(
            predictions=tuple(None if labels is None else JOINT.join(labels) for labels in lists),
            candidates=(self.labels,) * len(records),
            logprobs=log_sigmoid(odds),
            label_lists=tuple(lists),
        )

    def outcome(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Outcome:
        """Returns the labels whose log-odds are above 0 for each row. A row is correct if all labels are."""
        answers = self.answers(records, scores)
        assert answers.label_lists is not None
        gold = [[label in record["gold_labels"] for label in self.labels] for record in records]
        predicted = [[label in (labels or ()) for label in self.labels] for labels in answers.label_lists]
        metric_input = MetricInput.of_label_sets(
            np.array(gold, bool).reshape(len(records), len(self.labels)),
            np.array(predicted, bool).reshape(len(records), len(self.labels)),
            self.labels,
            answered=np.array([labels is not None for labels in answers.label_lists], bool),
            logprobs=answers.logprobs,
        )
        counts = Counter(label for labels in answers.label_lists for label in labels or ())
        counted = {label: counts[label] for label in self.labels}
        return Outcome(metric_input=metric_input, predictions=answers.predictions, predicted=counted)

    # ---- training ----------------------------------------------------------------------------------

    def target(self, row: LabeledExample, example: Example, label_token_counts: tuple[int, ...]) -> Target:
        """Returns which labels apply to a row."""
        unknown = next((label for label in row.labels if label not in self._words), None)
        if unknown is not None:
            raise label_without_word(row, unknown, self.labels)
        members = tuple(label in row.labels for label in self.labels)
        return Target(gold=-1, members=members, label_token_counts=label_token_counts)

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the binary cross-entropy of the yes/no reading of each label, as the mean over the labels."""
        odds = self.align_tensors(without_label_tokens(target, logprobs))
        wrong = odds * odds.new_tensor([-1.0 if is_member else 1.0 for is_member in target.members])
        return wrong.logaddexp(wrong.new_zeros(())).mean(), odds

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Returns the binary cross-entropy of the yes/no reading of each label, as the mean over the labels."""
        scores = self.training_scores(target, output)
        odds = np.array(scores)
        return float(-log_sigmoid(np.where(target.members, odds, -odds)).mean()), scores

    def score_record(self, row: LabeledExample, scores: Sequence[float]) -> AnswerRecord:
        """Returns the field of a record with the log-odds of each label."""
        return {"log_odds": dict(zip(self.labels, scores, strict=True))}


def _single_words(words: Mapping[str, str | Sequence[str]] | Sequence[str]) -> dict[str, str]:
    """Returns the word of each label."""
    if isinstance(words, str) or not isinstance(words, Mapping | Sequence):
        raise InputError(
            "The labels must be a list, or a mapping of labels to words",
            code="not-a-mapping",
            got=repr(words),
            hint='Write MultiLabel(["anger", "joy"])',
            given=type(words).__name__,
        )
    given = words if isinstance(words, Mapping) else {label: label for label in words}
    single: dict[str, str] = {}
    for label, word in given.items():
        (text,) = word if isinstance(word, list | tuple) and len(word) == 1 else (word,)
        if not (isinstance(label, str) and isinstance(text, str) and text.strip()):
            raise InputError(
                f"The label {label} needs one word, which is not empty",
                code="invalid-label-word",
                got=repr(word),
                hint="Give each label one word, or its name alone",
                label=str(label),
            )
        single[label] = text
    repeated = next((word for word in single.values() if [*single.values()].count(word) > 1), None)
    if repeated is not None or not single or (not isinstance(words, Mapping) and len(words) > len(single)):
        raise InputError(
            "A multi-label aligner needs at least one label, and a different word for each",
            code="shared-word" if single else "too-few-labels",
            got=", ".join(map(str, words)) or "none",
            hint="Give each label once, with a word of its own",
            labels=tuple(single),
        )
    return single


def _check_statement(positive: str, negative: str, statement: str) -> None:
    if not all(isinstance(text, str) and text.strip() for text in (positive, negative)) or positive == negative:
        raise InputError(
            "The two answers of a multi-label aligner must be different texts, not empty",
            code="invalid-answers",
            got=f"positive={positive!r}, negative={negative!r}",
            positive=str(positive),
            negative=str(negative),
        )
    if not isinstance(statement, str) or statement.count(LABEL) != 1 or statement.count(ANSWER) != 1:
        raise InputError(
            "A statement needs {label} and {answer} once each",
            code="invalid-statement",
            got=repr(statement),
            hint='Write statement="{label}: {answer}"',
            statement=str(statement),
        )
