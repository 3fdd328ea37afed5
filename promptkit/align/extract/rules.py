"""Rule-based alignment: the answer is a part of the text that the model writes.

A text in which the rule finds nothing has no answer: it counts as wrong, and the share of such texts is reported. Of a text
that goes on with a question of its own making, only what stands before that is read.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from promptkit.align.extract import boxed as enclosed
from promptkit.align.extract.conclusion import bare, conclusions, denied, own, refuses
from promptkit.align.extract.normalize import NORMALISATIONS
from promptkit.align.extract.numbers import places
from promptkit.align.extract.options import letter, yes_or_no
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.hashing import sha256
from promptkit.core.registry import checked, settings_of
from promptkit.core.requests import Generate

Same = Literal["exact", "words", "number"]


@dataclass(frozen=True)
class Extraction:
    """What every extraction is told: how much is written, and when two answers are the same."""

    max_tokens: int = 256
    """The most tokens that are written."""
    stop: tuple[str, ...] = ()
    """Texts before which it ends, besides what would begin a further example."""
    normalize: Same = "words"
    """What of two answers is compared: see `align/normalize.py`."""
    samples: int = 1
    """How many texts are drawn for a row; the answer that most of them give is the row's: see `align/vote.py`."""
    temperature: float = 0.0
    """0 takes the likeliest token; above 0 tokens are drawn."""
    seed: int = 0
    """What is drawn depends on (seed, row, number of the text, step) alone, besides the probabilities."""
    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be asked of a model."""
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
        check_drawn(self.samples, self.temperature)
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
        """Demonstrations show answers as they stand."""
        return {}

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """All the row's texts; of `stop` only what is no empty text."""
        key = sha256(f"{self.seed}\0{example.id}")
        return Generate(
            max_tokens=self.max_tokens,
            n=self.samples,
            stop=tuple(dict.fromkeys([*self.stop, *filter(None, stop)])),
            temperature=self.temperature,
            seed=int.from_bytes(key[:6]) if self.temperature else 0,
        )

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """The answer in a text; `choices` are what the row offers, if it offers any."""
        raise NotImplementedError

    def normalized(self, answer: str) -> str:
        """The normal form: answers that have it in common are the same."""
        return NORMALISATIONS[self.normalize](answer)

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Whether the answer is the same as one of those accepted."""
        return answer is not None and self.normalized(answer) in map(self.normalized, accepted)

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)


def check_drawn(samples: int, temperature: float) -> None:
    """Refuse fewer than one text, and several that would be one."""
    if samples < 1 or not 0 <= temperature < float("inf"):
        got = f"samples={samples}, temperature={temperature}"
        raise InputError(
            "At least one sample is needed, at a temperature of at least 0",
            code="out-of-range",
            got=got,
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


@dataclass(frozen=True)
class first_line(Extraction):  # noqa: N801 - an extraction's class name is its spelling everywhere
    """The first line that is not empty, without surrounding white space."""

    max_tokens: int = 32
    stop: tuple[str, ...] = ("\n",)
    name: ClassVar[str] = "first_line"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None for a text of white space."""
        return text.strip().split("\n")[0].strip() or None


@dataclass(frozen=True)
class final_answer(Extraction):  # noqa: N801
    """The rest of the sentence behind the last "answer is", `Answer:`, `####` or in the last `\\boxed`."""

    name: ClassVar[str] = "final_answer"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where nothing is said to be the answer, or that there is none."""
        said = next(filter(None, map(bare, conclusions(text))), None)
        return None if said is None or refuses(said) else said


@dataclass(frozen=True)
class final_number(Extraction):  # noqa: N801
    """The number that is said to be the answer: see `final_answer`; else the last in the text.

    In the sentence that says so it is the first, behind its last equals sign if it has one.
    """

    normalize: Same = "number"
    name: ClassVar[str] = "final_number"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where there is no digit, where it is said that there is no answer, and for dates and times."""
        for said in conclusions(text):
            numbers = _numbers(said)
            if numbers:
                return next((number for place, number in numbers if place > said.rfind("=")), numbers[0][1])
        numbers = [] if refuses(text) else _numbers(own(text))
        return numbers[-1][1] if numbers else None


def _numbers(text: str) -> list[tuple[int, str]]:
    """Every number that is not said not to be so, with its place."""
    return [(start, text[start:end]) for start, end in places(text) if not denied(text[:start])]


@dataclass(frozen=True)
class option(Extraction):  # noqa: N801
    """The letter of the option that the text decides for, or what the row offers under that letter."""

    letters: str = ""
    """Those that there are, such as ABCD; the row's own where it offers answers, else any."""
    name: ClassVar[str] = "option"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where it decides for none of them, or for several."""
        lettered = [re.fullmatch(r"\W*([A-Z])\W*", choice) for choice in choices]
        names = [match[1] for match in lettered if match] if all(lettered) else string.ascii_uppercase
        offered = dict(zip(names, choices, strict=False)) or {name: name for name in self.letters}
        decided = letter(text, offered)
        return decided and offered.get(decided, decided)


@dataclass(frozen=True)
class yes_no(Extraction):  # noqa: N801
    """`yes` or `no`: what is said to be the answer, else the first word of the text, else the last of these words."""

    name: ClassVar[str] = "yes_no"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where it says neither, or `yes or no`."""
        return yes_or_no(text)


@dataclass(frozen=True)
class boxed(Extraction):  # noqa: N801
    """What stands in the last `\\boxed{...}` that is closed."""

    normalize: Same = "number"
    name: ClassVar[str] = "boxed"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where there is no box, or an empty one."""
        return enclosed.boxed(own(text))


@dataclass(frozen=True)
class json_field(Extraction):  # noqa: N801
    """A field of the first well-formed JSON object in the text that has it."""

    field: str = "answer"
    """Its name."""
    name: ClassVar[str] = "json_field"

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where no object has it, or its value is null, empty, a list or an object."""
        return enclosed.field(text, self.field)


@dataclass(frozen=True)
class pattern(Extraction):  # noqa: N801
    """The group that matched last, in the last match of a regular expression; the whole match if it has no group."""

    regex: str = r"answer is:?\s*(.*?)\.?\s*$"
    """In Python's syntax; ^ and $ are the ends of lines."""
    name: ClassVar[str] = "pattern"

    def __post_init__(self) -> None:
        """Refuse what is no regular expression."""
        super().__post_init__()
        try:
            re.compile(self.regex)
        except re.error as error:
            raise InputError(
                f"The pattern is not a valid regular expression: {error}",
                code="invalid-pattern",
                got=repr(self.regex),
                hint="Use the syntax of Python's re module",
                pattern=self.regex,
            ) from None

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """None where nothing matches."""
        found = list(re.finditer(self.regex, text, re.MULTILINE))
        if not found:
            return None
        last = found[-1]
        return (last[last.lastindex] if last.lastindex else "" if last.re.groups else last[0]) or None


EXTRACTIONS: Mapping[str, type[Extraction]] = {
    extraction.name: extraction
    for extraction in (first_line, final_answer, final_number, option, yes_no, boxed, json_field, pattern)
}
