"""Several manipulations as one: a prompt, and the changes of what it has come to, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.manipulation import Learnable, Manipulation, Modifier
from promptkit.core.model import Model
from promptkit.core.paths import expanded
from promptkit.manipulate.compose import changes_of
from promptkit.models.registry import ENGINES, load, split


def check(manipulation: Manipulation, model: Model) -> None:
    """Raise if the model cannot take the changes or has no room, or is another than they were learned on; no weights load."""
    changes = changes_of(manipulation)
    for change in changes:
        _check_takes(change, model.name, vectors=model.learned_vectors, layers=model.learned_layers)
        if isinstance(change, Learnable) and change.base:
            check_base(change, model)
            _check_name(change, model)
    _check_room(changes, model)


def check_engine(changes: Sequence[Modifier], name: str) -> None:
    """Raise if the engine of that model cannot take the changes, whatever the model is: nothing is loaded or imported."""
    engine = ENGINES[split(name)[0]]
    for change in changes:
        _check_takes(change, name, vectors=engine.learned_vectors, layers=engine.learned_layers)


def _check_takes(change: Modifier, name: str, *, vectors: bool, layers: bool) -> None:
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


def _check_room(changes: Sequence[Modifier], model: Model) -> None:
    """Raise if the changes alone fill the model's context."""
    room = sum(change.context_tokens for change in changes)
    if room and room >= model.card.context_length:
        raise InputError(
            f"The learned manipulations take {room} tokens and leave no room for a prompt: the context of {model.name} has "
            f"{model.card.context_length} tokens",
            code="no-room-for-prompt",
            got=", ".join(f"{change.name} with {change.context_tokens} tokens" for change in changes if change.context_tokens),
            hint="Use fewer tokens, as in soft:length=20, or a model with a longer context",
            model=model.name,
            tokens=room,
            context_tokens=model.card.context_length,
            manipulations=tuple((change.name, change.context_tokens) for change in changes if change.context_tokens),
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
