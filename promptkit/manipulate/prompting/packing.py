"""As many demonstrations as a number of tokens has room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from promptkit.core.examples import LabeledExample
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations

Pack = Callable[[Demonstrations], Demonstrations]
"""Those of the demonstrations that are kept, in their order."""


def packing(context: SelectionContext, budget: int | None) -> Pack:
    """Keeps, from the first to the last, each demonstration that still fits `budget` tokens; without a budget all.

    One that is too long is passed over, and the next ones are tried. A demonstration's length is what it adds to the prompt.
    """
    if budget is None:
        return lambda rows: rows
    lengths: dict[str, float] = {}

    def pack(rows: Demonstrations) -> Demonstrations:
        room: float = budget
        kept = []
        for row in rows:
            if row.id not in lengths:
                lengths[row.id] = _added(context, row)
            if lengths[row.id] <= room:
                room -= lengths[row.id]
                kept.append(row)
        return tuple(kept)

    return pack


def _added(context: SelectionContext, row: LabeledExample) -> float:
    """How many tokens longer a prompt is for a second copy of the row; the query's inputs are empty."""
    query = replace(row, inputs=dict.fromkeys(row.inputs, ""))
    one, two = (context.layout(query, (row,) * count) for count in (1, 2))
    return inf if two.dropped else len(two.input.ids) - len(one.input.ids)
