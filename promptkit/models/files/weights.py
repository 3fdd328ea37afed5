"""Checks that every parameter of a loaded model comes from its checkpoint.

transformers fills a parameter that a checkpoint lacks with random numbers, and drops what does not fit. Here, a missing,
unexpected or wrongly shaped weight is an error that names it. Tied weights, buffers other than the statistics of batch
norms, and weights that a class of transformers declares as optional are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from promptkit.core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

NAMED = 3
"""How many weights of each kind a message names."""
WRAPPER = "module."
"""The prefix that parallel wrappers of PyTorch add to the names of weights."""
FORMER_BUFFERS = (".masked_bias", ".inv_freq")
"""The last parts of the names of constants that earlier versions of transformers stored with the weights."""

STATISTICS = ("running_mean", "running_var")
"""The last parts of the names of the buffers of batch norms that determine results."""


class LoadingReport(TypedDict):
    """The report of `from_pretrained(..., output_loading_info=True)`."""

    missing_keys: Collection[str]
    unexpected_keys: Collection[str]
    mismatched_keys: Collection[tuple[str, Sequence[int], Sequence[int]]]
    """Name of a weight, its stored shape and the model's."""


def check_weights(model: PreTrainedModel, report: LoadingReport, name: str, config: PretrainedConfig | None = None) -> None:
    """Checks the report of `from_pretrained(..., output_loading_info=True)`.

    The model may be on the meta device, if it was loaded only to be checked.

    Args:
        model: The loaded model.
        report: The report.
        name: The model as the user named it.
        config: The configuration of all modalities, if the model may be only the text part of it.

    Raises:
        ModelError: If weights are missing, unexpected or wrongly shaped.
    """
    buffers = {buffer for buffer, _ in model.named_buffers() if not buffer.endswith(STATISTICS)}
    mismatched = {str(key): (tuple(stored), tuple(expected)) for key, stored, expected in report["mismatched_keys"]}
    missing = {str(key) for key in report["missing_keys"]} - buffers - set(mismatched)
    unloaded = {key for key, parameter in model.named_parameters() if parameter.is_meta}
    if len(unloaded) < len([*model.parameters()]):  # a model that is entirely on the meta device was loaded to be checked
        missing |= unloaded
    unexpected = {str(key) for key in report["unexpected_keys"] if not str(key).endswith(FORMER_BUFFERS)} - buffers
    if unexpected:
        unexpected = {key for key in unexpected if not _belongs_to_other_part(key, model, config)}
    if unexpected:
        unexpected -= _belongs_to_other_heads(unexpected, model)
    if not (missing or unexpected or mismatched):
        return
    shapes = [f"{key} of shape {stored} instead of {expected}" for key, (stored, expected) in sorted(mismatched.items())]
    found = {"missing": sorted(missing), "unexpected": sorted(unexpected), "wrongly shaped": shapes}
    raise ModelError(
        f"The weights of the model {name} are not those of the {type(model).__name__} that its config.json describes",
        code="wrong-weights",
        got="; ".join(f"{kind}: {_listed(keys)}" for kind, keys in found.items() if keys),
        hint=_hint(model, missing, unexpected),
        model=name,
        missing=tuple(sorted(missing)),
        unexpected=tuple(sorted(unexpected)),
        mismatched=tuple(sorted(mismatched)),
    )


def check_finite(model: nn.Module, name: str) -> None:
    """Checks that no weight and no buffer of a loaded model is NaN or infinite.

    Args:
        model: The model.
        name: The model as the user named it.

    Raises:
        ModelError: If there are such weights; they are named.
    """
    wrong = [key for key, value in model.state_dict().items() if value.is_floating_point() and not value.isfinite().all()]
    if wrong:
        raise ModelError(
            f"Weights of the model {name} are not finite: {_listed(wrong)}",
            code="weights-not-finite",
            hint="Use an intact copy of the files",
            model=name,
            weights=tuple(wrong),
        )


def _listed(keys: Collection[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{', '.join([*keys][:NAMED])}{more}"


def _hint(model: PreTrainedModel, missing: Collection[str], unexpected: Collection[str]) -> str:
    if any(key.removeprefix(WRAPPER) in missing for key in unexpected if key.startswith(WRAPPER)):
        return f"Save the model without its parallel wrapper, whose prefix {WRAPPER} the names have"
    if missing and all(key.partition(".")[0] in _heads(model) for key in missing):
        return f"The files are those of a model without this output head: save a {type(model).__name__}"
    return f"Check that config.json is that of these weights, and save the whole {type(model).__name__}"


def _heads(model: PreTrainedModel) -> set[str]:
    """Returns the names of the parts that the architecture's base model does not have."""
    base = model.base_model
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return {name for name, part in model.named_children() if (part is output if base is model else part is not base)}


def _without_prefix(key: str, model: PreTrainedModel) -> str:
    return key.removeprefix(f"{model.base_model_prefix}.")


def _belongs_to_other_part(key: str, model: PreTrainedModel, config: PretrainedConfig | None) -> bool:
    """Returns whether a weight belongs to a part for images or sound, where the model is the text part of a larger one."""
    if config is None or type(config) is type(model.config):
        return False
    return key.partition(".")[0] not in {other.partition(".")[0] for other in (*model.state_dict(), WRAPPER)}


def _belongs_to_other_heads(keys: Collection[str], model: PreTrainedModel) -> set[str]:
    """Returns those weights that belong to the architecture's base model, or to a head that is trained with it.

    A checkpoint may contain a head that another class of the same architecture has, such as the next-sentence head and the
    pooler of BERT, which a masked language model does not run. Heads for classification are not among them.
    """
    found: set[str] = set()
    for other in _other_classes(model):
        names = {_without_prefix(key, other) for key in other.state_dict()}
        optional = re.compile("|".join(other._keys_to_ignore_on_load_unexpected or ()) or "(?!)")
        found |= {key for key in keys if _without_prefix(key, model) in names or optional.search(key)}
    return found


def _other_classes(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Yields the architecture's other models, without memory for their weights."""
    import torch
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_PRETRAINING_MAPPING, MODEL_MAPPING

    for mapping in (MODEL_MAPPING, MODEL_FOR_PRETRAINING_MAPPING, MODEL_FOR_MASKED_LM_MAPPING):
        classes: Any = mapping.get(type(model.config), ())
        for other in classes if isinstance(classes, tuple) else (classes,):
            with torch.device("meta"):
                yield other(model.config)
