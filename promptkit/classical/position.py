"""The most frequent position of the correct choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log

from promptkit.classical.baseline import Rows, Scores
from promptkit.core.examples import Example
from promptkit.tasks.spec import TaskSpec


class Position:
    """Predicts the choice at the position where the correct choice is most often.

    The probability of a choice is the share of its position among the training rows with one more row for each position, so
    that no position has the probability 0, normalized over the choices of the row.
    """

    name = "position"
    description = "choice at the most frequent position"
    max_rows = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether each row has its own choices."""
        return spec.kind == "choice"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the scores of the choices of each item."""
        counts = Counter(row.choices.index(row.label) for row in rows)
        return [self._scores(item.choices, counts) for item in items]

    def _scores(self, choices: Sequence[str], counts: Counter[int]) -> Scores:
        total = sum(counts[position] + 1 for position in range(len(choices)))
        return {choice: log((counts[position] + 1) / total) for position, choice in enumerate(choices)}
