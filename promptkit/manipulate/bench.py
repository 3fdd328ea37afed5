"""What selectors and orders work with: the rows that they may see, and the model, asked behind any demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from promptkit.aligners import Scorer
from promptkit.errors import Unsupported
from promptkit.manipulate.line import Demonstrations
from promptkit.manipulations import Ask, Surroundings
from promptkit.types import Example, LabelledExample, Rendered, Request, Score, ScoreOutput


class Show(Protocol):
    """A prompt with certain demonstrations."""

    def __call__(self, example: Example, chosen: Demonstrations, /) -> Rendered:
        """What the model reads for the row behind these."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One task, one model, and the prompt that demonstrations will stand in."""

    surroundings: Surroundings
    show: Show

    @property
    def pool(self) -> Sequence[LabelledExample]:
        """The rows that demonstrations come from."""
        return self.surroundings.rows.get("pool", ())

    @property
    def dev(self) -> Sequence[LabelledExample]:
        """The rows that a search may choose by."""
        return self.surroundings.rows.get("dev", ())

    @property
    def labels(self) -> tuple[str, ...]:
        """In the declared order; none where each row has answers of its own."""
        return tuple(self.surroundings.reading.shown())

    @property
    def ask(self) -> Ask:
        """The model that will read the prompt."""
        return self.surroundings.ask

    @property
    def others(self) -> Mapping[str, Ask]:
        """The other models that were named."""
        return self.surroundings.others

    def scores(self, contexts: Sequence[tuple[Example, Demonstrations]], purpose: str) -> list[tuple[float, ...]]:
        """Log-probability, unnormalised, of each candidate answer of a row behind demonstrations; for each such pair.

        Raises Unsupported, naming the `purpose`, where the model's answers are texts.
        """
        reading = self.surroundings.reading
        if not isinstance(reading, Scorer):
            raise Unsupported(
                f"{purpose} needs answers that are scored, and here the model writes them",
                hint="Use a task with labels or choices, or another way of choosing",
            )
        shown = [self.show(example, demonstrations) for example, demonstrations in contexts]
        outputs = self.ask([Request(input=each.input, verb=Score(continuations=each.continuations)) for each in shown])
        scored = []
        for output in outputs:
            assert isinstance(output, ScoreOutput)
            scored.append(reading.align(output))
        return scored
