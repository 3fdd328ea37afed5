r"""The extraction rules: where the answer is found in generated text."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.extract.base import Extraction, Normalization
from promptkit.align.extract.boxed import find_json_field, last_boxed
from promptkit.align.extract.conclusion import before_next_question, conclusions, declines_to_answer, is_negated, strip_framing
from promptkit.align.extract.json_answer import Json
from promptkit.align.extract.numbers import number_spans
from promptkit.align.extract.options import find_option, find_yes_no
from promptkit.core.class_table import ClassTable
from promptkit.core.errors import InputError
from promptkit.core.json_schema import number_text


@dataclass(frozen=True, kw_only=True)
class FirstLine(Extraction):
    """Extracts the first line that is not blank, without surrounding white space."""

    max_tokens: int = 32
    stop: tuple[str, ...] = ("\n",)
    name: ClassVar[str] = "first_line"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the first line that is not blank, or None if all lines are."""
        return text.strip().split("\n")[0].strip() or None


@dataclass(frozen=True, kw_only=True)
class FinalAnswer(Extraction):
    r"""Extracts the answer that the text states last.

    The statement can be "the answer is ...", `Answer: ...`, `#### ...` or `\boxed{...}`.
    """

    name: ClassVar[str] = "final_answer"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the stated answer, or None if no answer is stated or the model declines to answer."""
        stated = next(filter(None, map(strip_framing, conclusions(text))), None)
        return None if stated is None or declines_to_answer(stated) else stated


@dataclass(frozen=True, kw_only=True)
class FinalNumber(Extraction):
    """Extracts the number in the answer that the text states last, or else the last number of the text.

    A stated answer is found as in `final_answer`. If it has several numbers, the first one after its last equals sign is used,
    or the first one if there is no equals sign.
    """

    normalize: Normalization = "number"
    name: ClassVar[str] = "final_number"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the number as it is written, or None if there is none or the model declines to answer."""
        for stated in conclusions(text):
            numbers = _affirmed_numbers(stated)
            if numbers:
                equals = stated.rfind("=")
                return next((number for start, number in numbers if start > equals), numbers[0][1])
        numbers = [] if declines_to_answer(text) else _affirmed_numbers(before_next_question(text))
        return numbers[-1][1] if numbers else None


def _affirmed_numbers(text: str) -> list[tuple[int, str]]:
    """Returns the start and the text of each number that is not negated, as in `not 5`."""
    return [(start, text[start:end]) for start, end in number_spans(text) if not is_negated(text[:start])]


@dataclass(frozen=True, kw_only=True)
class Option(Extraction):
    """Extracts the letter of the option that the text chooses, or the row's candidate under that letter."""

    letters: str = ""
    """The letters of the options, such as `ABCD`. Rows with answer candidates define their own; empty allows any letter."""
    name: ClassVar[str] = "option"
    closed_answers: ClassVar[tuple[str, ...]] = tuple(string.ascii_uppercase)

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the chosen option, or None if the text chooses no option or several."""
        # Candidates that are themselves letters, such as "(A)", keep them; other candidates are lettered in their order.
        lettered = [re.fullmatch(r"\W*([A-Z])\W*", choice) for choice in choices]
        letters = [match[1] for match in lettered if match] if all(lettered) else string.ascii_uppercase
        options = dict(zip(letters, choices, strict=False)) or {letter: letter for letter in self.letters}
        chosen = find_option(text, options)
        return chosen and options.get(chosen, chosen)

    def compared(self, gold: str) -> str:
        """Returns the gold option, which may be any text."""
        return gold


@dataclass(frozen=True, kw_only=True)
class YesNo(Extraction):
    """Extracts `yes` or `no`: the stated answer, or else the first word of the text, or else the last of these words."""

    name: ClassVar[str] = "yes_no"
    closed_answers: ClassVar[tuple[str, ...]] = ("yes", "no")

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns `yes` or `no`, or None if the text contains neither, or `yes or no`."""
        return find_yes_no(text)


@dataclass(frozen=True, kw_only=True)
class Boxed(Extraction):
    r"""Extracts the content of the last complete `\boxed{...}`."""

    normalize: Normalization = "number"
    name: ClassVar[str] = "boxed"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the content of the box, or None if there is no box or it is empty."""
        return last_boxed(before_next_question(text))


@dataclass(frozen=True, kw_only=True)
class JsonField(Extraction):
    """Extracts a field of the first valid JSON object in the text that has the field."""

    field: str = "answer"
    """Name of the field."""
    name: ClassVar[str] = "json_field"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the value, or None if no object has the field or its value is null, empty, a list or an object."""
        return find_json_field(text, self.field)

    def normalized(self, answer: str) -> str:
        """Returns the normal form of a value, which is the same for equal numbers."""
        return super().normalized(number_text(answer.strip()))


@dataclass(frozen=True, kw_only=True)
class Pattern(Extraction):
    """Extracts a group of the last match of a regular expression.

    If several groups take part in the match, as in `a (x)|b (y)`, the last one is the answer; if the expression has no groups,
    the whole match is.
    """

    regex: str = r"answer is:?\s*(.*?)\.?\s*$"
    """Regular expression in Python syntax; `^` and `$` match at the start and end of lines."""
    name: ClassVar[str] = "pattern"

    def __post_init__(self) -> None:
        """Checks that the expression is valid."""
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

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the matched text, or None if nothing matches."""
        matches = list(re.finditer(self.regex, text, re.MULTILINE))
        if not matches:
            return None
        match = matches[-1]
        if match.re.groups == 0:
            return match[0] or None
        return match[match.lastindex] or None if match.lastindex else None


EXTRACTIONS: ClassTable[Extraction] = ClassTable(
    "extraction",
    (FirstLine, FinalAnswer, FinalNumber, Option, YesNo, Boxed, JsonField, Json, Pattern),
    group="promptkit.extractions",
)
"""All extractions, by name."""
register = EXTRACTIONS.register
"""Registers the class of an extraction, a dataclass that derives from `Extraction`."""
