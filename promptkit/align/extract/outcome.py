"""The predictions of a run whose answers are extracted from generated texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.extract.numbers import to_number
from promptkit.align.vote_counts import vote_accuracy
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import Outcome

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def texts_outcome(
    records: Sequence[AnswerRecord], samples: int, normalized: Callable[[str], str], compared: Callable[[str], str]
) -> Outcome:
    """Returns the extracted answers of the rows of a run.

    Args:
        records: The records of all evaluated rows.
        samples: Texts generated for each row; more than one are a vote.
        normalized: Returns the normal form of an answer.
        compared: Returns the part of an accepted answer that answers are compared with.
    """
    predictions = tuple(record["prediction"] for record in records)
    correct = np.array([record["correct"] for record in records], float)
    accepted = [[*map(compared, record["accepted"])] for record in records]
    if samples == 1:
        metric_input = MetricInput.of_texts(correct, predictions, accepted)
        return Outcome(metric_input=metric_input, predictions=predictions, predicted={})
    answers = [_normalized_answers(record, samples, normalized) for record in records]
    correct_answers = [{normalized(answer) for answer in each} for each in accepted]
    metric_input = MetricInput.of_texts(
        correct,
        predictions,
        accepted,
        vote_accuracies=np.array([vote_accuracy(texts, right) for texts, right in zip(answers, correct_answers, strict=True)]),
        samples_answered=np.array([[answer is not None for answer in texts] for texts in answers]),
    )
    return Outcome(metric_input=metric_input, predictions=predictions, predicted={})


def with_closed_answers(outcome: Outcome, answers: Sequence[str], normalized: Callable[[str], str]) -> Outcome:
    """Returns an outcome with the answers of a closed set as labels.

    It is unchanged if a row has none of them as correct answer, or another text is predicted. If several answers of a row are
    correct, the predicted one is its label, or else the first.

    Args:
        outcome: The extracted answers.
        answers: All possible answers; empty for free texts.
        normalized: Returns the normal form of an answer.
    """
    known = {normalized(answer): index for index, answer in enumerate(answers)}
    texts = [[normalized(answer) for answer in each] for each in outcome.metric_input.accepted]
    correct = [[known[text] for text in each if text in known] for each in texts]
    predicted = [None if text is None else known.get(normalized(text), -1) for text in outcome.predictions]
    if not all(correct) or -1 in predicted:
        return outcome
    gold = [index if index in each else each[0] for index, each in zip(predicted, correct, strict=True)]
    rows = outcome.metric_input.with_closed_answers(answers, np.array(gold, int), predicted)
    return replace(outcome, metric_input=rows)


def with_numbers(outcome: Outcome, records: Sequence[AnswerRecord]) -> Outcome:
    """Returns an outcome with the numbers that the correct answers and the predictions are.

    Args:
        outcome: The extracted answers.
        records: The records of the rows, which contain the correct numbers.
    """
    gold = np.array([record["gold_value"] for record in records], float)
    metric_input = outcome.metric_input.with_values(gold, numbers_of(outcome.predictions))
    return replace(outcome, metric_input=metric_input)


def numbers_of(predictions: Sequence[str | None]) -> Floats:
    """Returns the number of each predicted text, shape (rows,); NaN for no text and for a text that is not one number."""
    return np.array([np.nan if prediction is None else to_number(prediction) for prediction in predictions], float)


def _normalized_answers(record: AnswerRecord, samples: int, normalized: Callable[[str], str]) -> list[str | None]:
    """Returns the normal form of each text's answer; all None for a row that was not sent to the model."""
    if "generations" not in record:
        return [None] * samples
    return [text["answer"] and normalized(text["answer"]) for text in record["generations"]]
