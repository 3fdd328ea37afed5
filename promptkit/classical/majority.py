"""The majority class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log

from promptkit.classical.baseline import Rows, Scores
from promptkit.core.examples import Example
from promptkit.tasks.spec import TaskSpec


class Majority:
    """Predicts the most frequent label of the training rows for every row; probabilities are the shares of the labels."""

    name = "majority"
    description = "most frequent label"
    max_rows = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether all rows have the same labels."""
        return spec.kind == "classification"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the shares of the labels, which are the same for every item."""
        counts = Counter(row.label for row in rows)
        shares = {label: log(counts[label] / len(rows)) for label in labels if counts[label]}
        return [shares] * len(items)


def majority(rows: Rows, labels: Sequence[str]) -> str:
    """Returns the most frequent label of labeled rows; ties go to the label that comes first in `labels`."""
    counts = Counter(row.label for row in rows)
    return max(labels, key=lambda label: counts[label])
