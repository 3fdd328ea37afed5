"""Where a text says what it comes to: behind its last "answer is", in front of a question that the model makes up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptkit.align.extract.boxed import braced, unstyled
from promptkit.align.extract.numbers import plain

_QUESTION = re.compile(
    r"(?<=\S)\s*(?:^[ \t#*]*|(?<=[.!?])\s+)"
    r"(?:next |new |another )?(?:question|q|problem|exercise|human|user|input)\s?#?\d*\**(?::|\.\s)",
    re.IGNORECASE | re.MULTILINE,
)
"""A heading that begins a further question, behind a text of one's own."""
_SIGN = re.compile(
    r"""
    (?<!\bto\ )(?<!\bnot\ )(?<!n't\ )(?<!cannot\ ) \b(?:answers?|ans\b\.?)
    (?:\ (?:to|for|of)\ [^.?!:=\n]{1,80}?)? (?:\s?\([^)\n]{1,60}\))? (?:,\ \w+,)? [\s*_]*
    (?: (?:is|are|was|equals|(?:would|should|must|will|may|might|could)\ be)\b(?!n) | [:=] ) [\s*_:=]*
  | \#{4}\s*
  | (?P<box>\\boxed\s*(?={))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_END = re.compile(r"(?<!\b[A-Za-z])(?<!\b(?:St|Mr|Ms|Dr|Mt|Ft|Jr|Sr|No|Rs|vs|ca))(?<!\b(?:Mrs|etc))[.!?](?=\s)|\n")
"""Where a sentence ends; not behind an initial or an abbreviation."""
_DENIAL = re.compile(
    r"(?:\bnot|n't|\bneither|\bnor|\brather than|\binstead of|≠|!=)\s+(?:equal to\s+)?(?:option\s+)?\W{0,3}$", re.IGNORECASE
)
_FRAMES = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        r"(?:therefore|thus|hence|then|simply|just|clearly|actually|probably|likely|indeed|still)\b[,:]?\s+(.+)",
        r"not\b.*?\bbut(?: rather)?\s+(.+)",
        r"(.+?)\s*[,(;\u2013\u2014]\s*(?:and |but )?(?:not|rather than|instead of)\b.*",
        r"(.+?),? (?:because|which is|which means)\b.*",
        r"\*+([^*]+)\*+|_+([^_]+)_+|`+([^`]+)`+|\$+([^$]+)\$+|\\\((.+)\\\)|\\\[(.+)\\\]",
        r"\"([^\"]+)\"|'([^']+)'|\u201c([^\u201d]+)\u201d|\u2018([^\u2019]+)\u2019",
    )
]
"""What may stand around an answer, and in its midst what is left."""
NEAR = 40
"""Characters before an answer in which it may be denied."""
_TRY = "answer|determine|tell|say|solve|calculate|compute|know|help|assist|decide|choose|find|provide|give"
_REFUSAL = re.compile(
    rf"""
    \b(?: i\ (?:cannot|can't|can\ not|could\ not|couldn't|do\ not|don't) | i(?:\ am|'m)\ (?:unable|not\ able)\ to )
        \ (?:\w+\ )?(?:{_TRY})\b
  | \bi(?:\ am|'m)\ not\ sure | \bi\ have\ no\ idea
  | \b(?:cannot|can't|can\ not|could\ not|couldn't)\ be\ (?:determined|answered|calculated|computed|known|solved|found|inferred)
  | (?:\bnot|n't)\ (?:enough|sufficient)\ (?:information|data|context) | \binsufficient\ (?:information|data)
  | \b(?:impossible|not\ possible|no\ way)\ to\ (?:{_TRY})\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def own(text: str) -> str:
    """The text up to where it goes on with a question of its own making."""
    begun = _QUESTION.search(text)
    return text[: begun.start()] if begun else text


def conclusions(text: str) -> Iterator[str]:
    """What stands behind each "answer is", `Answer:`, `####` and `\\boxed` in their sentence, the last first."""
    mine = own(text)
    end = len(mine)
    for sign in reversed([*_SIGN.finditer(plain(mine))]):
        said = braced(mine, sign.end()) if sign["box"] else sentence(mine[sign.end() : end])
        end = sign.start()
        if said:
            yield said


def sentence(text: str) -> str:
    """The first sentence, or the line if that is shorter."""
    begun = text.lstrip()
    end = _END.search(begun)
    return (begun[: end.start()] if end else begun).strip()


def denied(before: str) -> bool:
    """Whether what follows a text is said not to be so: `not 5`, `rather than 5`."""
    return _DENIAL.search(plain(before[-NEAR:])) is not None


def refuses(text: str) -> bool:
    """Whether a text begins or ends by saying that there is no answer."""
    mine = plain(own(text)).strip()
    ends = [*_END.finditer(mine.rstrip(".!?"))]
    return any(_REFUSAL.search(part) for part in (sentence(mine), mine[ends[-1].end() :] if ends else mine))


def bare(said: str) -> str | None:
    """What is left of a conclusion without the words and marks around it; None if that is nothing."""
    left = said
    while True:
        left = unstyled(left.lstrip(" \t\n*:_\u2026").rstrip(" \t\n*.,;:_\u2026"))
        framed = next((match for frame in _FRAMES if (match := frame.fullmatch(left))), None)
        if framed is None:
            return left or None
        left = next(filter(None, framed.groups()))
