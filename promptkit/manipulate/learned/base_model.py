"""The identity of the model that a learned manipulation was trained on."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.core.errors import CheckpointError
from promptkit.core.manipulation import Modifier
from promptkit.core.model import Model

COMPARED = {
    "format": "the kind of language model",
    "d_model": "the width of its embeddings",
    "layers": "the number of its layers",
    "kv_heads": "the number of its kv heads",
    "tokenizer": "its tokenizer",
    "content": "its weights",
    "size": "the size of the images that it reads",
}
"""The properties that a model must share with a checkpoint's base model: key -> its name in error messages."""


def base_of(model: Model) -> dict[str, str | int]:
    """Returns the identity that the base model of a checkpoint must match, on any engine.

    It is the weights, the tokenizer and the width of a language model, and the weights and the size of an image classifier.
    """
    sizes, content = model.card.sizes, content_of(model.name, model.identity())
    if model.card.modality != "text":
        return {"name": content["name"], "content": content["content"], **sizes}
    form = {} if sizes["format"] == "causal" else {"format": sizes["format"]}
    return {**form, **content, "d_model": sizes["d_model"]}


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
    found = {**model.card.sizes, **base_of(model)}
    different = next((key for key in COMPARED if key in base and found.get(key) != base[key]), None)
    if different is not None:
        raise CheckpointError(
            f"The manipulation {modifier.name} was trained on {base.get('name') or 'another model'}, and {model.name} is a "
            f"different model: {COMPARED[different]} differ{'' if different == 'content' else 's'}",
            code="other-model",
            got=f"{found.get(different)}, not {base.get(different)}",
            hint="Load the model that it was trained on, or train it on this one",
            manipulation=modifier.name,
            base=base.get("name"),
            model=model.name,
            differs=different,
            found=found.get(different),
            expected=base.get(different),
        )
