"""Choice by complexity (Fu et al. 2022, 2210.00720): the demonstrations whose worked reasoning has the most steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.registry import checked
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, check_pool_size, choose_shared

_STEP_END = re.compile(r"\n+|(?<=[.;!?])\s+")
"""The paper parts steps at the ends of lines, and finds much the same by sentences and semicolons."""


def steps(row: LabeledExample) -> int:
    """How many lines and sentences its working has."""
    return sum(bool(step.strip()) for text in row.rationale.values() for step in _STEP_END.split(text))


@dataclass(frozen=True)
class complex:  # noqa: N801
    """The k rows of most reasoning steps, the most first; among equals by id."""

    k: int = 8
    name: ClassVar[str] = "complex"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Choose:
        """The same k rows for every row; raises if no row has a worked reasoning."""
        check_pool_size(self.k, context.pool)
        if self.k and not any(map(steps, context.pool)):
            raise TaskError(
                "complex selects rows by the number of reasoning steps, but no row of the pool has a written reasoning",
                code="no-reasoning",
                hint="Give its column under `rationale` in the task, or use --demos auto-cot, which generates it with the model",
                selector=self.name,
                rows=len(context.pool),
            )
        ranked = sorted(context.pool, key=lambda row: (-steps(row), row.id))
        return choose_shared([ranked] * self.k)
