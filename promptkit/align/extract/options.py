"""Finds the choice that generated text makes: one of several lettered options, or yes or no."""

from __future__ import annotations

import re
from collections.abc import Collection

from promptkit.align.extract.conclusion import before_next_question, conclusions, declines_to_answer, is_negated
from promptkit.align.extract.numbers import to_ascii

_STATED_LETTER = re.compile(
    r"""
    (?<![A-Za-z0-9.])(?<![A-Za-z]')(?:
        \(([A-Za-z])\)                                           # (B)
      | ([A-Z])(?![A-Za-z0-9]|\.[A-Za-z]|'[a-z])                 # B
            (?!\ (?!because|since|as\b|is\b|and\b|or\b)[a-z])    # but not an article or a pronoun: A dog | I think
      | ([a-z])(?=\)|[.:]?\W*$)                                  # b) | b.
    )
    (?P<second>[)*\s]*(?:/|&|\band\b|\bor\b)\s*(?:option\ )?\(?[A-Z]\b(?!'))?  # and C | or (C
    """,
    re.VERBOSE,
)
"""A letter in a stated answer, and whether another one follows."""
_LEADING_LETTER = r"[ \t*_]*(?i:option )?\(?([A-Z])(?:[),:]|\.(?!\w)|(?= -| because| since))"
"""A letter at the start of a line: `B)`, `**(B)`, `Option B:`, `B because`."""
_CONCLUSIONS = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # (B) is the correct answer
        r"\b([A-Z])\W{1,4}is (?:clearly |therefore )?(?:the )?(?:correct|right|best|true|final|answer)\b",
        # I choose option B | Choice: B
        r"\b(?i:choose|select|pick|go with|opt for|(?:option|choice)(?: is|:)) (?:option )?\W{0,4}([A-Z])\b(?!')",
        # so it must be (B) | only (B) fits | Actually, B. | most likely B
        r"\b(?i:so|therefore|thus|hence|must be|only|actually|most likely|finally)\b[:,]? "
        r"(?i:it is |it's |it must be |the option )?(?:(?i:option) )?\W{0,3}"
        r"(?<![A-Za-z0-9'])([A-Z])(?=[)*_]*(?:[\s.!,]|$))(?! [a-z])",
        r"\b(?i:so|therefore|thus|hence|must be|only|actually)\b[:,]? (?i:it is |it's |it must be )?\(([A-Z])\)",
        # leaving D | which leaves only option (D)
        r"\b(?i:leaving|leaves) (?:us with )?(?:only |just )?(?i:option )?\W{0,3}([A-Z])\b(?!'|\W{0,3} out\b)",
    )
]
"""How a text concludes with an option without the word answer, the most reliable pattern first. The last match counts."""
_MENTIONS = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # a letter alone on its line: **b**
        r"^[^\w\n]*([A-Za-z])[^\w\n]*$",
        # a letter that starts the text: B) because ...
        rf"\A{_LEADING_LETTER}",
        # in parentheses, or at the end of a sentence: ... (B) | ... it is B.
        r"(?<!^)\(([A-Z])\)|(?<!^)(?<![A-Za-z0-9'./])([A-Z])(?=[\s*_]*(?:[.!](?!\w)|\n|$))",
    )
]
"""Where an option is only named, the most reliable pattern first. It is the answer if it is the only one."""
_LISTED = re.compile(r"(?:\A|[\n.;,]\s*)[ \t*_]*(?i:option )?\(?([A-Z])(?:\)|:|\.(?=\s))")
"""The letter of an item in a list of options: `(A) red, (B) blue`."""
_HEDGE = r"(?:(?:maybe|perhaps|possibly|either|option) )?"
_JOINED_BEFORE = re.compile(rf"(?<![\w'])[A-Z][)*_]*\s*(?:,|/|&|\band\b|\bor\b)\s*{_HEDGE}\W{{0,3}}$")
_JOINED_AFTER = re.compile(
    rf"[)*_\s]*(?:,|/|&|\band\b|\bor\b)\s*{_HEDGE}\(?[A-Z](?:\)|(?=[,./&!?]|\s*$|\s+(?:or|and)\b))", re.MULTILINE
)
"""Another letter before or after one, so that the text names both: `A or B`, `(A)/(B)`."""
_LISTED_LETTERS = r"(?:\W{0,3}[A-Z][)*_]*(?:\s*(?:,|/|&)\s*|\s+)(?:(?:and|or)\s+)?)*"
_ELIMINATED_BEFORE = re.compile(
    r"\b(?i:(?:rul(?:e[sd]?|ing)|cross(?:e[sd]|ing)?) out|(?:eliminat|exclud)(?:e[sd]?|ing)|(?:discard|reject)(?:s|ed|ing)?"
    rf"|dismiss(?:e[sd]|ing)?|anything but) (?i:options? )?{_LISTED_LETTERS}\W{{0,3}}$"
)
"""A phrase before a letter that eliminates its option: `rules out C`, `eliminates (A) and (B`."""
_ELIMINATED_AFTER = re.compile(
    r"[)*_\s]*(?:(?:,|and|or)[\s(*_]*[A-Z][)*_\s]*)*(?:is|are|was|were|gets?|(?:can|could|must|should|may) be|ha(?:s|ve) been) "
    r"(?:\w+ )?(?:ruled out|crossed out|eliminated|excluded|discarded|rejected|dismissed)\b"
)
"""A phrase after a letter that eliminates its option: `C is ruled out`."""
_ELIMINATION_WINDOW = 60
"""Characters before a letter that are searched for a phrase that eliminates it."""
_YES_NO = re.compile(
    r"\b(?:(yes|yeah|yep)|nope|nah"
    r"|no(?!\.?\ ?\d)"  # but not before a number: No. 5
    r"(?=[\s*_\"')}\]]*(?:[,.;:!?\u2013\u2014-]|\Z|\n|because|since|as\b|and\b|but\b)))\b",  # nor before a noun: no dogs
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"\b(?:yes|no)\b\W{0,3}(?:/|\bor\b|\band\b)\W{0,3}\b(?:yes|no)\b", re.IGNORECASE)
"""Both words together, which is no choice: `yes or no`, `Yes/No`."""
_THEREFORE = re.compile(
    r"\b(?:so|therefore|thus|hence|actually)\b[:,]? (?:it is |it's )?(?=\W{0,3}(?:yes|no)\b)", re.IGNORECASE
)
"""Phrases that introduce a concluding yes or no: `so it's no`."""


