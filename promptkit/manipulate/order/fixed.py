"""Orders of demonstrations that need no model; the last demonstration is adjacent to the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.arguments import check_arguments
from promptkit.core.class_table import ClassTable
from promptkit.core.examples import LabeledExample
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.order.searched import GlobalE, LeastEntropy, LocalE
from promptkit.manipulate.prompting.checks import check_has_labels
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations, shuffle_by_hash


@dataclass(frozen=True)
class Given(Order):
    """Keeps the order of the selector."""

    name: ClassVar[str] = "given"
    depends_on_row: ClassVar[bool] = False

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the identity."""
        return lambda examples, chosen: [*chosen]


@dataclass(frozen=True)
class Shuffled(Order):
    """Shuffles the demonstrations; the result does not depend on their original order."""

    seed: int = 0
    """Seed of the shuffle."""
    name: ClassVar[str] = "shuffled"
    depends_on_row: ClassVar[bool] = False

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns a sort by the hash of (seed, set, row)."""
        return lambda examples, chosen: [shuffle_by_hash(self.seed, rows) for rows in chosen]


@dataclass(frozen=True)
class NearestLast(Order):
    """Places the demonstration most similar to the row next to the query."""

    name: ClassVar[str] = "nearest-last"
    depends_on_row: ClassVar[bool] = False
    needs_ranking: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the reverse of the selector's order."""
        return lambda examples, chosen: [rows[::-1] for rows in chosen]


@dataclass(frozen=True)
class NearestFirst(Order):
    """Places the demonstration most similar to the row farthest from the query."""

    name: ClassVar[str] = "nearest-first"
    depends_on_row: ClassVar[bool] = False
    needs_ranking: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the selector's order."""
        return lambda examples, chosen: [*chosen]


@dataclass(frozen=True)
class Interleaved(Order):
    """Alternates between the classes in their declared order.

    The last demonstration stays the last, and rows of one class keep their order. A class with fewer rows than others has none
    farthest from the query.
    """

    name: ClassVar[str] = "interleaved"
    depends_on_row: ClassVar[bool] = False

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the interleaving; raises TaskError if the task declares no labels."""
        check_has_labels(context, "The order interleaved needs", hint="Use the order given or shuffled", order=self.name)
        labels = context.labels

        def interleave(rows: Demonstrations) -> Demonstrations:
            last = labels.index(rows[-1].label) + 1 if rows else 0
            remaining = {label: [row for row in rows if row.label == label] for label in labels}
            backward: list[LabeledExample] = []
            while len(backward) < len(rows):
                cycle = (*labels[:last][::-1], *labels[last:][::-1])
                backward += [remaining[label].pop() for label in cycle if remaining[label]]
            return tuple(backward[::-1])

        return lambda examples, chosen: [*map(interleave, chosen)]


@check_arguments("order.default_order")
def default_order(demos: Selector | type[Selector]) -> Order:
    """Returns the order that is used if none is given: nearest last for ranked demonstrations, else the selector's order."""
    return NearestLast() if demos.ranks_by_similarity else Given()


ORDERS: ClassTable[Order] = ClassTable(
    "demonstration order",
    (Given, Shuffled, NearestLast, NearestFirst, Interleaved, GlobalE, LocalE, LeastEntropy),
    group="promptkit.orders",
)
"""The orders by name."""
register = ORDERS.register
"""Registers the class of an order, a dataclass that derives from `Order`."""
