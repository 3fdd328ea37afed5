"""Base class of extractions: aligners that find the answer in generated text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from promptkit.align.extract.normalize import NORMALIZATIONS
from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.hashing import sha256
from promptkit.core.registry import settings_of
from promptkit.core.requests import Generate
from promptkit.core.thinking import without_thoughts

Normalization = Literal["exact", "words", "number"]
"""How answers are normalized before they are compared; see `promptkit.align.extract.normalize`."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Generates text and extracts the answer from it.

    A text in which no answer is found counts as wrong, and the share of such texts is reported. The thoughts of a reasoning
    model are not part of its answer, and a text with an unclosed thought has none. If a model continues with another question
    after its answer, that part of the text is ignored.

    Subclasses implement `find`.

    Raises:
        InputError: A setting is out of range.
    """

    max_tokens: int = 256
    """Maximum number of tokens to generate."""
    stop: tuple[str, ...] = ()
    """Stop strings, in addition to those that mark the start of the next example."""
    normalize: Normalization = "words"
    """How answers are normalized before they are compared: `exact`, `words` or `number`."""
    samples: int = 1
    """Texts generated for each row; their most frequent answer is the prediction."""
    temperature: float = 0.0
    """Sampling temperature; 0 is greedy decoding."""
    seed: int = 0
    """Random seed of the sampling. The draws of a row depend only on the seed and the row."""
    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        if self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise InputError(
                f"The extraction {self.name} needs max_tokens of at least 1 and a temperature of at least 0",
                code="out-of-range",
                got=f"max_tokens={self.max_tokens}, temperature={self.temperature}",
                aligner=self.name,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
        check_sampling(self.samples, self.temperature)
        if not all(self.stop):
            raise InputError(
                f"A stop string of {self.name} is empty",
                code="empty-stop",
                got=f"stop={self.stop!r}",
                hint="Leave it out",
                aligner=self.name,
                stop=self.stop,
            )

    def label_words(self) -> Mapping[str, str]:
        """Returns an empty mapping: demonstrations show the answer text itself."""
        return {}

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """Returns the generation request for a row.

        Args:
            example: The row.
            stop: Stop strings that mark the start of the next example; empty strings are ignored.
        """
        key = sha256(f"{self.seed}\0{example.id}")
        return Generate(
            max_tokens=self.max_tokens,
            n=self.samples,
            stop=tuple(dict.fromkeys([*self.stop, *filter(None, stop)])),
            temperature=self.temperature,
            seed=int.from_bytes(key[:6]) if self.temperature else 0,
        )

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Extracts the answer from the part of a text after its thoughts.

        Args:
            text: The generated text.
            choices: The answer candidates of the row, if it has any.

        Returns:
            The answer, or None if the text has none, or has an unclosed thought.
        """
        answer = without_thoughts(text)
        return None if answer is None else self.find(answer, choices)

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Finds the answer in a text without thoughts. See `answer` for arguments and result."""
        raise NotImplementedError

    def normalized(self, answer: str) -> str:
        """Returns the normal form of an answer; answers with the same normal form are equal."""
        return NORMALIZATIONS[self.normalize](answer)

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Returns whether an answer equals one of the accepted answers; None is never correct."""
        return answer is not None and self.normalized(answer) in map(self.normalized, accepted)

    def settings(self) -> Mapping[str, object]:
        """Returns the name and all settings."""
        return settings_of(self)


def check_sampling(samples: int, temperature: float) -> None:
    """Raises InputError for fewer than one sample, an invalid temperature, or several samples at temperature 0."""
    if samples < 1 or not 0 <= temperature < float("inf"):
        raise InputError(
            "At least one sample is needed, at a temperature of at least 0",
            code="out-of-range",
            got=f"samples={samples}, temperature={temperature}",
            samples=samples,
            temperature=temperature,
        )
    if samples > 1 and temperature == 0:
        raise InputError(
            "At temperature 0 all samples are identical, so a vote among them is meaningless",
            code="identical-samples",
            got=f"samples={samples}, temperature={temperature}",
            hint="Set a temperature above 0, such as 0.7, or samples=1",
            samples=samples,
            temperature=temperature,
        )
