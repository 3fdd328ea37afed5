"""Least-to-most prompting (Zhou et al. 2022, arXiv 2205.10625): the model splits a problem and solves its parts one by one.

In the first call the model lists subquestions. Then it answers them one at a time, each after the previous ones and their
answers, and finally the question itself. Each round queries all rows at once. The paper shows demonstrations of decomposition,
written for each task; here a trigger elicits it without demonstrations, so that it works for any task. A row for which the
model lists no question is answered directly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.manipulate.cot.zero_shot import join_reasoning
from promptkit.manipulate.prompting.context import Context, SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations, Reason

_QUESTION = re.compile(r"^\s*(?:\d+[.):]|[-*•])\s*(\S.*?[?？])", re.MULTILINE)
"""A line of a list, up to its first question mark."""


@dataclass(frozen=True)
class LeastToMost:
    """Lists subquestions, answers them one by one, then answers the question itself."""

    trigger: str = "Let's break this down into smaller questions:"
    """The text that the list continues."""
    answer_trigger: str = "Therefore, the answer is"
    """The text between the last subquestion and the answer."""
    questions: int = 4
    """Maximum number of subquestions."""
    max_tokens: int = 64
    """Maximum number of tokens of the list, and of the answer to each subquestion."""
    name: ClassVar[str] = "least-to-most"

    def __post_init__(self) -> None:
        """Validates the keywords."""
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
        """Maximum number of tokens of the list and of the answers to its subquestions."""
        return (self.questions + 1) * self.max_tokens

    def format_reasoning(self, reasoning: str) -> str:
        """Returns trigger, reasoning and answer trigger."""
        return join_reasoning(self.trigger, reasoning, self.answer_trigger)

    def bind(self, context: SelectionContext) -> Reason:
        """Returns the subquestions of each row with their answers."""

        def reason(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[str]:
            contexts = [*zip(examples, chosen, strict=True)]
            parts = self._solve(context, contexts, self._decompose(context, contexts))
            return [self.format_reasoning(text) if text else f" {self.answer_trigger}" for text in parts]

        return reason

    def _decompose(self, context: SelectionContext, contexts: Sequence[Context]) -> list[list[str]]:
        """Generates the distinct subquestions of each row."""
        starts = [f" {self.trigger}\n1."] * len(contexts)
        stop = (self.answer_trigger.strip(),)
        lists = context.texts(contexts, starts, max_tokens=self.max_tokens, stop=stop)
        return [[*dict.fromkeys(_QUESTION.findall(f"1.{text}"))][: self.questions] for text in lists]

    def _solve(self, context: SelectionContext, contexts: Sequence[Context], questions: Sequence[Sequence[str]]) -> list[str]:
        """Answers the subquestions of all rows, one round per number, and returns them with their answers."""
        parts = ["" for _ in contexts]
        for number in range(max(map(len, questions), default=0)):
            rows = [index for index, row_questions in enumerate(questions) if number < len(row_questions)]
            for index in rows:
                parts[index] += f"\n{number + 1}. {questions[index][number]}"
            answers = context.texts(
                [contexts[index] for index in rows],
                [f" {self.trigger}{parts[index]}" for index in rows],
                max_tokens=self.max_tokens,
                stop=("\n", self.answer_trigger.strip()),
            )
            for index, answer in zip(rows, answers, strict=True):
                parts[index] += f" {answer.strip()}"
        return parts
