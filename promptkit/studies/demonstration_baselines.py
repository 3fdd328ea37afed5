"""Baselines without a language model that use the demonstrations of each row: their vote, and a regression on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log

from promptkit.classical.baseline import Rows, Scores
from promptkit.classical.tfidf import TfidfRegression
from promptkit.core.examples import Example

TIE = 1e-9
"""The votes by which a label counts more than one that was chosen later."""


def vote(demonstrations: Rows) -> Scores:
    """Returns the log of each label's share of the demonstrations of one row; ties go to the label that was chosen first."""
    counts = Counter(row.label for row in demonstrations)
    return {label: log((count - TIE * later) / len(demonstrations)) for later, (label, count) in enumerate(counts.items())}


def regressions(demonstrations: Sequence[Rows], items: Sequence[Example]) -> list[Scores]:
    """Scores each item with a regression on its demonstrations; items with equal demonstrations share a regression."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, rows in enumerate(demonstrations):
        groups.setdefault(tuple(sorted(row.id for row in rows)), []).append(number)
    scores: dict[int, Scores] = {}
    for numbers in groups.values():
        of_group = TfidfRegression().predict(demonstrations[numbers[0]], [items[number] for number in numbers], ())
        scores |= dict(zip(numbers, of_group, strict=True))
    return [scores[number] for number in range(len(items))]
