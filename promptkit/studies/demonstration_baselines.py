"""Baselines without a language model that use the demonstrations of each row: their vote, and a regression on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptkit.classical.baseline import Rows
from promptkit.classical.tfidf import text_regression
from promptkit.core.examples import Example


def vote(demonstrations: Rows) -> str:
    """Returns the most frequent label of the demonstrations of one row; ties go to the label that was chosen first."""
    return Counter(row.label for row in demonstrations).most_common(1)[0][0]


def regressions(demonstrations: Sequence[Rows], items: Sequence[Example]) -> list[str]:
    """Predicts each item with a regression on its demonstrations; items with equal demonstrations share a regression."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, rows in enumerate(demonstrations):
        groups.setdefault(tuple(sorted(row.id for row in rows)), []).append(number)
    predictions: dict[int, str] = {}
    for numbers in groups.values():
        labels = text_regression(demonstrations[numbers[0]], [items[number] for number in numbers])
        predictions |= dict(zip(numbers, labels, strict=True))
    return [predictions[number] for number in range(len(items))]
