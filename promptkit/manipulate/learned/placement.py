"""Places learned tokens and vectors among a prompt's tokens: the base class of soft prompts and trigger tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal

from promptkit.core.errors import InputError, unknown
from promptkit.core.inputs import Span, TextInput
from promptkit.core.requests import Prepared
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.base import LearnedManipulation

Place = Literal["after_bos", "start"]
TOKENS_PART = "tokens"
"""The name of the spans of trigger tokens in a prompt."""


@dataclass(frozen=True, slots=True)
class TokenManipulation(LearnedManipulation):
    """Learned tokens or vectors at one place in the prompt, or in a slot of its template."""

    length: int
    """The number of tokens or vectors."""
    _: KW_ONLY
    init: str = "vocabulary"
    """The initial parameters: one of `inits`, or a text of several words."""
    place: Place = "after_bos"
    """`after_bos`, after the BOS token if there is one, or `start`, before it, where PEFT places its vectors."""
    slot: str | None = None
    """The template slot to fill, wherever it occurs: `task` for `{{ soft("task", 8) }}`. By default `place` applies."""
    seed: int = 0
    """The seed of the initial parameters."""

    inits: ClassVar[Sequence[str]]
    """The named initializations."""
    part: ClassVar[str]
    """The name of their spans in a prompt."""

    def _check_settings(self) -> None:
        check_initialization(self.title, self.length, self.init, self.inits)
        check_slot(self.slot, self.place)

    def _sizes(self) -> Mapping[str, int]:
        return {"length": self.length}

    @property
    def context_tokens(self) -> int:
        """The number of tokens that it adds to the prompt; 0 in a slot, whose tokens the prompt counts already."""
        return 0 if self.slot else self.length

    @property
    def slots(self) -> Mapping[str, int]:
        """The template slot that it fills, if any: name -> length."""
        return {self.slot: self.length} if self.slot else {}

    def _placement_settings(self) -> Mapping[str, object]:
        return {"length": self.length, **({"slot": self.slot} if self.slot else {"place": self.place})}

    def _initial_settings(self) -> Mapping[str, object]:
        return {"init": self.init, "seed": self.seed}

    def _with_ids(self, prepared: Prepared, ids: Sequence[int], bos: tuple[int, ...]) -> Prepared:
        """Returns a copy whose prompt has the ids in its slot or at its place."""
        prompt = prepared.text
        if self.slot:
            changed = fill_slot(prompt, ids, f"{SLOT_PART} {self.slot}")
        else:
            changed = splice(prompt, ids, insertion_index(prompt, self.place, bos), part=self.part)
        return replace(prepared, input=changed)


def check_initialization(title: str, length: int, init: str, inits: Sequence[str]) -> None:
    """Raises InputError unless the length is positive, and `init` is one of `inits` or a text of several words."""
    if length < 1:
        raise InputError(
            f"The length of {title} must be at least 1", code="out-of-range", got=f"length={length!r}", length=length
        )
    if init not in inits and len(init.split()) < 2:
        hint = "Or give a text of several words: init=Classify the review."
        raise unknown(f"init of {title}", init, inits, hint=hint)


def check_slot(slot: str | None, place: Place) -> None:
    """Raises InputError for an empty slot name, and for a slot combined with a place."""
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


def splice(prompt: TextInput, ids: Sequence[int], at: int, *, part: str) -> TextInput:
    """Returns the prompt with the ids inserted before token `at`, as a span named `part`."""
    count = len(ids)
    spans: list[Span] = []
    for span in prompt.spans:
        if span.start < at:
            spans.append(replace(span, stop=min(span.stop, at)))
    spans.append(Span(part=part, start=at, stop=at + count))
    for span in prompt.spans:
        if span.stop > at:
            spans.append(replace(span, start=max(span.start, at) + count, stop=span.stop + count))
    return replace(prompt, ids=(*prompt.ids[:at], *ids, *prompt.ids[at:]), spans=tuple(spans))


def fill_slot(prompt: TextInput, ids: Sequence[int], part: str) -> TextInput:
    """Returns the prompt with the ids in every span named `part`."""
    filled = [*prompt.ids]
    for span in prompt.spans:
        if span.part == part:
            filled[span.start : span.stop] = [ids[index % len(ids)] for index in range(span.stop - span.start)]
    return replace(prompt, ids=tuple(filled))


def insertion_index(prompt: TextInput, place: Place, bos: tuple[int, ...]) -> int:
    """Returns the index before which learned tokens are inserted: after those that were inserted at the place earlier."""
    at = _skip_learned(prompt, 0)
    if place == "after_bos" and prompt.ids[at : at + len(bos)] == bos:
        at = _skip_learned(prompt, at + len(bos))
    return at


def _skip_learned(prompt: TextInput, at: int) -> int:
    """Returns the first index from `at` on that is not in a learned span."""
    for span in prompt.spans:
        if span.start == at and span.part.partition(" ")[0] in (SLOT_PART, TOKENS_PART):
            at = span.stop
    return at
