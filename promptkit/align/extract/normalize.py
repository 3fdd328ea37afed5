"""Answer normalization: two answers are equal if their normal forms are."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from promptkit.align.extract.numbers import parse_number

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_THOUSANDS_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
"""The comma in `1,000`."""
_PUNCTUATION = re.compile(
    r"(?!(?<=\d)[-.,/:](?=\d))"  # but not between digits: 1.5, 3/4, 10:30, 3-5
    r"(?!(?<!\w)[-+.](?=\.?\d))"  # nor before a number: -5, .5
    r"(?!(?<=[\w+#])[+#])"  # nor in names of programming languages: C++, C#
    rf"[{re.escape(string.punctuation)}]"
)
"""ASCII punctuation that does not change the meaning of an answer."""


def exact(text: str) -> str:
    """Returns the text without surrounding white space."""
    return text.strip()


def words(text: str) -> str:
    """Returns the text in lower case, without punctuation, English articles and repeated white space.

    This is the normalization of SQuAD (Rajpurkar et al. 2016, 1606.05250), except that signs, decimal points and separators of
    numbers are kept, as are `C++` and `C#`. A text that would become empty keeps its articles or punctuation.
    """
    lower = " ".join(unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").split())
    unpunctuated = " ".join(_PUNCTUATION.sub("", _THOUSANDS_SEPARATOR.sub("", lower)).split())
    return " ".join(_ARTICLES.sub(" ", unpunctuated).split()) or unpunctuated or lower


def number(text: str) -> str:
    """Returns the value of a number: a decimal, or else a fraction in lowest terms; any other text is normalized as `words`.

    Currency symbols and percent signs are removed: `$1,200.0` and `1200` have the same normal form.
    """
    value = parse_number(text)
    return words(text) if value is None else _decimal_or_fraction(value)


def _decimal_or_fraction(value: Fraction) -> str:
    """Returns `1.5` for 3/2, and `1/3` for 2/6."""
    digits = next((n for n in range(value.denominator.bit_length()) if 10**n % value.denominator == 0), None)
    return str(value) if digits is None else f"{Decimal(f'{value * 10**digits}e-{digits}'):f}"


NORMALIZATIONS: Mapping[str, Callable[[str], str]] = {"exact": exact, "words": words, "number": number}
"""The normalizations, by the name that the option `normalize` of an extraction has."""
