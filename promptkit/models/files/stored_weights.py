"""The names and shapes of a model's stored weights, read without the weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from promptkit.models.files.source import Source

SAFETENSORS = "model.safetensors"
"""The file with the weights of a model."""
SAFETENSORS_INDEX = "model.safetensors.index.json"
"""The file that names the files with the weights of a larger model."""


def stored_weights(source: Source) -> dict[str, torch.Tensor] | None:
    """Returns the names and shapes of a model's stored weights, as tensors on the meta device, which use no memory.

    Only the headers of safetensors files are read. Files of a model on the hub are downloaded.

    Args:
        source: The model's files.

    Returns:
        The weights by name, or None if they are not in safetensors files.
    """
    from safetensors import safe_open
    from transformers.utils.hub import cached_file

    def file_of(name: str) -> str | None:
        return cached_file(source.location, name, revision=source.commit, _raise_exceptions_for_missing_entries=False)

    names = [SAFETENSORS]
    if not file_of(SAFETENSORS):
        index = file_of(SAFETENSORS_INDEX)
        names = sorted({*json.loads(Path(index).read_text("utf-8"))["weight_map"].values()}) if index else []
    weights: dict[str, torch.Tensor] = {}
    for file in [file for name in names if (file := file_of(name))]:
        with safe_open(file, "pt") as tensors:
            for key in [*tensors.keys()]:
                weights[key] = torch.empty(tensors.get_slice(key).get_shape(), device="meta")
    return weights or None
