"""Several manipulations as one: a prompt, and the changes of what it has come to, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptkit.errors import CheckpointError, InputError, Unsupported
from promptkit.manipulations import Apply, Ask, Change, Learnable, Manipulation, Put, Surroundings
from promptkit.models.base import ENGINES, load, split
from promptkit.resources import expanded
from promptkit.types import (
    Array,
    Card,
    Embeds,
    Example,
    Kind,
    Model,
    Opens,
    Output,
    Part,
    Rendered,
    Request,
    TextInput,
    Vectors,
)
from promptkit.within import Prefix

Manipulations = Manipulation | Sequence[Manipulation | Change]
"""What a predictor takes: a prompt, or a list that begins with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A prompt with changes of it."""

    prompt: Manipulation
    changes: tuple[Change, ...]

    @property
    def kind(self) -> Kind:
        """That of the last change."""
        return self.changes[-1].kind

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
        return {**self.prompt.settings(), "with": [dict(change.settings()) for change in self.changes]}

    def bind(self, surroundings: Surroundings) -> BoundComposed:
        """All of them for one task and one model; the prompt leaves room for the changes, and is asked about with them."""
        narrowed = Narrowed(surroundings.ask, sum(change.room for change in self.changes))
        changes = tuple(change.over(surroundings) for change in self.changes)
        apply = self.prompt.bind(replace(surroundings, ask=narrowed, put=in_turn((*changes, surroundings.put))))
        return BoundComposed(prompt=apply, changes=changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundComposed:
    """A prompt with changes of it, for one task and one model."""

    prompt: Apply
    changes: tuple[Put, ...]

    def __call__(self, examples: Sequence[Example], *, like: Sequence[Example] | None = None) -> list[Rendered]:
        """See `Apply`."""
        return [self._changed(rendered) for rendered in self.prompt(examples, like=like)]

    def premise(self, example: Example) -> Rendered:
        """See `Apply.premise`."""
        return self._changed(self.prompt.premise(example))

    def _changed(self, rendered: Rendered) -> Rendered:
        return replace(rendered, input=in_turn(self.changes)(rendered.input))


def in_turn(changes: Sequence[Put]) -> Put:
    """One change after the other."""

    def put(prompt: TextInput) -> TextInput:
        for change in changes:
            prompt = change(prompt)
        return prompt

    return put


class Narrowed:
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

    def embed(self, ids: Sequence[int]) -> Vectors:
        """The model's embeddings."""
        return self._ask.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> Prefix[Array]:
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
    if not (parts and hasattr(parts[0], "bind") and all(isinstance(part, Change) for part in parts[1:])):
        raise InputError(
            "The manipulations of a predictor must be one prompt, followed by the manipulations that modify it",
            code="invalid-manipulations",
            got=[type(part).__name__ for part in parts],
            hint='Write [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)]',
            types=tuple(type(part).__name__ for part in parts),
        )
    first: Manipulation = parts[0]
    _check_slots(getattr(first, "slots", {}), parts[1:])
    return Composed(prompt=first, changes=tuple(parts[1:])) if parts[1:] else first


def _check_slots(slots: Mapping[str, int], changes: Sequence[Change]) -> None:
    """Raise unless each slot of the template is filled by one change, as long as the slot is."""
    fills = [each for change in changes for each in change.fills.items()]
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


def changes_of(manipulation: Manipulation) -> tuple[Change, ...]:
    """The changes of a prompt."""
    return manipulation.changes if isinstance(manipulation, Composed) else ()


def check(manipulation: Manipulation, model: Model) -> None:
    """Raise if the model cannot take the changes or has no room, or is another than they were learned on; no weights load."""
    changes = changes_of(manipulation)
    for change in changes:
        _check_takes(change, model.name, vectors=isinstance(model, Embeds), layers=isinstance(model, Opens))
        if isinstance(change, Learnable) and change.base:
            check_base(change, model)
            _check_name(change, model)
    _check_room(changes, model)


def check_engine(changes: Sequence[Change], name: str) -> None:
    """Raise if the engine of that model cannot take the changes, whatever the model is: nothing is loaded or imported."""
    engine = ENGINES[split(name)[0]]
    for change in changes:
        _check_takes(change, name, vectors=engine.learned_vectors, layers=engine.learned_layers)


