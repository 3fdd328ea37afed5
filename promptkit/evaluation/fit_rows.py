"""Selects the rows of the fit part that calibrations are fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptkit.core.alignment import Needs, PerClass, RandomWords
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.seeding import hash_rank
from promptkit.tasks.task import untested

SALT = "labelled"
"""Part of the hash that draws labeled rows. Changing it would change which rows are drawn."""


def draw_per_class(per_class: PerClass, rows: Sequence[tuple[str, str]]) -> list[int]:
    """Draws the same number of rows of each label, by hash.

    A row is drawn regardless of the order of the rows, and leaving out other rows only adds rows to the draw.

    Args:
        per_class: How many rows of each label, and the seed.
        rows: Id and label of each row.

    Returns:
        The indices of the drawn rows, ascending.
    """
    ranked = sorted(range(len(rows)), key=lambda index: hash_rank(per_class.seed, SALT, rows[index][0]))
    counts: Counter[str] = Counter()
    drawn = []
    for index in ranked:
        label = rows[index][1]
        if counts[label] < per_class.rows:
            counts[label] += 1
            drawn.append(index)
    return sorted(drawn)


def select_fit_rows(needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]) -> list[LabeledExample]:
    """Returns the rows of the fit part that are sent to the model, in their order.

    These are the first rows that calibrations need, and the rows drawn by their labels. A row with the inputs of an
    evaluated row is never drawn by its label.
    """
    known = [(row.id, row.label) for row in untested(fit, evaluated)]
    drawn = {known[index][0] for per_class in needs.labeled for index in draw_per_class(per_class, known)}
    return [row for index, row in enumerate(fit) if index < needs.rows or row.id in drawn]


def rows_affecting_results(
    needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]
) -> Sequence[LabeledExample]:
    """Returns the rows of the fit part that a run's results depend on: all of them if random words are drawn from them."""
    draws_words = any(isinstance(content, RandomWords) for content in needs.content_free)
    return fit if draws_words else select_fit_rows(needs, fit, evaluated)
