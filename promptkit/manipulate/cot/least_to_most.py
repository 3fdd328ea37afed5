"""Least-to-most prompting (Zhou et al. 2022, 2205.10625): a problem is taken apart, and its parts are answered in turn.

In the first call the model lists subquestions; then it answers them one by one, each behind those before it and their
answers, and last of all the question itself. Each round asks for all rows at once. The paper shows demonstrations of taking
apart, written for each task; here a trigger alone asks for it, so that any task can do it. A row for which the model lists
no question is answered at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.registry import checked
from promptkit.manipulate.cot.zero_shot import join_reasoning
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, Reason

_QUESTION = re.compile(r"^\s*(?:\d+[.):]|[-*•])\s*(\S.*?[?？])", re.MULTILINE)
"""A line of a list, up to its first question mark."""


@dataclass(frozen=True)
class least_to_most:  # noqa: N801
    """Lists smaller questions, answers them in turn, then the question itself."""

    trigger: str = "Let's break this down into smaller questions:"
    """What the list begins with."""
    answer_trigger: str = "Therefore, the answer is"
    """What stands between the last part and the answer."""
    questions: int = 4
    """The most subquestions."""
    max_tokens: int = 64
    """The most tokens of the list, and of each answer to one of it."""
    name: ClassVar[str] = "least-to-most"

    def __post_init__(self) -> None:
        """Refuse what lets nothing be written."""
        checked(self)
        if min(self.max_tokens, self.questions) < 1 or not self.answer_trigger.strip():
            raise InputError(
                "The questions and max_tokens of least-to-most must be at least 1, and its answer_trigger must not be empty",
                code="out-of-range" if min(self.max_tokens, self.questions) < 1 else "empty-text",
                got=f"questions={self.questions}, max_tokens={self.max_tokens}, answer_trigger={self.answer_trigger!r}",
                cot=self.name,
                questions=self.questions,
                max_tokens=self.max_tokens,
                answer_trigger=self.answer_trigger,
            )

    @property
    def context_tokens(self) -> int:
        """Of the list, and of an answer to each of it."""
        return (self.questions + 1) * self.max_tokens

    def format_reasoning(self, reasoning: str) -> str:
        """Trigger, reasoning, answer trigger."""
        return join_reasoning(self.trigger, reasoning, self.answer_trigger)

    def bind(self, context: SelectionContext) -> Reason:
        """The questions of each row, with their answers."""

        def reason(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[str]:
            contexts, end = [*zip(examples, chosen, strict=True)], self.answer_trigger.strip()
            listed = context.texts(contexts, [f" {self.trigger}\n1."] * len(contexts), max_tokens=self.max_tokens, stop=(end,))
            questions = [self._questions(f"1.{text}") for text in listed]
            parts = ["" for _ in contexts]
            for number in range(max(map(len, questions), default=0)):
                open_ = [index for index, own in enumerate(questions) if number < len(own)]
                for index in open_:
                    parts[index] += f"\n{number + 1}. {questions[index][number]}"
                begun = [f" {self.trigger}{parts[index]}" for index in open_]
                answers = context.texts([contexts[i] for i in open_], begun, max_tokens=self.max_tokens, stop=("\n", end))
                for index, answer in zip(open_, answers, strict=True):
                    parts[index] += f" {answer.strip()}"
            return [self.format_reasoning(own) if own else f" {self.answer_trigger}" for own in parts]

        return reason

    def _questions(self, text: str) -> list[str]:
        """Each once."""
        return [*dict.fromkeys(_QUESTION.findall(text))][: self.questions]
