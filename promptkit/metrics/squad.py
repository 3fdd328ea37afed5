"""The comparison of answers of SQuAD (Rajpurkar et al. 2016, 1606.05250), as in the official evaluation script."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.core.metric_input import MetricInput

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(answer: str) -> str:
    """Returns an answer in lower case without punctuation and English articles, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def token_f1(prediction: str, answer: str) -> float:
    """Returns the F1 score of the words of two normalized answers; if one has no words, whether the other has none either."""
    predicted, correct = prediction.split(), answer.split()
    if not predicted or not correct:
        return float(predicted == correct)
    common = sum((Counter(predicted) & Counter(correct)).values())
    return 2 * common / (len(predicted) + len(correct))


def best_of(rows: MetricInput, score: Callable[[str, str], float]) -> Floats:
    """Returns the highest score of each row over its accepted answers, all normalized; 0 for a row without an answer.

    Args:
        rows: The predictions.
        score: Returns the score of a prediction and an accepted answer.
    """
    values = [
        0.0 if prediction is None else max(score(normalize(prediction), normalize(answer)) for answer in accepted)
        for prediction, accepted in zip(rows.predictions, rows.accepted, strict=True)
    ]
    return np.array(values)
