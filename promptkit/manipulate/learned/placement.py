"""Where what is learned stands among a prompt's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from promptkit.core.errors import InputError, unknown
from promptkit.core.inputs import Span, TextInput
from promptkit.inputs.text.encoding import SLOT_PART

Place = Literal["after_bos", "start"]
TOKENS_PART = "tokens"
"""The part of a prompt that discrete tokens which were learned are."""


def check_beginning(kind: str, length: int, init: str, inits: Sequence[str]) -> None:
    """Refuse what has no length, and what begins as neither something known nor a text of several words."""
    if length < 1:
        raise InputError(
            f"The length of {kind} must be at least 1", code="out-of-range", got=f"length={length!r}", length=length
        )
    if init not in inits and len(init.split()) < 2:
        hint = "Or give a text of several words: init=Classify the review."
        raise unknown(f"init of {kind}", init, inits, hint=hint)


def check_slot(slot: str | None, place: Place) -> None:
    """Refuse a slot without a name, and a place besides it."""
    if slot == "":
        raise InputError(
            "The name of a slot must not be empty",
            code="empty-name",
            got="slot=''",
            hint="Write slot=task, or leave it out",
            slot=slot,
        )
    if slot and place != "after_bos":
        raise InputError(
            "A slot and a place cannot be given together: the template determines where a slot is",
            code="conflicting-options",
            got=f"slot={slot}, place={place}",
            hint="Leave one out",
            slot=slot,
            place=place,
        )


def spliced(prompt: TextInput, more: Sequence[int], at: int, *, part: str) -> TextInput:
    """The prompt with more ids before its token `at`, as a span of their own."""
    count = len(more)
    spans: list[Span] = []
    for span in prompt.spans:
        if span.start < at:
            spans.append(replace(span, stop=min(span.stop, at)))
    spans.append(Span(part=part, start=at, stop=at + count))
    for span in prompt.spans:
        if span.stop > at:
            spans.append(replace(span, start=max(span.start, at) + count, stop=span.stop + count))
    return replace(prompt, ids=(*prompt.ids[:at], *more, *prompt.ids[at:]), spans=tuple(spans))


def place_of(prompt: TextInput, place: Place, bos: tuple[int, ...]) -> int:
    """Where in a prompt more is put: behind what was put there before."""
    at = _behind_learned(prompt, 0)
    if place == "after_bos" and prompt.ids[at : at + len(bos)] == bos:
        at = _behind_learned(prompt, at + len(bos))
    return at


def _behind_learned(prompt: TextInput, at: int) -> int:
    """The first place from `at` on where nothing learned stands."""
    for span in prompt.spans:
        if span.start == at and span.part.partition(" ")[0] in (SLOT_PART, TOKENS_PART):
            at = span.stop
    return at
