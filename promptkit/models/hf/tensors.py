"""What requests hold that is learned, as tensors. Of vectors the id -1-j stands for row j, where an embedding would stand.

Prefixes are shared and batches planned by ids alone. So the rows of a whole run become one table, in which equal rows have
one id, and rows that differ have two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.inputs import HiddenEdit, Interventions, KVPrefix, TextInput
from promptkit.core.requests import Request
from promptkit.models.hf.attention import KeyValues


def tabled(requests: Sequence[Request], d_model: int) -> list[Request]:
    """The requests with their learned rows in one table, which every request that has any holds.

    Raises PromptkitError for rows of another width than the model's, and for an id that no row stands for.
    """
    numbers: dict[bytes, int] = {}
    of: dict[Array | None, list[int]] = {None: []}
    for vectors in dict.fromkeys(request.input.vectors for request in requests):
        if vectors is not None:
            of[vectors] = [numbers.setdefault(row, len(numbers)) for row in _rows(vectors, d_model)]
    table = as_array(np.frombuffer(b"".join(numbers), "<f4").reshape(-1, d_model))
    return [replace(request, input=_renumbered(request.input, of[request.input.vectors], table)) for request in requests]


def _rows(vectors: Array, d_model: int) -> list[bytes]:
    width = vectors.shape[1]
    if width != d_model:
        raise CheckpointError(
            "The learned vectors and the model's embeddings have different widths",
            code="wrong-vector-width",
            got=f"vectors of width {width} and a model of width {d_model}",
            hint="Use the model that they were trained on",
            width=width,
            model_width=d_model,
        )
    return [row.tobytes() for row in vectors.numpy()]


def _renumbered(prompt: TextInput, numbers: Sequence[int], table: Array) -> TextInput:
    if min(prompt.ids, default=0) < -len(numbers):
        raise InputError(
            f"The prompt id {min(prompt.ids)} refers to a learned vector that does not exist",
            code="unknown-vector-id",
            got=f"{len(numbers)} learned vectors",
            hint="The id -1-j stands for vector j, counted from 0",
            id=min(prompt.ids),
            vectors=len(numbers),
        )
    if not numbers:
        return prompt
    return replace(prompt, ids=tuple(i if i >= 0 else -1 - numbers[-1 - i] for i in prompt.ids), vectors=table)


def check_prefixes(requests: Sequence[Request], heads: int, width: int) -> None:
    """Raise PromptkitError for keys and values of another shape than the layers of a model have."""
    for prefix in {prefix for request in requests for prefix in request.input.prefixes}:
        found = prefix.keys.shape[1], prefix.keys.shape[3]
        if found != (heads, width):
            raise CheckpointError(
                "The learned keys and values and the model's have different shapes",
                code="wrong-prefix-shape",
                got=f"{found[0]} kv heads of width {found[1]}, and the model has {heads} of width {width}",
                hint="Use the model that they were trained on",
                kv_heads=found[0],
                width=found[1],
                model_kv_heads=heads,
                model_width=width,
            )


def within_of(requests: Sequence[Request], device: torch.device) -> Interventions[Tensor]:
    """What tabled requests of the same prefixes and edits hold."""
    table = next((request.input.vectors for request in requests if request.input.vectors is not None), None)
    held = requests[0].input

    def moved(array: Array) -> Tensor:
        return tensor_of(array).to(device)

    return Interventions(
        vectors=None if table is None else tensor_of(table).to(device),
        prefixes=tuple(_prefix(each, moved(each.keys), moved(each.values)) for each in held.prefixes),
        edits=tuple(_edit(each, tuple(map(moved, each.arrays))) for each in held.edits),
    )


def _prefix(prefix: KVPrefix[Array], keys: Tensor, values: Tensor) -> KVPrefix[Tensor]:
    return KVPrefix(length=prefix.length, layers=prefix.layers, keys=keys, values=values)


def _edit(edit: HiddenEdit[Array], arrays: tuple[Tensor, ...]) -> HiddenEdit[Tensor]:
    return HiddenEdit(**{**{f.name: getattr(edit, f.name) for f in fields(edit)}, "arrays": arrays})


def prefix_of(layers: KeyValues) -> KVPrefix[Array]:
    """The value of what layers hold, by their numbers from 0."""
    shapes = {pair[0].shape for pair in layers.values()}
    if len(shapes) != 1 or any(key.shape != value.shape for key, value in layers.values()):
        raise Unsupported(
            "The keys and values of this model do not have the same shape in all layers",
            code="uneven-keys-values",
            hint="Use another model",
            shapes=tuple(sorted(map(str, {tuple(shape) for shape in shapes}))),
        )
    keys, values = (array_of(torch.stack([layers[layer][i] for layer in sorted(layers)])) for i in (0, 1))
    return KVPrefix(length=keys.shape[2], layers=tuple(layer + 1 for layer in sorted(layers)), keys=keys, values=values)


def array_of(numbers: Tensor) -> Array:
    """Returns a tensor's values as an array."""
    return as_array(numbers.detach().float().cpu().numpy())


def tensor_of(array: Array) -> Tensor:
    """Returns a float32 tensor of the same shape, a copy."""
    return torch.from_numpy(array.numpy().copy())


def embedded(embedding: Any, ids: Tensor, vectors: Tensor) -> Tensor:
    """What a model's layers receive for ids of any shape: (..., d_model). Differentiable in `vectors`, (rows, d_model).

    `embedding` is the model's own module, so that a scale which it has is its own business.
    """
    learned = ids < 0
    rows: Tensor = embedding(ids.clamp(min=0)).clone()
    rows[learned] = vectors[-1 - ids[learned]].to(rows.dtype)
    return rows
