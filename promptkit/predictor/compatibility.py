"""Checks that a model can run the manipulations of a predictor, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from promptkit.core.capabilities import FEATURES, Capabilities, Feature
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.core.model import Model, text_card
from promptkit.core.paths import expanded
from promptkit.manipulate.learned.base_model import base_of, check_base
from promptkit.models.registry import ENGINES, load, split
from promptkit.models.support import check_supports


def check_inputs(manipulation: Manipulation, model: Model) -> None:
    """Raises Unsupported if a model does not read the inputs that a manipulation makes, such as texts."""
    check_features(manipulation.requires, model.name, model.capabilities)


def check(manipulation: Manipulation, model: Model) -> None:
    """Checks that a model supports the modifiers of a manipulation and is the one that they were trained on.

    Raises:
        Unsupported: The model does not support the interventions of a modifier.
        CheckpointError: A modifier was trained on another model.
        InputError: The modifiers take up the whole context of the model.
    """
    for modifier in manipulation.modifiers:
        check_features(modifier.requires, model.name, model.capabilities, modifier)
        if modifier.base:
            check_base(modifier, model)
            _check_base_name(modifier, model)
    _check_context(manipulation.modifiers, model)


def check_engine(modifiers: Sequence[Modifier], name: str, encoder: Manipulation | None = None) -> None:
    """Checks that the engine of a model supports manipulations, without loading the model or importing the engine.

    Args:
        modifiers: The manipulations that modify inputs.
        name: The name of the model.
        encoder: The manipulation that encodes rows, if it is to be checked too.

    Raises:
        Unsupported: The engine does not read the inputs, or does not support the interventions of a modifier.
    """
    engine = ENGINES[split(name)[0]]
    if encoder is not None:
        check_features(encoder.requires, name, engine.capabilities)
    for modifier in modifiers:
        check_features(modifier.requires, name, engine.capabilities, modifier)


def check_features(
    features: Collection[Feature], name: str, capabilities: Capabilities, modifier: Modifier | None = None
) -> None:
    """Raises Unsupported if a model does not support one of several features.

    Args:
        features: The features.
        name: The model's name.
        capabilities: What the model supports.
        modifier: The modifier that needs them, if any.
    """
    needed_by = {"needed_by": modifier.name, "manipulation": modifier.name} if modifier else {}
    for feature in FEATURES:
        if feature in features:
            check_supports(name, capabilities, feature, **needed_by)


def _check_context(modifiers: Sequence[Modifier], model: Model) -> None:
    """Raises InputError if the modifiers leave no room for the prompt in the model's context."""
    tokens = sum(modifier.context_tokens for modifier in modifiers)
    if tokens and tokens >= text_card(model.card).context_length:
        lengths = tuple((modifier.name, modifier.context_tokens) for modifier in modifiers if modifier.context_tokens)
        raise InputError(
            f"The learned manipulations take {tokens} tokens and leave no room for a prompt: the context of {model.name} has "
            f"{text_card(model.card).context_length} tokens",
            code="no-room-for-prompt",
            got=", ".join(f"{name} with {length} tokens" for name, length in lengths),
            hint="Use fewer tokens, as in soft:length=20, or a model with a longer context",
            model=model.name,
            tokens=tokens,
            context_tokens=text_card(model.card).context_length,
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
