"""The predictions of a run whose answers are extracted from generated texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from promptkit.align.vote_counts import vote_accuracy
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import Outcome


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


def _normalized_answers(record: AnswerRecord, samples: int, normalized: Callable[[str], str]) -> list[str | None]:
    """Returns the normal form of each text's answer; all None for a row that was not sent to the model."""
    if "generations" not in record:
        return [None] * samples
    return [text["answer"] and normalized(text["answer"]) for text in record["generations"]]
