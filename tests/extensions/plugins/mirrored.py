"""A need, and a calibration that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from promptkit.core.need_context import NeedContext, Problem, PromptedRow
from promptkit.core.needs import FitData, Needs, Outputs, RowNeed, Stored
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@stateful("reversed")
@dataclass(frozen=True)
class Reversed(RowNeed[None]):
    """Label log-probabilities of each row with its words in reverse order, shape (rows, K)."""

    kind: ClassVar[str] = "reversed words"

    @classmethod
    def further_rows(cls, needs: Sequence[Self], need_context: NeedContext) -> Sequence[PromptedRow]:
        rows = need_context.evaluated
        texts = [{name: " ".join(text.split()[::-1]) for name, text in row.example.texts.items()} for row in rows]
        examples = [replace(row.example, inputs=inputs) for row, inputs in zip(rows, texts, strict=True)]
        return [
            PromptedRow(id=f"reversed {row.id}", example=example, rendered=rendered)
            for row, example, rendered in zip(rows, examples, need_context.encode(examples), strict=True)
        ]

    def load(self, stored: Stored) -> None: ...

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        return stored.scores([f"reversed {record}" for record in records])

    def missing(self, stored: Stored) -> Problem | None:
        if all(f"reversed {row}" in stored for row in stored.evaluated):
            return None
        return Problem(code="missing-reversed", text="the rows with their words in reverse order")


@stateful("mirrored-mean")
@dataclass(frozen=True)
class Mean:
    """The fitted calibration."""

    weight: float

    def apply(self, outputs: Outputs) -> Floats:
        scores: Floats = (1 - self.weight) * outputs.logprobs + self.weight * outputs[Reversed()]
        return scores


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """Averages the scores of a row and of its reversed words."""

    weight: float = 0.5
    """The weight of the reversed words."""
    name: ClassVar[str] = "mirrored"
    needs: ClassVar[Needs] = (Reversed(),)

    def fit(self, data: FitData) -> Mean:
        return Mean(self.weight)
