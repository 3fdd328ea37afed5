"""Texts of an instruction that follow from the answers there are: which labels, and in what form.

An instruction of one's own is any text: `Prompt(..., instruction="...")`. These are texts too, so that they are put together
with it and recorded as they are read: `joined("Judge the review.", answer_format(words))`. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.alignment import OutputReader
from promptkit.core.errors import InputError


def label_space(words: Sequence[str]) -> str:
    """Which labels there are.

    >>> label_space(["negative", "neutral", "positive"])
    'The labels are negative, neutral and positive.'
    """
    *rest, last = _words(words)
    return f"The labels are {', '.join(rest)} and {last}."


def answer_format(words: Sequence[str]) -> str:
    """What is to be answered, word by word.

    >>> answer_format(["negative", "positive"])
    'Answer with one of: negative, positive.'
    """
    return f"Answer with one of: {', '.join(_words(words))}."


def number_format() -> str:
    """That a number is to be answered."""
    return "Answer with a number."


def joined(*statements: str) -> str:
    """One instruction of several, empty ones left out."""
    return " ".join(filter(None, map(str.strip, statements)))


def statements(reading: OutputReader) -> tuple[str, ...]:
    """The instructions that follow from how answers are read alone; none where each row has words of its own."""
    words = tuple(reading.label_words().values())
    if words:
        return label_space(words), answer_format(words)
    return (number_format(),) if reading.name == "final_number" else ()


def _words(words: Sequence[str]) -> Sequence[str]:
    if isinstance(words, str) or len(words) < 2 or not all(words):
        raise InputError(
            "A list of label words must have at least two words, and none of them empty",
            code="invalid-label-words",
            got=repr(words),
            words=words if isinstance(words, str) else tuple(words),
        )
    return words
