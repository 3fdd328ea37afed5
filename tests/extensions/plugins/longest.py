"""A demonstration selector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.manipulate.demos import Selector
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose


@dataclass(frozen=True)
class Longest(Selector):
    """Shows the k longest rows of the pool."""

    k: int = 2
    name: ClassVar[str] = "longest"

    def bind(self, context: SelectionContext) -> Choose:
        rows = sorted(context.pool, key=lambda row: (-len(str(row.inputs)), row.id))
        return lambda examples: [tuple(row for row in rows if row.inputs != item.inputs)[: self.k] for item in examples]
