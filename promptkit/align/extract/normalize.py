"""When two answers are the same: each normalization maps a text to the form that is compared."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from promptkit.align.extract.numbers import value

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECORATION = re.compile(
    r"(?!(?<=\d)[-.,/:](?=\d))"  # 1.5, 3/4, 10:30, 3-5
    r"(?!(?<!\w)[-+.](?=\.?\d))"  # -5, .5
    r"(?!(?<=[\w+#])[+#])"  # C++, C#
    rf"[{re.escape(string.punctuation)}]"
)
"""ASCII punctuation that carries no meaning of its own."""


def exact(text: str) -> str:
    """Surrounding white space goes; nothing else."""
    return text.strip()


def words(text: str) -> str:
    """Case, English articles, runs of white space and punctuation go (Rajpurkar et al. 2016, 1606.05250), but for signs and
    points of numbers and for C++ and C#; of a text that is nothing else, nothing but case goes."""
    lower = " ".join(unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").split())
    plain = " ".join(_DECORATION.sub("", _THOUSANDS.sub("", lower)).split())
    return " ".join(_ARTICLES.sub(" ", plain).split()) or plain or lower


def number(text: str) -> str:
    """The value, however it is written: as a decimal, or else as a fraction in its lowest terms; currency and percent signs
    go. What is no number is as `words`."""
    worth = value(text)
    return words(text) if worth is None else _decimal(worth)


def _decimal(worth: Fraction) -> str:
    """1.5 for 3/2, and 1/3 for 2/6."""
    places = (places for places in range(worth.denominator.bit_length()) if 10**places % worth.denominator == 0)
    behind = next(places, None)
    return str(worth) if behind is None else f"{Decimal(f'{worth * 10**behind}e-{behind}'):f}"


NORMALIZATIONS: Mapping[str, Callable[[str], str]] = {"exact": exact, "words": words, "number": number}