def find_option(text: str, options: Collection[str] = ()) -> str | None:
    """Finds the option that a text chooses.

    Args:
        text: The generated text.
        options: The letters of the options, in upper case; empty to allow any letter.

    Returns:
        The letter in upper case, or None if the text chooses none of the options, or several.
    """
    text = to_ascii(before_next_question(text)).strip()
    for stated in conclusions(text):
        for match in _STATED_LETTER.finditer(stated):
            group = next(number for number in (1, 2, 3) if match[number])
            if is_negated(stated[: match.start()]) or _is_eliminated(stated, *match.span(group)):
                continue
            letter = match[group].upper()
            return None if match["second"] or (options and letter not in options) else letter
    return None if declines_to_answer(text) else _named_option(text, options)


def _named_option(text: str, options: Collection[str]) -> str | None:
    """Returns the option that the text concludes with, or else the only one that it names."""
    for pattern in _CONCLUSIONS:
        letters = _letters(pattern, text, options, joined=False)
        if letters:
            return letters[-1]
    if len({match[1] for match in _LISTED.finditer(text)}) > 1:
        return _only(_letters(_MENTIONS[0], text, options, joined=False))
    for pattern in _MENTIONS:
        letters = _letters(pattern, text, options, joined=True)
        if letters:
            return _only(letters)
    return None


def _only(letters: Collection[str]) -> str | None:
    """Returns the letter if there is only one."""
    distinct = {*letters}
    return distinct.pop() if len(distinct) == 1 else None


def _letters(pattern: re.Pattern[str], text: str, options: Collection[str], *, joined: bool) -> list[str]:
    """Returns the options that a pattern finds and that are not negated.

    Args:
        pattern: The pattern, with one group that matches.
        text: The text.
        options: The letters of the options; empty to allow any letter.
        joined: Whether a letter that is joined to another one, as in `A or B`, counts as both, so that neither is the only one.
    """
    letters = []
    for match in pattern.finditer(text):
        group = match.lastindex or 0
        before, letter, after = text[: match.start(group)], str(match[group]).upper(), text[match.end(group) :]
        if is_negated(text[: match.start()]) or (options and letter not in options):
            continue
        if _is_eliminated(text, *match.span(group)):
            continue
        if _JOINED_BEFORE.search(before) or _JOINED_AFTER.match(after):
            letters += [letter, ""] if joined else []
        else:
            letters.append(letter)
    return letters


def _is_eliminated(text: str, start: int, stop: int) -> bool:
    """Returns whether the text rules out the option whose letter is at that place."""
    before = text[max(0, start - _ELIMINATION_WINDOW) : start]
    return _ELIMINATED_BEFORE.search(before) is not None or _ELIMINATED_AFTER.match(text, stop) is not None


def find_yes_no(text: str) -> str | None:
    """Finds the yes or no that a text decides for.

    Returns:
        `yes` or `no` from a stated answer or a conclusion, or else from the first word of the text, or else the last of these
        words; None if the text has none of them.
    """
    text = _YES_OR_NO.sub("", to_ascii(before_next_question(text))).strip()
    inferred = [text[match.end() :] for match in reversed([*_THEREFORE.finditer(text)])]
    for stated in (*conclusions(text), *inferred):
        words = _yes_no_words(stated)
        if words:
            return words[0][1]
    words = [] if declines_to_answer(text) else _yes_no_words(text)
    if not words:
        return None
    is_first_word = not re.search(r"\w", text[: words[0][0]])
    return words[0 if is_first_word else -1][1]


def _yes_no_words(text: str) -> list[tuple[int, str]]:
    """Returns the start and the meaning of each yes and no that is not negated."""
    words = [(match.start(), "yes" if match[1] else "no") for match in _YES_NO.finditer(text)]
    return [(start, word) for start, word in words if not is_negated(text[:start])]
