"""In which order the chosen demonstrations are shown; the last one stands nearest to the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.registry import checked
from promptkit.manipulate.order.searched import globale, least_entropy, locale
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations, shuffle_by_hash


class Order(Protocol):
    """Puts demonstrations in order; one instance is one setting.

    It may have `by_rank`, true where it takes what was chosen first for the nearest to the row.
    """

    name: ClassVar[str]

    def bind(self, context: SelectionContext) -> Arrange:
        """The order shown, for any rows and the demonstrations chosen for them."""
        ...


@dataclass(frozen=True)
class given:  # noqa: N801 - an order's class name is its spelling everywhere
    """As the selector chose them."""

    name: ClassVar[str] = "given"

    def bind(self, context: SelectionContext) -> Arrange:
        """The order of choice."""
        return lambda examples, chosen: [*chosen]


@dataclass(frozen=True)
class shuffled:  # noqa: N801
    """By chance, the same for the same set and seed, whatever order it was chosen in."""

    seed: int = 0
    name: ClassVar[str] = "shuffled"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Arrange:
        """By the hash of (seed, the set, the row)."""
        return lambda examples, chosen: [shuffle_by_hash(self.seed, rows) for rows in chosen]


@dataclass(frozen=True)
class nearest_last:  # noqa: N801
    """What the selector ranks first stands next to the query."""

    name: ClassVar[str] = "nearest-last"
    by_rank: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Arrange:
        """The order of choice, backwards."""
        return lambda examples, chosen: [rows[::-1] for rows in chosen]


@dataclass(frozen=True)
class nearest_first:  # noqa: N801
    """What the selector ranks first stands farthest from the query."""

    name: ClassVar[str] = "nearest-first"
    by_rank: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Arrange:
        """The order of choice."""
        return lambda examples, chosen: [*chosen]


@dataclass(frozen=True)
class interleaved:  # noqa: N801
    """Classes in turn, as they are declared; what stood last stays last, and rows of one class keep their order.

    A class that has fewer rows than others runs out at the far end.
    """

    name: ClassVar[str] = "interleaved"

    def bind(self, context: SelectionContext) -> Arrange:
        """From the last place to the first; raises if rows have no labels in common."""
        labels = context.labels
        if not labels:
            raise TaskError(
                "The order interleaved needs a task whose labels are the same for every row",
                code="no-fixed-labels",
                hint="Use the order given or shuffled",
                order=self.name,
            )

        def interleave(rows: Demonstrations) -> Demonstrations:
            last = labels.index(rows[-1].label) + 1 if rows else 0
            waiting = {label: [row for row in rows if row.label == label] for label in labels}
            shown: list[LabeledExample] = []
            while len(shown) < len(rows):
                shown += [waiting[label].pop() for label in (*labels[:last][::-1], *labels[last:][::-1]) if waiting[label]]
            return tuple(shown[::-1])

        return lambda examples, chosen: [*map(interleave, chosen)]


def default_order(demos: object) -> Order:
    """Of demonstrations for which none is given: the nearest last where they are ranked by nearness, else as chosen."""
    return nearest_last() if getattr(demos, "ranks", False) else given()


ORDERS: Mapping[str, type] = {
    order.name: order for order in (given, shuffled, nearest_last, nearest_first, interleaved, globale, locale, least_entropy)
}
