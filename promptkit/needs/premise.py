"""The premise: the end of a prompt, read without instruction, demonstrations and inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example
from promptkit.core.manipulation import Encode
from promptkit.core.need_context import NeedContext, Problem, PromptedRow
from promptkit.core.needs import Need, Stored
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@stateful("premise")
@dataclass(frozen=True, slots=True)
class Premise(Need["Floats"]):
    """The label log-probabilities of the premise, shape (1, K), or (rows, K) if rows have different answer choices."""

    kind: ClassVar[str] = "premise"
    features: ClassVar[frozenset[Feature]] = frozenset({"text"})
    works_with_choices: ClassVar[bool] = True

    def dry_run(self, encode: Encode, example: Example) -> None:
        """Renders the premise of one row."""
        encode.premise(example)

    @classmethod
    def further_rows(cls, needs: Sequence[Self], need_context: NeedContext) -> Sequence[PromptedRow]:
        """Returns the premise that all rows share, or one for each row if rows have different choices."""
        rows = need_context.evaluated
        differ = bool(rows[0].example.choices)
        return [
            PromptedRow(
                id=premise_id(row.id if differ else None),
                example=row.example,
                rendered=need_context.encode.premise(row.example),
            )
            for row in (rows if differ else rows[:1])
        ]

    def load(self, stored: Stored) -> Floats:
        """Returns the scores of the premise, or of the premise of each evaluated row."""
        return stored.scores([premise_id()] if stored.labels else [premise_id(row) for row in stored.evaluated])

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the premise was not read."""
        if premise_id() in stored:
            return None
        return Problem(code="missing-premise", text="the scores of the premise")

    def impossible(self, manipulation: Mapping[str, object]) -> Problem | None:
        """Returns why inputs with these settings have no premise."""
        if manipulation.get("name") == "image":
            return Problem(code="no-premise", text="an image has no premise, the text before an answer")
        if manipulation.get("channel"):
            return Problem(code="no-premise", text="channel prompts have no premise: they score the inputs")
        if manipulation.get("cot"):
            text = "prompts with a chain of thought have no premise: the reasoning depends on the inputs"
            return Problem(code="no-premise", text=text)
        return None

    def is_shared(self, *, has_labels: bool, one_context: bool) -> bool:
        """Returns whether all rows have one premise: a premise contains the answer choices, but no demonstrations."""
        return has_labels


def premise_id(row: str | None = None) -> str:
    """Returns the id of the record of a premise: that of all rows, or that of one row with different choices."""
    return "premise" if row is None else f"premise of {row}"
