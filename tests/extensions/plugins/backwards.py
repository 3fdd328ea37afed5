"""An order of demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.examples import Example
from promptkit.manipulate.order import Order
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations


@dataclass(frozen=True)
class Backwards(Order):
    """Reverses the order of the selector."""

    name: ClassVar[str] = "backwards"

    def bind(self, context: SelectionContext) -> Arrange:
        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            return [rows[::-1] for rows in chosen]

        return arrange
