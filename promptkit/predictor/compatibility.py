"""Checks that a model can run the manipulations of a predictor, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.core.model import Model, described
from promptkit.core.paths import expanded
from promptkit.manipulate.learned.base_model import base_of, check_base
from promptkit.models.registry import ENGINES, load, split


def check(manipulation: Manipulation, model: Model) -> None:
    """Checks that a model supports all modifiers of a manipulation and is the one that they were trained on.

    Raises:
        Unsupported: The model does not accept learned vectors, prefixes or edits.
        CheckpointError: A modifier was trained on another model.
        InputError: The modifiers take up the whole context of the model.
    """
    for modifier in manipulation.modifiers:
        _check_support(modifier, model.name, model, vectors=model.learned_vectors, layers=model.learned_layers)
        if modifier.base:
            check_base(modifier, model)
            _check_base_name(modifier, model)
    _check_context(manipulation.modifiers, model)


def check_engine(modifiers: Sequence[Modifier], name: str) -> None:
    """Checks that the engine of a model supports modifiers, without loading the model or importing the engine.

    Raises:
        Unsupported: The engine does not accept learned vectors, prefixes or edits.
    """
    engine = ENGINES[split(name)[0]]
    for modifier in modifiers:
        _check_support(modifier, name, vectors=engine.learned_vectors, layers=engine.learned_layers)


def _check_support(modifier: Modifier, name: str, model: Model | None = None, *, vectors: bool, layers: bool) -> None:
    """Raises Unsupported unless vectors, or learned values in the layers, are supported as far as the modifier needs them."""
    if modifier.kind.location == "embedding" and not vectors:
        raise Unsupported(
            f"The model {name} does not accept learned vectors, which {modifier.name} needs",
            code="no-learned-vectors",
            hint="Use an hf model (its name without an engine) or a vllm model",
            model=name,
            manipulation=modifier.name,
        )
    if modifier.kind.location == "hidden" and not layers:
        raise Unsupported(
            f"The model {described(model) if model else name} does not accept learned keys, values or edits in its layers, "
            f"which {modifier.name} needs",
            code="no-prefixes-or-edits",
            hint="Use a causal model on hf (its name without an engine)",
            model=name,
            manipulation=modifier.name,
        )


def _check_context(modifiers: Sequence[Modifier], model: Model) -> None:
    """Raises InputError if the modifiers leave no room for the prompt in the model's context."""
    tokens = sum(modifier.context_tokens for modifier in modifiers)
    if tokens and tokens >= model.card.context_length:
        lengths = tuple((modifier.name, modifier.context_tokens) for modifier in modifiers if modifier.context_tokens)
        raise InputError(
            f"The learned manipulations take {tokens} tokens and leave no room for a prompt: the context of {model.name} has "
            f"{model.card.context_length} tokens",
            code="no-room-for-prompt",
            got=", ".join(f"{name} with {length} tokens" for name, length in lengths),
            hint="Use fewer tokens, as in soft:length=20, or a model with a longer context",
            model=model.name,
            tokens=tokens,
            context_tokens=model.card.context_length,
            manipulations=lengths,
        )


def _check_base_name(modifier: Modifier, model: Model) -> None:
    """Raises CheckpointError if only the name of the base model is known and this model has another one."""
    name = str(modifier.base.get("name", ""))
    if not name or {"content", "tokenizer"} & modifier.base.keys():
        return
    identity = base_of(model)
    if not _has_name(identity, name):
        raise CheckpointError(
            f"The manipulation {modifier.name} was trained on {name}, and it is not known whether {model.name} is the same",
            code="unconfirmed-model",
            hint=f"Load {name}, or, if it is the same, record it once: promptkit convert FOLDER OUT --model {identity['name']}",
            manipulation=modifier.name,
            base=name,
            model=model.name,
        )


def _has_name(identity: Mapping[str, str | int], name: str) -> bool:
    """Whether a model is the one that another library identifies by a folder or a hub id."""
    if (expanded(name) / "config.json").is_file():
        return load(name).identity()["content"] == identity["content"]
    return identity["name"] == name
