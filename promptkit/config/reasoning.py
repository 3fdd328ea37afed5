"""The option for chain-of-thought prompting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from promptkit.config.prompt import PromptOptions
from promptkit.config.values import Spelled
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.tasks.field_descriptions import NamesFrom

if TYPE_CHECKING:
    from promptkit.manipulate.cot import Cot

REASONED_DEMOS = ("auto", "auto-cot", "complex", "few-shot", "manual")
"""Names in the literature for chains of thought that are shown in demonstrations."""


class ReasoningPromptOptions(PromptOptions):
    """The options that define a prompt that may have a chain of thought."""

    cot: Annotated[Spelled | None, NamesFrom("promptkit.manipulate.cot:COT")] = None
    """Chain-of-thought prompting: {names}."""

    def build_cot(self) -> Cot | None:
        """Returns how a reasoning is generated before the answer; None if it is not.

        Raises:
            InputError: There is no such chain of thought.
        """
        from promptkit.core.registry import build
        from promptkit.manipulate.cot import COT

        if self.cot is None:
            return None
        _check_cot(self.cot)
        return build("chain of thought", COT, self.cot)


def _check_cot(spelling: str) -> None:
    """Refuses names of demonstrations with reasoning, which are selected by `demos`."""
    from promptkit.core.registry import parse

    if parse(spelling)[0].replace("_", "-") in REASONED_DEMOS:
        raise InputError(
            f"{setting('cot', spelling)} is not available: demonstrations with reasoning are selected by {setting('demos')}",
            code="cot-needs-demos",
            hint=f"Use {setting('demos', 'auto-cot')} or {setting('demos', 'complex')}, or any demonstrations of a task that "
            "includes reasoning",
            option="cot",
            value=spelling,
        )
