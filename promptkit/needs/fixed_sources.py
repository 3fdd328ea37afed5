"""Log-probabilities of source classes that were chosen before, for the rows that a fitted aligner predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self, cast

from promptkit.core.errors import CheckpointError
from promptkit.core.model import image_card
from promptkit.core.need_context import NeedContext, Problem, Reads, RowRead
from promptkit.core.needs import RowNeed, Stored
from promptkit.core.requests import Classify, Read
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

CLASSES = "classes"
"""The name of the tensor of log-probabilities of the classes of an image classifier, and the key of their names."""
TENSOR = "fixed tokens"
"""The name of the tensor of log-probabilities of tokens."""
TOKENS = "fixed_tokens"
"""The key of the tokens in the metadata, in the order of the tensor's columns."""


@stateful("fixed-tokens")
@dataclass(frozen=True, slots=True)
class FixedTokens(RowNeed[tuple[str, ...]]):
    """Log-probabilities of given tokens at the answer slot of every row. Its value is the names of the tokens."""

    token_ids: tuple[int, ...]
    names: tuple[str, ...] = field(compare=False)

    kind: ClassVar[str] = "fixed source tokens"
    at_answer_slot: ClassVar[bool] = True

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Reads the tokens of all needs in one request."""
        tokens = tuple(sorted({token for need in needs for token in need.token_ids}))
        row = RowRead(tensor=TENSOR, verb=Read(token_ids=tokens), field="logprobs", width=len(tokens))
        return Reads(metadata={TOKENS: [*tokens]}, rows=[row])

    def load(self, stored: Stored) -> tuple[str, ...]:
        """Returns the names of the tokens."""
        return self.names

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns the log-probabilities of the tokens for rows."""
        columns = _columns(stored.metadata)
        values = stored.tensor(TENSOR)[stored.positions(records)]
        return values[:, [columns[token] for token in self.token_ids]].astype(float)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the run has not read the tokens."""
        if {*self.token_ids} <= _columns(stored.metadata).keys():
            return None
        text = f"log-probabilities of the {len(self.token_ids)} tokens that the aligner was fitted on"
        return Problem(code="missing-tokens", text=text, fields={"tokens": len(self.token_ids)})


def _columns(metadata: Mapping[str, object]) -> dict[int, int]:
    """Token -> its column."""
    return {token: column for column, token in enumerate(cast("Sequence[int]", metadata.get(TOKENS, ())))}


@stateful("fixed-classes")
@dataclass(frozen=True, slots=True)
class FixedClasses(RowNeed[tuple[str, ...]]):
    """Log-probabilities of the classes of an image classifier for every row. Its value is their names."""

    names: tuple[str, ...]

    kind: ClassVar[str] = "fixed source classes"

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Reads all classes of the classifier.

        Raises:
            CheckpointError: The classifier has other classes than the one that the aligner was fitted on.
        """
        names = distinct_names(image_card(need_context.ask.card).class_names)
        for need in needs:
            if need.names != tuple(names):
                raise CheckpointError(
                    "The aligner was fitted on the classes of another image classifier",
                    code="other-classes",
                    got=f"{len(names)} classes, not {len(need.names)}",
                    hint="Load the model that the predictor was fitted with",
                    classes=len(names),
                    expected=len(need.names),
                )
        row = RowRead(tensor=CLASSES, verb=Classify(), field="logprobs", width=len(names))
        return Reads(metadata={CLASSES: names}, rows=[row])

    def load(self, stored: Stored) -> tuple[str, ...]:
        """Returns the names of the classes."""
        return self.names

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns the log-probabilities of the classes for rows."""
        return stored.tensor(CLASSES)[stored.positions(records)].astype(float)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the run has not read the classes."""
        return None if CLASSES in stored.metadata else Problem(code="missing-tokens", text="log-probabilities of the classes")


def distinct_names(names: Sequence[str]) -> list[str]:
    """Returns the names of classes; a name that several classes have is followed by the number of the class."""
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} ({number})" for number, name in enumerate(names)]
