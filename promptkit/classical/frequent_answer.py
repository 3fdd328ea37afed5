"""The most frequent answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptkit.classical.baseline import Rows, Scores
from promptkit.core.examples import Example
from promptkit.tasks.spec import TaskSpec


class FrequentAnswer:
    """Predicts the answer that is correct for most training rows; ties go to the first in alphabetical order."""

    name = "frequent-answer"
    description = "most frequent answer"
    max_rows = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether answers are extracted from generated texts."""
        return spec.kind == "generation"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the most frequent answer for every item."""
        counts = Counter(answer for row in rows for answer in dict.fromkeys(row.answers))
        answer = min(counts, key=lambda answer: (-counts[answer], answer))
        return [{answer: 0.0}] * len(items)
