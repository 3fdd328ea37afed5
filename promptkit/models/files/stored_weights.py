"""The names and shapes of a model's stored weights, read from the headers of safetensors files, without the weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.models.files.source import Source

if TYPE_CHECKING:
    import torch

SAFETENSORS = "model.safetensors"
"""The file with the weights of a model."""
SAFETENSORS_INDEX = "model.safetensors.index.json"
"""The file that names the files with the weights of a larger model."""
Find = Callable[[str], str | None]
"""Returns the path of a file of a model; None if there is none."""


def stored_weights(source: Source) -> dict[str, torch.Tensor] | None:
    """Returns the names and shapes of a model's stored weights, as tensors on the meta device, which use no memory.

    Files of a model on the hub are downloaded.

    Args:
        source: The model's files.

    Returns:
        The weights by name, or None if they are not in safetensors files.
    """
    import torch
    from transformers.utils.hub import cached_file

    def find(name: str) -> str | None:
        return cached_file(source.location, name, revision=source.commit, _raise_exceptions_for_missing_entries=False)

    shapes = _shapes(find)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()} or None


def stored_shapes(source: Source) -> Mapping[str, tuple[int, ...]]:
    """Returns the shapes of a model's stored weights by their names, without downloading anything and without PyTorch.

    Args:
        source: The model's files.

    Returns:
        The shapes; empty if the weights are not in safetensors files on this machine.
    """
    return _shapes(lambda name: file_on_this_machine(source, name))


def file_on_this_machine(source: Source, name: str) -> str | None:
    """Returns the path of a file of a model; None if the model has no such file, or it is not downloaded yet."""
    if source.local:
        path = Path(source.location) / name
        return str(path) if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.location, name, revision=source.commit)
    return found if isinstance(found, str) else None


def _shapes(find: Find) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight by its name."""
    from safetensors import safe_open

    names = [SAFETENSORS]
    if not find(SAFETENSORS):
        index = find(SAFETENSORS_INDEX)
        names = sorted({*json.loads(Path(index).read_text("utf-8"))["weight_map"].values()}) if index else []
    shapes: dict[str, tuple[int, ...]] = {}
    for file in [file for name in names if (file := find(name))]:
        with safe_open(file, "np") as tensors:
            for key in [*tensors.keys()]:
                shapes[key] = tuple(tensors.get_slice(key).get_shape())
    return shapes
