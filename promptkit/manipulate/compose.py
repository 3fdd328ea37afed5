"""Composes a prompt and modifiers into one manipulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from promptkit.core.arrays import Array
from promptkit.core.errors import InputError
from promptkit.core.examples import Example, Part
from promptkit.core.inputs import KVPrefix, TextInput
from promptkit.core.manipulation import Apply, Ask, BindContext, InputTransform, Manipulation, Modifier
from promptkit.core.model import Card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Request
from promptkit.core.taxonomy import Kind

Manipulations = Manipulation | Sequence[Manipulation | Modifier]
"""What a predictor takes: a prompt, or a list that begins with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A prompt with changes of it."""

    prompt: Manipulation
    modifiers: tuple[Modifier, ...]
    slots: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """The modifiers fill all slots."""

    @property
    def kind(self) -> Kind:
        """That of the last change."""
        return self.modifiers[-1].kind

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those of the prompt."""
        return self.prompt.parts

    @property
    def models(self) -> tuple[str, ...]:
        """Those of the prompt."""
        return self.prompt.models

    def settings(self) -> Mapping[str, object]:
        """The prompt's, and each change's."""
        return {**self.prompt.settings(), "with": [dict(change.settings()) for change in self.modifiers]}

    def bind(self, bind_context: BindContext) -> BoundComposed:
        """All of them for one task and one model; the prompt leaves room for the changes, and is asked about with them."""
        narrowed = ReservedContextModel(bind_context.ask, sum(change.context_tokens for change in self.modifiers))
        changes = tuple(change.bind(bind_context) for change in self.modifiers)
        apply = self.prompt.bind(replace(bind_context, ask=narrowed, transform=in_turn((*changes, bind_context.transform))))
        return BoundComposed(prompt=apply, changes=changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundComposed:
    """A prompt with changes of it, for one task and one model."""

    prompt: Apply
    changes: tuple[InputTransform, ...]

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """See `Apply`."""
        return [self._changed(rendered) for rendered in self.prompt(examples, context_of=context_of)]

    def premise(self, example: Example) -> Rendered:
        """See `Apply.premise`."""
        return self._changed(self.prompt.premise(example))

    def _changed(self, rendered: Rendered) -> Rendered:
        return replace(rendered, input=in_turn(self.changes)(rendered.input))


def in_turn(changes: Sequence[InputTransform]) -> InputTransform:
    """One change after the other."""

    def put(prompt: TextInput) -> TextInput:
        for change in changes:
            prompt = change(prompt)
        return prompt

    return put


class ReservedContextModel:
    """A model of which a part of the context is taken."""

    def __init__(self, ask: Ask, taken: int) -> None:
        self._ask, self._taken = ask, taken

    @property
    def card(self) -> Card:
        """The model's, with less room."""
        return replace(self._ask.card, context_length=self._ask.card.context_length - self._taken)

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """The model's answers."""
        return self._ask(requests)

    def embed(self, ids: Sequence[int]) -> Array:
        """The model's embeddings."""
        return self._ask.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """The model's keys and values."""
        return self._ask.keys_values(ids)


def composed(manipulate: Manipulations) -> Manipulation:
    """One manipulation of a list. Raises InputError unless a prompt comes first, and changes alone behind it."""
    parts: list[Any] = [*manipulate] if isinstance(manipulate, Sequence) else [manipulate]
    if any(isinstance(part, type) for part in parts):
        raise InputError(
            "A predictor takes objects, but a class was given",
            code="class-not-object",
            got=[getattr(part, "__name__", type(part).__name__) for part in parts],
            hint='Write Prompt("..."), with parentheses',
            classes=tuple(part.__name__ for part in parts if isinstance(part, type)),
        )
    if not (parts and isinstance(parts[0], Manipulation) and all(isinstance(part, Modifier) for part in parts[1:])):
        raise InputError(
            "The manipulations of a predictor must be one prompt, followed by the manipulations that modify it",
            code="invalid-manipulations",
            got=[type(part).__name__ for part in parts],
            hint='Write [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)]',
            types=tuple(type(part).__name__ for part in parts),
        )
    first: Manipulation = parts[0]
    _check_slots(first.slots, parts[1:])
    return Composed(prompt=first, modifiers=tuple(parts[1:])) if parts[1:] else first


def _check_slots(slots: Mapping[str, int], changes: Sequence[Modifier]) -> None:
    """Raise unless each slot of the template is filled by one change, as long as the slot is."""
    fills = [each for change in changes for each in change.slots.items()]
    if sorted(fills) != sorted(slots.items()):
        raise InputError(
            "Each slot of a template needs exactly one soft prompt of the same length",
            code="slot-mismatch",
            got=f"slots {_told(slots.items())}; soft prompts {_told(fills)}",
            hint='Write {{ soft("task", 8) }} in the template, and pk.SoftPrompt(8, slot="task") or soft:length=8:slot=task',
            slots=tuple(slots.items()),
            soft_prompts=tuple(fills),
        )


def _told(slots: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} of length {count}" for name, count in slots) or "none"
