"""In which order the chosen demonstrations are shown; the last one stands nearest to the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from promptkit.manipulate.bench import Bench
from promptkit.manipulate.line import Arrange, Demonstrations, chance
from promptkit.manipulate.order_search import globale, locale, mdl
from promptkit.registry import checked


class Order(Protocol):
    """Puts demonstrations in order; one instance is one setting."""

    name: ClassVar[str]

    def over(self, bench: Bench) -> Arrange:
        """The order shown, for any rows and the demonstrations chosen for them."""
        ...


@dataclass(frozen=True)
class given:  # noqa: N801 - an order's class name is its spelling everywhere
    """As the selector chose them."""

    name: ClassVar[str] = "given"

    def over(self, bench: Bench) -> Arrange:
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

    def over(self, bench: Bench) -> Arrange:
        """By the hash of (seed, the set, the row)."""

        def shuffle(rows: Demonstrations) -> Demonstrations:
            whole = ",".join(sorted(row.id for row in rows))
            return tuple(sorted(rows, key=lambda row: chance(self.seed, whole, row.id)))

        return lambda examples, chosen: [*map(shuffle, chosen)]


ORDERS: Mapping[str, type] = {order.name: order for order in (given, shuffled, globale, locale, mdl)}
