"""Instructions derived from a task's labels or answer format.

They are plain texts, so they can be joined with any other instruction: `joined("Judge the review.", answer_format(words))`.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError
from promptkit.core.output_reader import OutputReader


@check_arguments("instructions.label_space")
def label_space(words: Sequence[str]) -> str:
    """Returns an instruction that lists the labels.

    Args:
        words: At least two label words, none of them empty.

    Raises:
        InputError: `words` is a single string, has fewer than two words, or has an empty one.

    >>> label_space(["negative", "neutral", "positive"])
    'The labels are negative, neutral and positive.'
    """
    *rest, last = _checked_words(words)
    return f"The labels are {', '.join(rest)} and {last}."


@check_arguments("instructions.answer_format")
def answer_format(words: Sequence[str]) -> str:
    """Returns an instruction to answer with one of the label words.

    Args:
        words: At least two label words, none of them empty.

    Raises:
        InputError: `words` is a single string, has fewer than two words, or has an empty one.

    >>> answer_format(["negative", "positive"])
    'Answer with one of: negative, positive.'
    """
    return f"Answer with one of: {', '.join(_checked_words(words))}."


def number_format() -> str:
    """Returns an instruction to answer with a number."""
    return "Answer with a number."


@check_arguments("instructions.joined")
def joined(*statements: str) -> str:
    """Joins instructions with spaces, without the empty ones."""
    return " ".join(filter(None, map(str.strip, statements)))


@check_arguments("instructions.statements")
def statements(reader: OutputReader) -> tuple[str, ...]:
    """Returns the instructions that follow from how answers are read; none if each row has its own answers."""
    words = tuple(reader.label_words().values())
    if words:
        return label_space(words), answer_format(words)
    return (number_format(),) if reader.name == "final_number" else ()


def _checked_words(words: Sequence[str]) -> Sequence[str]:
    if isinstance(words, str) or len(words) < 2 or not all(words):
        raise InputError(
            "A list of label words must have at least two words, and none of them empty",
            code="invalid-label-words",
            got=repr(words),
            words=words if isinstance(words, str) else tuple(words),
        )
    return words
