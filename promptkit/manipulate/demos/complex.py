"""Complexity-based selection (Fu et al. 2022, arXiv 2210.00720): the demonstrations whose rationale has the most steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.prompting.checks import check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, choose_shared

_STEP_END = re.compile(r"\n+|(?<=[.;!?])\s+")
"""The paper splits steps at line ends, and reports similar results for sentences and semicolons."""


def count_steps(row: LabeledExample) -> int:
    """Returns the number of lines and sentences in the row's rationale."""
    return sum(bool(step.strip()) for text in row.rationale.values() for step in _STEP_END.split(text))


@dataclass(frozen=True)
class Complex(Selector):
    """Shows the k rows with the most reasoning steps, the most first; ties are broken by id."""

    k: int = 8
    """Number of demonstrations."""
    name: ClassVar[str] = "complex"
    is_shared: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the same k rows for every row; raises TaskError if no row of the pool has a rationale."""
        check_pool_size(self.k, context.pool)
        if self.k and not any(map(count_steps, context.pool)):
            raise TaskError(
                "complex selects rows by the number of reasoning steps, but no row of the pool has a rationale",
                code="no-reasoning",
                hint=f"Name its column under `rationale` in the task file, or use {setting('demos', 'auto-cot')}, "
                f"which generates it",
                selector=self.name,
                rows=len(context.pool),
            )
        queue = sorted(context.pool, key=lambda row: (-count_steps(row), row.id))
        return choose_shared([queue] * self.k)
