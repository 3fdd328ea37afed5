"""Self-consistency: the majority vote over several sampled answers (Wang et al. 2022, 2203.11171).

Answers are compared by their normal forms. A text without an answer never wins but stays in the denominator. Ties go to the
answer that occurs first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from promptkit.align.extract.base import Extraction, check_sampling
from promptkit.align.vote_counts import majority, vote_accuracy
from promptkit.core.arguments import checked
from promptkit.core.errors import InputError

__all__ = ["Majority", "majority", "vote_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Majority:
    """Samples several texts for each row and predicts their most frequent answer.

    It follows an extraction in a chain: `[pk.extract.FinalNumber(), pk.vote.Majority(samples=8)]`.

    Raises:
        InputError: `samples` is less than 1, or the temperature would make all samples identical.
    """

    samples: int = 8
    """Texts sampled for each row."""
    temperature: float = 0.7
    """Sampling temperature; greater than 0, because greedy samples are identical."""
    name: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_sampling(self.samples, self.temperature)

    def bind(self, reader: object) -> Extraction:
        """Returns the extraction with the sampling settings of this vote.

        Args:
            reader: The aligner before the vote in a chain.

        Raises:
            InputError: The aligner is not an extraction, or it sets `samples` or `temperature` itself.
        """
        if not isinstance(reader, Extraction):
            raise InputError(
                "A vote needs an extraction before it, as it counts answers extracted from several texts",
                code="vote-without-extraction",
                got=f"{type(reader).__name__} before the vote",
                hint="Begin with an extraction, such as pk.extract.FinalNumber",
                aligner=type(reader).__name__,
            )
        if (reader.samples, reader.temperature) != (1, 0.0):
            raise InputError(
                "The number of samples and the temperature are set by the vote, but the extraction sets them too",
                code="conflicting-options",
                got=f"{reader.name}(samples={reader.samples}, temperature={reader.temperature})",
                hint="Leave both out of the extraction",
                aligner=reader.name,
                options=("samples", "temperature"),
            )
        return replace(reader, samples=self.samples, temperature=float(self.temperature))