def _check_takes(change: Change, name: str, *, vectors: bool, layers: bool) -> None:
    if change.kind.location == "embedding" and not vectors:
        raise Unsupported(
            f"The model {name} does not accept learned vectors, which {change.name} needs",
            code="no-learned-vectors",
            hint="Use an hf model (the name alone, without an engine) or a vllm model",
            model=name,
            manipulation=change.name,
        )
    if change.kind.location == "hidden" and not layers:
        raise Unsupported(
            f"The model {name} does not accept learned keys, values or edits in its layers, which {change.name} needs",
            code="no-prefixes-or-edits",
            hint="Use an hf model (the name alone, without an engine)",
            model=name,
            manipulation=change.name,
        )


def _check_room(changes: Sequence[Change], model: Model) -> None:
    """Raise if the changes alone fill the model's context."""
    room = sum(change.room for change in changes)
    if room and room >= model.card.context_length:
        raise InputError(
            f"The learned manipulations take {room} tokens and leave no room for a prompt: the context of {model.name} has "
            f"{model.card.context_length} tokens",
            code="no-room-for-prompt",
            got=", ".join(f"{change.name} with {change.room} tokens" for change in changes if change.room),
            hint="Use fewer tokens, as in soft:length=20, or a model with a longer context",
            model=model.name,
            tokens=room,
            context_tokens=model.card.context_length,
            manipulations=tuple((change.name, change.room) for change in changes if change.room),
        )


def base_of(model: Model) -> dict[str, str | int]:
    """What of a model must be the same for what was learned on it: its weights and its tokenizer, on any engine."""
    return {**content_of(model.name, model.identity()), "d_model": model.card.d_model}


def content_of(name: str, identity: Mapping[str, object]) -> dict[str, str | int]:
    """The name of a model on any engine, and what tells its tokenizer and its weights apart."""
    name = name.rpartition(":")[2]
    return {"name": name, **{part: str(identity.get(part, name)) for part in ("tokenizer", "content")}}


def check_base(change: Learnable, model: Model) -> None:
    """Raise if the model is another one than a change was learned on, by what is known of that but its name."""
    names = {
        "d_model": "the width of its embeddings",
        "layers": "the number of its layers",
        "kv_heads": "the number of its kv heads",
        "tokenizer": "its tokenizer",
        "content": "its weights",
    }
    own = {**base_of(model), "layers": model.card.layers, "kv_heads": model.card.kv_heads}
    differs = next((key for key in names if own[key] != change.base.get(key, own[key])), None)
    if differs is not None:
        raise CheckpointError(
            f"This {change.name} was trained on {change.base.get('name') or 'another model'}, and {model.name} is a different "
            f"model: {names[differs]} differ{'' if differs == 'content' else 's'}",
            code="other-model",
            got=f"{own[differs]}, not {change.base.get(differs)}",
            hint="Load the model that it was trained on, or train it on this one",
            manipulation=change.name,
            base=change.base.get("name"),
            model=model.name,
            differs=differs,
            found=own[differs],
            expected=change.base.get(differs),
        )


def _check_name(change: Learnable, model: Model) -> None:
    """Raise if no more than its name is known of the model that a change was learned on, and that is not this one's."""
    name = str(change.base.get("name", ""))
    if not name or {"content", "tokenizer"} & change.base.keys():
        return
    own = base_of(model)
    if not _is(own, name):
        raise CheckpointError(
            f"This {change.name} was trained on {name}, and it is not known whether {model.name} is the same model",
            code="unconfirmed-model",
            hint=f"Load {name}, or, if they are the same, record it once: promptkit convert FOLDER OUT --model {own['name']}",
            manipulation=change.name,
            base=name,
            model=model.name,
        )


def _is(own: Mapping[str, str | int], name: str) -> bool:
    """Whether a model is the one that another library calls by a name: a folder, or a hub id."""
    if (expanded(name) / "config.json").is_file():
        return load(name).identity()["content"] == own["content"]
    return own["name"] == name
