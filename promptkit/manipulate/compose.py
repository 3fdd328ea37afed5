"""Composes a prompt and modifiers into one manipulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.core.arrays import Array
from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.examples import Example, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.interventions import KVPrefix
from promptkit.core.manipulation import Ask, BindContext, Encode, Manipulation, Modifier, Transform
from promptkit.core.model import ModelCard, text_card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Prepared, Request
from promptkit.core.taxonomy import Kind

Manipulations = Manipulation | Sequence[Manipulation | Modifier]
"""The manipulations of a predictor: a prompt, or a list of a prompt and its modifiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A prompt with modifiers."""

    prompt: Manipulation
    """Renders the rows."""
    modifiers: tuple[Modifier, ...]
    """Applied to each rendered prompt, in order."""

    @property
    def kind(self) -> Kind:
        """The taxonomy coordinates of the last modifier."""
        return self.modifiers[-1].kind

    @property
    def requires(self) -> frozenset[Feature]:
        """What the prompt requires."""
        return self.prompt.requires

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the train split that the prompt reads."""
        return self.prompt.parts

    @property
    def fitted_on(self) -> frozenset[Fingerprint]:
        """The labeled rows of the prompt and of its modifiers."""
        return self.prompt.fitted_on.union(*(modifier.fitted_on for modifier in self.modifiers))

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that the prompt queries."""
        return self.prompt.models

    @property
    def slots(self) -> Mapping[str, int]:
        """No slots are left, because the modifiers fill all of them."""
        return {}

    @property
    def variables(self) -> frozenset[str]:
        """The variables that the prompt shows."""
        return self.prompt.variables

    def settings(self) -> Mapping[str, object]:
        """Returns the settings of the prompt and, under `with`, of each modifier."""
        return {**self.prompt.settings(), "with": [dict(modifier.settings()) for modifier in self.modifiers]}

    def bind(self, bind_context: BindContext) -> BoundComposed:
        """Binds prompt and modifiers to one task and one model.

        The prompt reserves context for the modifiers, and its own queries to the model have them applied.
        """
        transforms = self._transforms(bind_context)
        return BoundComposed(prompt=self.prompt.bind(self._prompt_context(bind_context, transforms)), transforms=transforms)

    def fit(self, bind_context: BindContext) -> Composed:
        """Returns the composition with the prompt fitted, and the same modifiers."""
        transforms = self._transforms(bind_context)
        return replace(self, prompt=self.prompt.fit(self._prompt_context(bind_context, transforms)))

    def _transforms(self, bind_context: BindContext) -> tuple[Transform, ...]:
        return tuple(modifier.bind(bind_context) for modifier in self.modifiers)

    def _prompt_context(self, bind_context: BindContext, transforms: Sequence[Transform]) -> BindContext:
        """Returns what the prompt may use: less context, and a model whose requests are transformed."""
        reserved = ReservedContextModel(bind_context.ask, sum(modifier.context_tokens for modifier in self.modifiers))
        return replace(bind_context, ask=reserved, transform=chain_transforms((*transforms, bind_context.transform)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundComposed:
    """A prompt with modifiers, bound to one task and one model."""

    prompt: Encode
    """Renders the rows."""
    transforms: tuple[Transform, ...]
    """The bound modifiers."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """Renders rows and applies the modifiers; see `Encode.__call__`."""
        return [self._transform(rendered) for rendered in self.prompt(examples, context_of=context_of)]

    def premise(self, example: Example) -> Rendered:
        """Renders the domain premise and applies the modifiers; see `Encode.premise`."""
        return self._transform(self.prompt.premise(example))

    def _transform(self, rendered: Rendered) -> Rendered:
        return rendered.modified(chain_transforms(self.transforms))


def without_modifiers(manipulation: Manipulation) -> Manipulation:
    """Returns the manipulation that encodes rows, without the modifiers that follow it."""
    return manipulation.prompt if isinstance(manipulation, Composed) else manipulation


def chain_transforms(transforms: Sequence[Transform]) -> Transform:
    """Returns the composition of transforms, the first applied first."""

    def transform(prepared: Prepared) -> Prepared:
        for step in transforms:
            prepared = step(prepared)
        return prepared

    return transform


class ReservedContextModel:
    """A view of a model with part of its context reserved."""

    def __init__(self, ask: Ask, reserved: int) -> None:
        """`reserved` is the number of tokens by which the context is shortened."""
        self._ask, self._reserved = ask, reserved

    @property
    def card(self) -> ModelCard:
        """The model's card, with the shortened context."""
        if not self._reserved:
            return self._ask.card
        card = text_card(self._ask.card)
        return replace(card, context_length=card.context_length - self._reserved)

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """Returns the model's outputs."""
        return self._ask(requests)

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the model's embeddings of tokens."""
        return self._ask.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the model's keys and values of tokens."""
        return self._ask.keys_values(ids)


def composed(manipulate: Manipulations) -> Manipulation:
    """Composes a list of manipulations into one.

    Args:
        manipulate: A prompt, or a list of a prompt followed by modifiers.

    Raises:
        InputError: A class was given in place of an object, the list does not have this order, or the slots of the template
            do not match the modifiers.
    """
    parts = (*manipulate,) if isinstance(manipulate, Sequence) else (manipulate,)
    _check_objects(parts)
    first, *rest = parts or (None,)
    modifiers = tuple(part for part in rest if isinstance(part, Modifier))
    if not isinstance(first, Manipulation) or len(modifiers) != len(rest):
        raise InputError(
            "The manipulations of a predictor must be one prompt, followed by the manipulations that modify it",
            code="invalid-manipulations",
            got=[type(part).__name__ for part in parts],
            hint='Write [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)]',
            types=tuple(type(part).__name__ for part in parts),
        )
    _check_slots(first.slots, modifiers)
    return Composed(prompt=first, modifiers=modifiers) if modifiers else first


def _check_objects(parts: Sequence[object]) -> None:
    classes = tuple(part.__name__ for part in parts if isinstance(part, type))
    if classes:
        raise InputError(
            "A predictor takes objects, but a class was given",
            code="class-not-object",
            got=[part.__name__ if isinstance(part, type) else type(part).__name__ for part in parts],
            hint='Write Prompt("..."), with parentheses',
            classes=classes,
        )


def _check_slots(slots: Mapping[str, int], modifiers: Sequence[Modifier]) -> None:
    filled = [slot for modifier in modifiers for slot in modifier.slots.items()]
    if sorted(filled) != sorted(slots.items()):
        raise InputError(
            "Each slot of a template needs exactly one soft prompt of the same length",
            code="slot-mismatch",
            got=f"slots {_list_slots(slots.items())}; soft prompts {_list_slots(filled)}",
            hint='Write {{ soft("task", 8) }} in the template, and pk.SoftPrompt(8, slot="task") or soft:length=8:slot=task',
            slots=tuple(slots.items()),
            soft_prompts=tuple(filled),
        )


def _list_slots(slots: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} of length {length}" for name, length in slots) or "none"
