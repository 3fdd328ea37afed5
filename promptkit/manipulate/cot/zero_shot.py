"""Zero-shot chain of thought (Kojima et al. 2022, 2205.11916), in two calls.

The first has the model go on from the query and a trigger; the second asks for the answer behind what it wrote and an answer
trigger. The second is the run's own request: label words are scored there, or a short text is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.registry import checked
from promptkit.manipulate.prompting.context import Context, SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, Reason


def join_reasoning(trigger: str, reasoning: str, answer_trigger: str) -> str:
    """They, as they stand behind an input: white space that a reasoning begins with is kept, else it is one space."""
    end = reasoning.rstrip()
    gap = "" if not end or end[0].isspace() else " "
    return f" {trigger}{gap}{end} {answer_trigger}"


@dataclass(frozen=True)
class zero_shot:  # noqa: N801
    """Thinks step by step, then answers."""

    trigger: str = "Let's think step by step."
    """What the reasoning begins with."""
    answer_trigger: str = "Therefore, the answer is"
    """What stands between the reasoning and the answer."""
    max_tokens: int = 128
    """The most tokens of the reasoning."""
    name: ClassVar[str] = "zero-shot"

    def __post_init__(self) -> None:
        """Refuse what lets nothing be written."""
        checked(self)
        if self.max_tokens < 1 or not self.answer_trigger.strip():
            raise InputError(
                f"The max_tokens of {self.name} must be at least 1, and its answer_trigger must not be empty",
                code="out-of-range" if self.max_tokens < 1 else "empty-text",
                got=f"max_tokens={self.max_tokens}, answer_trigger={self.answer_trigger!r}",
                cot=self.name,
                max_tokens=self.max_tokens,
                answer_trigger=self.answer_trigger,
            )

    @property
    def context_tokens(self) -> int:
        """Of the reasoning."""
        return self.max_tokens

    def format_reasoning(self, reasoning: str) -> str:
        """Trigger, reasoning, answer trigger."""
        return join_reasoning(self.trigger, reasoning, self.answer_trigger)

    def bind(self, context: SelectionContext) -> Reason:
        """One reasoning for each row."""

        def reason(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[str]:
            return [*map(self.format_reasoning, self.reasonings(context, [*zip(examples, chosen, strict=True)]))]

        return reason

    def reasonings(self, context: SelectionContext, contexts: Sequence[Context]) -> list[str]:
        """What the model writes behind the trigger, before it turns to the answer by itself."""
        begun = [f" {self.trigger}"] * len(contexts)
        return context.texts(contexts, begun, max_tokens=self.max_tokens, stop=(self.answer_trigger.strip(),))
