"""Checks that a model can run the manipulations of a predictor, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.core.model import Model, described
from promptkit.core.paths import expanded
from promptkit.models.registry import ENGINES, load, split

COMPARED = {
    "format": "the kind of language model",
    "d_model": "the width of its embeddings",
    "layers": "the number of its layers",
    "kv_heads": "the number of its kv heads",
    "tokenizer": "its tokenizer",
    "content": "its weights",
}
"""What a checkpoint's base model and a model must have in common: key -> how an error message names it."""


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


def base_of(model: Model) -> dict[str, str | int]:
    """Returns the identity that the base model of a checkpoint must match: its weights, tokenizer and width, on any engine."""
    form = {"format": model.card.format.name} if model.card.format else {}
    return {**form, **content_of(model.name, model.identity()), "d_model": model.card.embedding_width}


def content_of(name: str, identity: Mapping[str, object]) -> dict[str, str | int]:
    """Returns a model's name without its engine, and the hashes of its tokenizer and weights from its identity."""
    name = name.rpartition(":")[2]
    return {"name": name, **{part: str(identity.get(part, name)) for part in ("tokenizer", "content")}}


def check_base(modifier: Modifier, model: Model) -> None:
    """Checks that a model is the one that a modifier was trained on, as far as its checkpoint identifies that model.

    Raises:
        CheckpointError: The models have different weights, tokenizers or sizes.
    """
    base = modifier.base
    found = {"format": "causal", **base_of(model), "layers": model.card.layers, "kv_heads": model.card.kv_heads}
    different = next((key for key in COMPARED if found[key] != base.get(key, found[key])), None)
    if different is not None:
        raise CheckpointError(
            f"This {modifier.name} was trained on {base.get('name') or 'another model'}, and {model.name} is a different "
            f"model: {COMPARED[different]} differ{'' if different == 'content' else 's'}",
            code="other-model",
            got=f"{found[different]}, not {base.get(different)}",
            hint="Load the model that it was trained on, or train it on this one",
            manipulation=modifier.name,
            base=base.get("name"),
            model=model.name,
            differs=different,
            found=found[different],
            expected=base.get(different),
        )


def _check_base_name(modifier: Modifier, model: Model) -> None:
    """Raises CheckpointError if only the name of the base model is known and this model has another one."""
    name = str(modifier.base.get("name", ""))
    if not name or {"content", "tokenizer"} & modifier.base.keys():
        return
    identity = base_of(model)
    if not _has_name(identity, name):
        raise CheckpointError(
            f"This {modifier.name} was trained on {name}, and it is not known whether {model.name} is the same model",
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
