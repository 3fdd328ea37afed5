"""Zero-shot chain of thought (Kojima et al. 2022, arXiv 2205.11916), in two calls.

In the first call the model continues the query and a trigger. The second call reads the answer after that reasoning and an
answer trigger. The second call is the request of the run itself, in which label words are scored or a short text is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.manipulate.prompting.context import Context, SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, Reason


def join_reasoning(trigger: str, reasoning: str, answer_trigger: str) -> str:
    """Joins trigger, reasoning and answer trigger; the reasoning keeps its leading white space, or is given one space."""
    text = reasoning.rstrip()
    gap = "" if not text or text[0].isspace() else " "
    return f" {trigger}{gap}{text} {answer_trigger}"


@dataclass(frozen=True)
class ZeroShot:
    """Thinks step by step, then answers."""

    trigger: str = "Let's think step by step."
    """The text that the reasoning continues."""
    answer_trigger: str = "Therefore, the answer is"
    """The text between the reasoning and the answer."""
    max_tokens: int = 128
    """Maximum number of tokens of the reasoning."""
    name: ClassVar[str] = "zero-shot"

    def __post_init__(self) -> None:
        """Validates the keywords."""
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
        """Maximum number of tokens of the reasoning."""
        return self.max_tokens

    def format_reasoning(self, reasoning: str) -> str:
        """Returns trigger, reasoning and answer trigger."""
        return join_reasoning(self.trigger, reasoning, self.answer_trigger)

    def bind(self, context: SelectionContext) -> Reason:
        """Returns one reasoning per row."""

        def reason(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[str]:
            return [*map(self.format_reasoning, self.generate(context, [*zip(examples, chosen, strict=True)]))]

        return reason

    def generate(self, context: SelectionContext, contexts: Sequence[Context]) -> list[str]:
        """Generates the text after the trigger, up to the answer trigger.

        Args:
            context: The model and the prompt layout.
            contexts: Rows and their demonstrations.
        """
        triggers = [f" {self.trigger}"] * len(contexts)
        return context.texts(contexts, triggers, max_tokens=self.max_tokens, stop=(self.answer_trigger.strip(),))
