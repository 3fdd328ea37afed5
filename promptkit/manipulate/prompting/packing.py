"""Limits demonstrations to a token budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from promptkit.core.examples import LabeledExample
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations

Pack = Callable[[Demonstrations], Demonstrations]
"""Returns the demonstrations that fit the budget, in their order."""


def packing(context: SelectionContext, budget: int | None) -> Pack:
    """Returns a function that keeps the demonstrations that fit a token budget.

    Demonstrations are considered in order; one that exceeds the remaining budget is skipped. The length of a demonstration is
    the number of tokens that it adds to the prompt.

    Args:
        context: Encodes the demonstrations.
        budget: Maximum number of tokens, or None for no limit.
    """
    if budget is None:
        return lambda rows: rows
    lengths: dict[str, float] = {}

    def pack(rows: Demonstrations) -> Demonstrations:
        remaining: float = budget
        fitting = []
        for row in rows:
            if row.id not in lengths:
                lengths[row.id] = _added_tokens(context, row)
            if lengths[row.id] <= remaining:
                remaining -= lengths[row.id]
                fitting.append(row)
        return tuple(fitting)

    return pack


def _added_tokens(context: SelectionContext, row: LabeledExample) -> float:
    """Returns the number of tokens that a second copy of the row adds to a prompt with an empty query."""
    query = replace(row, inputs=dict.fromkeys(row.inputs, ""))
    one, two = (context.layout(query, (row,) * count) for count in (1, 2))
    return inf if two.dropped else len(two.text.ids) - len(one.text.ids)
