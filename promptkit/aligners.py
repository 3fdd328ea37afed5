"""What aligners need and give: the interfaces that their implementations in `align/` keep. Without behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from promptkit.types import Example, Generate, ScoreOutput

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an aligner must see besides an item's own output; collected in the same pass."""

    content_free: tuple[str, ...] = ()
    """Texts that stand for every input of a row, under the item's own context."""
    unlabelled: int = 0
    """How many rows of the fit part, without their labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What was collected for `Needs`: label log-probabilities, K labels in the declared order."""

    content_free: Mapping[str, Floats]
    """Text -> shape (contexts, K)."""
    context: Integers
    """Shape (items,): which context each item was read under."""
    unlabelled: Floats
    """Shape (rows, K)."""


class Reading(Protocol):
    """The first aligner of a chain: says what the model is asked of a row, and reads the answer from its output."""

    @property
    def name(self) -> str:
        """Its spelling."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; none where each row has answers of its own."""
        ...

    def shown(self) -> Mapping[str, str]:
        """Label -> the word by which demonstrations show it; empty where answers stand as they are."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Everything about it that determines a result."""
        ...


@runtime_checkable
class Scorer(Reading, Protocol):
    """Scores words, and turns their scores into labels."""

    def candidates(self, example: Example) -> tuple[str, ...]:
        """The labels that the row may have, in order; ties go to the first."""
        ...

    def words(self, example: Example) -> tuple[str, ...]:
        """Every word to score, in a fixed order."""
        ...

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """One score per candidate, in order; natural-log units."""
        ...


@runtime_checkable
class Extractor(Reading, Protocol):
    """Finds the answer in a text that the model writes, or the one that most of several texts give."""

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text."""
        ...

    @property
    def samples(self) -> int:
        """How many texts are written for a row."""
        ...

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """What is to be written for the row; `stop` is what would begin a further example."""
        ...

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """The answer in a text, or None if it holds none; `choices` are what the row offers, if it offers any."""
        ...

    def form(self, answer: str) -> str:
        """The answer after the stated normalisation: answers are the same that have one form."""
        ...

    def right(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Whether the answer is the same as one of those accepted; no answer never is."""
        ...


@runtime_checkable
class Calibration(Protocol):
    """A later aligner: label log-probabilities to label log-probabilities, after the fact."""

    name: str
    needs: Needs

    def align(self, logprobs: Floats, support: Support) -> Floats:
        """Shape (items, K) -> (items, K); rows need not be normalised."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Everything about it that determines a result."""
        ...
