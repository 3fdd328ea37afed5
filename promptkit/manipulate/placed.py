"""Where what is learned stands among a prompt's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from promptkit.errors import PromptkitError, unknown
from promptkit.render import SLOT_PART
from promptkit.types import Span, TextInput

Place = Literal["after_bos", "start"]
TOKENS_PART = "tokens"
"""The part of a prompt that discrete tokens which were learned are."""


def check_beginning(kind: str, length: int, init: str, inits: Sequence[str]) -> None:
    """Refuse what has no length, and what begins as neither something known nor a text of several words."""
    if length < 1:
        raise PromptkitError(f"The length of {kind} is 1 at least", got=f"length={length!r}")
    if init not in inits and len(init.split()) < 2:
        hint = "Or write a text of several words: init=Classify the review."
        raise unknown(f"beginning of {kind}", init, inits, hint=hint)


def check_slot(slot: str | None, place: Place) -> None:
    """Refuse a slot without a name, and a place besides it."""
    if slot == "":
        raise PromptkitError("A slot of a template has a name", got="slot=''", hint="Write slot=task, or leave it out")
    if slot and place != "after_bos":
        raise PromptkitError("A slot stands where the template says", got=f"slot={slot}, place={place}", hint="Leave one out")


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
