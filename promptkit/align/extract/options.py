"""What a text decides for: one of several lettered options, or yes or no. None where it decides for nothing, or for both."""

from __future__ import annotations

import re
from collections.abc import Collection

from promptkit.align.extract.conclusion import conclusions, denied, own, refuses
from promptkit.align.extract.numbers import plain

_LETTER = re.compile(
    r"""
    (?<![A-Za-z0-9.])(?<![A-Za-z]')(?:
        \(([A-Za-z])\)
      | ([A-Z])(?![A-Za-z0-9]|\.[A-Za-z]|'[a-z])(?!\ (?!because|since|as\b|is\b|and\b|or\b)[a-z])
      | ([a-z])(?=\)|[.:]?\W*$)
    )(?P<another>[)*\s]*(?:/|&|\band\b|\bor\b)\s*(?:option\ )?\(?[A-Z]\b(?!'))?
    """,
    re.VERBOSE,
)
"""A letter behind "answer is". A capital before a word in small letters is an article or a pronoun, and no option."""
_HEAD = r"[ \t*_]*(?i:option )?\(?([A-Z])(?:[),:]|\.(?!\w)|(?= -| because| since))"
_OPTIONS = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"\b([A-Z])\W{1,4}is (?:clearly |therefore )?(?:the )?(?:correct|right|best|true|final|answer)\b",
        r"\b(?i:choose|select|pick|go with|opt for|(?:option|choice)(?: is|:)) (?:option )?\W{0,4}([A-Z])\b(?!')",
        r"^[^\w\n]*([A-Za-z])[^\w\n]*$",
        rf"\A{_HEAD}(?!(?s:.)*\n{_HEAD})",
        r"(?<!^)\(([A-Z])\)|(?<!^)(?<![A-Za-z0-9'./])([A-Z])(?=[\s*_]*(?:[.!](?!\w)|\n|$))",
    )
]
"""Elsewhere, the most telling first: `(B) is right`; `I choose B`; a line of its own; the text's first, unless it begins a
list; any in brackets or at the end of a sentence."""
_YES_NO = re.compile(
    r"\b(?:(yes|yeah|yep)|nope|nah"
    r"|no(?!\.?\ ?\d)(?=[\s*_\"')}\]]*(?:[,.;:!?\u2013\u2014-]|\Z|\n|because|since|as\b|and\b|but\b)))\b",
    re.IGNORECASE,
)
"""`no` before a noun denies the noun, and `No. 5` is a number."""
_BOTH = re.compile(r"\b(?:yes|no)\b\W{0,3}(?:/|\bor\b|\band\b)\W{0,3}\b(?:yes|no)\b", re.IGNORECASE)
_THEREFORE = re.compile(
    r"\b(?:so|therefore|thus|hence|actually)\b[:,]? (?:it is |it's )?(?=\W{0,3}(?:yes|no)\b)", re.IGNORECASE
)


def letter(text: str, offered: Collection[str] = ()) -> str | None:
    """The option, as a capital, that a text decides for; of those `offered`, if any are."""
    mine = plain(own(text)).strip()
    for said in conclusions(mine):
        named = next((match for match in _LETTER.finditer(said) if not denied(said[: match.start()])), None)
        if named is not None:
            name = str(named[1] or named[2] or named[3]).upper()
            return None if named["another"] or (offered and name not in offered) else name
    for option in _OPTIONS if not refuses(mine) else ():
        found = [(mine[: match.start()], str(match[match.lastindex or 0])) for match in option.finditer(mine)]
        names = [name for before, name in found if not denied(before) and (not offered or name.upper() in offered)]
        if names:
            return names[-1].upper()
    return None


def yes_or_no(text: str) -> str | None:
    """`yes` or `no`."""
    mine = _BOTH.sub("", plain(own(text))).strip()
    therefore = [mine[match.end() :] for match in reversed([*_THEREFORE.finditer(mine)])]
    for said in (*conclusions(mine), *therefore):
        words = _words(said)
        if words:
            return words[0][1]
    words = [] if refuses(mine) else _words(mine)
    begins = bool(words) and not re.search(r"\w", mine[: words[0][0]])
    return words[0 if begins else -1][1] if words else None


def _words(text: str) -> list[tuple[int, str]]:
    """Every yes and no that is not denied, with its place."""
    found = [(match.start(), "yes" if match[1] else "no") for match in _YES_NO.finditer(text)]
    return [(place, word) for place, word in found if not denied(text[:place])]
