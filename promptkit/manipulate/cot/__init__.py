"""Chains of thought: how the model reasons about a row before it answers, one technique per file.

Few-shot chain of thought (Wei et al. 2022, arXiv 2201.11903) needs none of these: a template such as `arithmetic/cot` shows the
rationale of demonstrations, and the model writes its own rationale before its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from promptkit.core.class_table import ClassTable, named_attributes
from promptkit.manipulate.cot.least_to_most import LeastToMost
from promptkit.manipulate.cot.zero_shot import ZeroShot
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Reason


@runtime_checkable
class Cot(Protocol):
    """Generates a reasoning after each row's query; one instance is one setting."""

    @property
    def name(self) -> str:
        """The spelling on the command line and in YAML."""
        ...

    @property
    def context_tokens(self) -> int:
        """Maximum number of generated tokens, without the text that `format_reasoning` adds."""
        ...

    def format_reasoning(self, reasoning: str) -> str:
        """Returns the text between an input and its answer, for generated reasoning and for demonstrations alike.

        Args:
            reasoning: The reasoning, with the white space it was generated with.
        """
        ...

    def bind(self, context: SelectionContext) -> Reason:
        """Returns a function that generates the reasoning of any rows with given demonstrations.

        Args:
            context: The model and the prompt layout.
        """
        ...


COT: ClassTable[Cot] = ClassTable("chain of thought", (ZeroShot, LeastToMost), group="promptkit.chains_of_thought")
"""The chains of thought by name."""
register = COT.register
"""Registers the class of a chain of thought, a dataclass with the attributes of `Cot`."""

# the registered names (see `named_attributes`)
zero_shot = ZeroShot
least_to_most = LeastToMost
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, COT)

__all__ = ["COT", "Cot", "LeastToMost", "ZeroShot", "register"]
