"""How the model reasons about a row before it answers, one technique a file.

Few-shot chain of thought (Wei et al. 2022, 2201.11903) needs none of these: there the demonstrations show their working, by a
template such as `arithmetic/cot`, and the model writes its own before its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from promptkit.manipulate.cot.least_to_most import least_to_most
from promptkit.manipulate.cot.zero_shot import zero_shot
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Reason


class Cot(Protocol):
    """Has the model reason behind each row's query; one instance is one setting."""

    name: ClassVar[str]

    @property
    def context_tokens(self) -> int:
        """The most tokens that it puts behind a query, besides `around("")`."""
        ...

    def format_reasoning(self, reasoning: str) -> str:
        """What stands between an input and its answer, in demonstrations that show a reasoning too."""
        ...

    def bind(self, context: SelectionContext) -> Reason:
        """What stands behind the query of any rows with the demonstrations that they are shown."""
        ...


COT: Mapping[str, type] = {cot.name: cot for cot in (zero_shot, least_to_most)}

__all__ = ["COT", "Cot", "least_to_most", "zero_shot"]
