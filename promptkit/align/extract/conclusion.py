r"""Finds where generated text states its answer: after "the answer is", `Answer:`, `####` or in `\boxed{...}`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptkit.align.extract.boxed import braced, strip_latex_style
from promptkit.align.extract.numbers import to_ascii

_NEXT_QUESTION = re.compile(
    r"(?<=\S)\s*(?:^[ \t#*]*|(?<=[.!?])\s+)"  # after some text, at the start of a line or sentence
    r"(?:next |new |another )?(?:question|q|problem|exercise|human|user|input)\s?#?\d*\**(?::|\.\s)",  # Q: | **Question 2**:
    re.IGNORECASE | re.MULTILINE,
)
"""The heading of a further question, with which a model continues after its answer."""
_STATEMENT = re.compile(
    r"""
    (?<!\bto\ )(?<!\bnot\ )(?<!n't\ )(?<!cannot\ ) \b(?:answers?|ans\b\.?)  # the answer; but no verb: "to answer", "not answer"
    (?:\ (?:to|for|of)\ [^.?!:=\n]{1,80}?)?                                 # the answer to the question
    (?:\s?\([^)\n]{1,60}\))?                                                # the answer (in meters)
    (?:,\ \w+,)? [\s*_]*                                                    # the answer, therefore,
    (?: (?:is|are|was|equals|(?:would|should|must|will|may|might|could)\ be)\b(?!n)  # is | would be; but not "isn't"
      | [:=] ) [\s*_:=]*                                                    # Answer: | **Answer:** | answer = 5
  | \#{4}\s*                                                                # #### 5, as in GSM8K
  | (?P<box>\\boxed\s*(?={))                                                # \boxed{5}
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Phrases that introduce an answer."""
_SENTENCE_END = re.compile(
    r"(?<!\b[A-Za-z])"  # not after an initial: J. Smith
    r"(?<!\b(?:St|Mr|Ms|Dr|Mt|Ft|Jr|Sr|No|Rs|vs|ca))(?<!\b(?:Mrs|etc))"  # not after an abbreviation: St. John
    r"[.!?](?=\s)|\n"
)
_NEGATION = re.compile(
    r"(?:\bnot|n't|\bneither|\bnor|\brather than|\binstead of|≠|!=)\s+(?:equal to\s+)?(?:option\s+)?\W{0,3}$", re.IGNORECASE
)
"""A negation directly before an answer: `not 5`, `rather than option (B`, `isn't equal to 5`."""
_NEGATION_WINDOW = 40
"""Characters before an answer that are searched for a negation."""
_FRAMES = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        # therefore, 5
        r"(?:therefore|thus|hence|then|simply|just|clearly|actually|probably|likely|indeed|still)\b[,:]?\s+(.+)",
        # not 4 but 5
        r"not\b.*?\bbut(?: rather)?\s+(.+)",
        # 5, not 4 | 5 (rather than 4)
        r"(.+?)\s*[,(;\u2013\u2014]\s*(?:and |but )?(?:not|rather than|instead of)\b.*",
        # 5 because ... | 5, which means ...
        r"(.+?),? (?:because|which is|which means)\b.*",
        # **5** | _5_ | `5` | $5$ | \(5\) | \[5\]
        r"\*+([^*]+)\*+|_+([^_]+)_+|`+([^`]+)`+|\$+([^$]+)\$+|\\\((.+)\\\)|\\\[(.+)\\\]",
        # "5" | '5' | “5” | ‘5’
        r"\"([^\"]+)\"|'([^']+)'|\u201c([^\u201d]+)\u201d|\u2018([^\u2019]+)\u2019",
    )
]
"""Words and markup around an answer; the answer is the group."""
_ANSWER_VERBS = "answer|determine|tell|say|solve|calculate|compute|know|help|assist|decide|choose|find|provide|give"
_REFUSAL = re.compile(
    rf"""
    \b(?: i\ (?:cannot|can't|can\ not|could\ not|couldn't|do\ not|don't) | i(?:\ am|'m)\ (?:unable|not\ able)\ to )
        \ (?:\w+\ )?(?:{_ANSWER_VERBS})\b                                   # I cannot determine | I'm not able to say
  | \bi(?:\ am|'m)\ not\ sure | \bi\ have\ no\ idea                         # I'm not sure
  | \b(?:cannot|can't|can\ not|could\ not|couldn't)\ be\ (?:determined|answered|calculated|computed|known|solved|found|inferred)
  | (?:\bnot|n't)\ (?:enough|sufficient)\ (?:information|data|context)      # not enough information
  | \binsufficient\ (?:information|data)
  | \b(?:impossible|not\ possible|no\ way)\ to\ (?:{_ANSWER_VERBS})\b       # impossible to tell
    """,
    re.IGNORECASE | re.VERBOSE,
)


def before_next_question(text: str) -> str:
    """Returns the part of a generated text before a further question that the model has invented."""
    heading = _NEXT_QUESTION.search(text)
    return text[: heading.start()] if heading else text


def conclusions(text: str) -> Iterator[str]:
    """Yields the stated answers of a text, the last one first; each extends to the end of its sentence or box."""
    text = before_next_question(text)
    end = len(text)
    for statement in reversed([*_STATEMENT.finditer(to_ascii(text))]):
        stated = braced(text, statement.end()) if statement["box"] else first_sentence(text[statement.end() : end])
        end = statement.start()
        if stated:
            yield stated


def first_sentence(text: str) -> str:
    """Returns the first sentence, or the first line if that is shorter."""
    text = text.lstrip()
    end = _SENTENCE_END.search(text)
    return (text[: end.start()] if end else text).strip()


def is_negated(prefix: str) -> bool:
    """Returns whether the text before an answer ends in a negation, such as `not` or `rather than`."""
    return _NEGATION.search(to_ascii(prefix[-_NEGATION_WINDOW:])) is not None


def declines_to_answer(text: str) -> bool:
    """Returns whether the first or the last sentence states that the question cannot be answered."""
    text = to_ascii(before_next_question(text)).strip()
    ends = [*_SENTENCE_END.finditer(text.rstrip(".!?"))]
    last_sentence = text[ends[-1].end() :] if ends else text
    return any(_REFUSAL.search(sentence) for sentence in (first_sentence(text), last_sentence))


def strip_framing(stated: str) -> str | None:
    """Returns a stated answer without surrounding words and markup: `thus **5**, not 4` -> `5`; None if nothing is left."""
    answer = stated
    while True:
        answer = strip_latex_style(answer.lstrip(" \t\n*:_\u2026").rstrip(" \t\n*.,;:_\u2026"))
        framed = next((match for frame in _FRAMES if (match := frame.fullmatch(answer))), None)
        if framed is None:
            return answer or None
        answer = next(filter(None, framed.groups()))
