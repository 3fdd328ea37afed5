"""A chain of thought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.examples import Example
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, Reason


@dataclass(frozen=True)
class Restate:
    """Repeats the first words of a row before its answer."""

    words: int = 2
    name: ClassVar[str] = "restate"

    @property
    def context_tokens(self) -> int:
        return 32

    def format_reasoning(self, reasoning: str) -> str:
        return f" It says {reasoning}, so the answer is"

    def bind(self, context: SelectionContext) -> Reason:
        def reason(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[str]:
            texts = [" ".join(" ".join(example.texts.values()).split()[: self.words]) for example in examples]
            return [*map(self.format_reasoning, texts)]

        return reason
