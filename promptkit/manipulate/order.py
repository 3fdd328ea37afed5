"""In which order the chosen demonstrations are shown; the last one stands nearest to the query."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from promptkit.registry import checked
from promptkit.types import LabelledExample


class Order(Protocol):
    """Puts demonstrations in order; one instance is one setting."""

    name: ClassVar[str]

    def arrange(self, demonstrations: Sequence[LabelledExample]) -> tuple[LabelledExample, ...]:
        """The same demonstrations, in the order shown."""
        ...


@dataclass(frozen=True)
class given:  # noqa: N801 - an order's class name is its spelling everywhere
    """As the selector chose them."""

    name: ClassVar[str] = "given"

    def arrange(self, demonstrations: Sequence[LabelledExample]) -> tuple[LabelledExample, ...]:
        """The order of choice."""
        return tuple(demonstrations)


@dataclass(frozen=True)
class shuffled:  # noqa: N801
    """By chance, the same for the same set and seed, whatever order it was chosen in."""

    seed: int = 0
    name: ClassVar[str] = "shuffled"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def arrange(self, demonstrations: Sequence[LabelledExample]) -> tuple[LabelledExample, ...]:
        """By the hash of (seed, the set, the row)."""
        whole = ",".join(sorted(row.id for row in demonstrations))

        def rank(row: LabelledExample) -> bytes:
            return hashlib.sha256(f"{self.seed}\0{whole}\0{row.id}".encode()).digest()

        return tuple(sorted(demonstrations, key=rank))


ORDERS: Mapping[str, type] = {order.name: order for order in (given, shuffled)}
