"""When two answers are the same: each normalisation maps a text to the form that is compared."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_AROUND_NUMBERS = str.maketrans("", "", "$£€,% \u00a0\u202f")


def exact(text: str) -> str:
    """Surrounding white space goes; nothing else."""
    return text.strip()


def words(text: str) -> str:
    """Case, ASCII punctuation, English articles and runs of white space go (Rajpurkar et al. 2016, 1606.05250)."""
    lower = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    bare = " ".join(_ARTICLES.sub(" ", lower).split())
    return bare or " ".join(lower.split())  # the answer may be the article


def number(text: str) -> str:
    """The value: thousands separators, currency, percent signs, trailing zeros and a final stop go; no number is as `words`."""
    try:
        value = Decimal(text.translate(_AROUND_NUMBERS).replace("\u2212", "-").removesuffix("."))
    except InvalidOperation:
        return words(text)
    return format(value.normalize() + 0, "f") if value.is_finite() else words(text)


NORMALISATIONS: Mapping[str, Callable[[str], str]] = {"exact": exact, "words": words, "number": number}
