"""When two answers are the same: each normalisation maps a text to the form that is compared."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECORATION = re.compile(
    r"(?!(?<=\d)[-.,/:](?=\d))"  # 1.5, 3/4, 10:30, 3-5
    r"(?!(?<!\w)[-+.](?=\.?\d))"  # -5, .5
    r"(?!(?<=[\w+#])[+#])"  # C++, C#
    rf"[{re.escape(string.punctuation)}]"
)
"""ASCII punctuation that carries no meaning of its own."""
_AROUND_NUMBERS = str.maketrans("", "", "$£€,%'’ \u00a0\u202f\u2009")
_WIDEST = 400
"""Decimal places before or behind the point, beyond which a text is no number that an answer would be."""


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
    """The value: thousands separators, currency, percent signs, trailing zeros and a final stop go; no number is as `words`."""
    bare = text.translate(_AROUND_NUMBERS).replace("\u2212", "-").removesuffix(".")
    try:
        value = Decimal(bare)
    except InvalidOperation:
        return words(text)
    if not value.is_finite() or abs(value.adjusted()) > _WIDEST:
        return words(text)
    return format(value.normalize(Context(prec=len(bare) + 1)) if value else Decimal(0), "f")


NORMALISATIONS: Mapping[str, Callable[[str], str]] = {"exact": exact, "words": words, "number": number}
