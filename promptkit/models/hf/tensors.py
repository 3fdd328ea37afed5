"""Converts the learned values of requests to PyTorch tensors, and tensors to values.

In a prompt, the id -1-j refers to row j of the request's learned vectors. Prefixes are shared and batches are planned by ids
alone. The vectors of all requests of a run are therefore merged into one table, in which equal rows have equal ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.interventions import HiddenEdit, Interventions, KVPrefix
from promptkit.core.model import TextCard
from promptkit.core.requests import Request, Score
from promptkit.models.hf.kv_cache import KeyValues


def merge_vectors(requests: Sequence[Request], d_model: int) -> list[Request]:
    """Returns the requests with one table of learned vectors, which all requests that have any share.

    Raises:
        CheckpointError: If the vectors do not have the width `d_model`.
        InputError: If a prompt refers to a vector that does not exist.
    """
    row_ids: dict[bytes, int] = {}
    new_rows: dict[Array | None, list[int]] = {None: []}
    for vectors in dict.fromkeys(request.interventions.vectors for request in requests):
        if vectors is not None:
            new_rows[vectors] = [row_ids.setdefault(row, len(row_ids)) for row in _rows(vectors, d_model)]
    table = as_array(np.frombuffer(b"".join(row_ids), "<f4").reshape(-1, d_model))
    return [_renumbered(request, new_rows[request.interventions.vectors], table) for request in requests]


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


def _renumbered(request: Request, new_rows: Sequence[int], table: Array) -> Request:
    """Returns the request with the ids of the table's rows; `new_rows` has the table's row for each vector of the request."""
    prompt = request.text
    if min(prompt.ids, default=0) < -len(new_rows):
        raise InputError(
            f"The prompt id {min(prompt.ids)} refers to a learned vector that does not exist",
            code="unknown-vector-id",
            got=f"{len(new_rows)} learned vectors",
            hint="The id -1-j stands for vector j, counted from 0",
            id=min(prompt.ids),
            vectors=len(new_rows),
        )
    if not new_rows:
        return request
    ids = tuple(i if i >= 0 else -1 - new_rows[-1 - i] for i in prompt.ids)
    interventions = replace(request.interventions, vectors=table)
    return replace(request, input=replace(prompt, ids=ids), interventions=interventions)


def check_ids(requests: Sequence[Request], card: TextCard) -> None:
    """Checks that the embedding has a row for every token of the prompts and continuations.

    Raises:
        InputError: If it has not.
    """
    for request in requests:
        continuations = request.verb.continuations if isinstance(request.verb, Score) else ()
        largest = max(map(max, filter(None, (request.text.ids, *continuations))), default=0)
        if largest >= card.vocabulary:
            raise InputError(
                f"A prompt contains the token {card.tokenizer.name(largest)!r}, which the model's embedding does not have",
                code="token-without-embedding",
                got=f"id {largest}, and the embedding has {card.vocabulary} rows",
                hint="Remove the token from the template, or save the model with resized embeddings",
                id=largest,
                rows=card.vocabulary,
            )


def check_prefixes(requests: Sequence[Request], heads: int, width: int) -> None:
    """Checks the shape of learned prefixes.

    Args:
        requests: The requests.
        heads: The number of key-value heads of the model's layers.
        width: The width of a head.

    Raises:
        CheckpointError: If keys and values have another shape.
    """
    for prefix in {prefix for request in requests for prefix in request.interventions.prefixes}:
        prefix_heads, prefix_width = prefix.keys.shape[1], prefix.keys.shape[3]
        if (prefix_heads, prefix_width) != (heads, width):
            raise CheckpointError(
                "The learned keys and values and the model's have different shapes",
                code="wrong-prefix-shape",
                got=f"{prefix_heads} kv heads of width {prefix_width}, and the model has {heads} of width {width}",
                hint="Use the model that they were trained on",
                kv_heads=prefix_heads,
                width=prefix_width,
                model_kv_heads=heads,
                model_width=width,
            )


def interventions_of(requests: Sequence[Request], device: torch.device) -> Interventions[Tensor]:
    """Returns the learned values of requests as tensors.

    All requests must have the same prefixes and edits, and a merged table of vectors; see `merge_vectors`.
    """
    table = next((request.interventions.vectors for request in requests if request.interventions.vectors is not None), None)
    first = requests[0].interventions

    def tensor(array: Array) -> Tensor:
        return tensor_of(array).to(device)

    return Interventions(
        vectors=None if table is None else tensor_of(table).to(device),
        prefixes=tuple(
            KVPrefix(length=prefix.length, layers=prefix.layers, keys=tensor(prefix.keys), values=tensor(prefix.values))
            for prefix in first.prefixes
        ),
        edits=tuple(_edit(edit, tuple(map(tensor, edit.arrays))) for edit in first.edits),
    )


def _edit(edit: HiddenEdit[Array], arrays: tuple[Tensor, ...]) -> HiddenEdit[Tensor]:
    return HiddenEdit(
        layer=edit.layer,
        operation=edit.operation,
        arrays=arrays,
        all_positions=edit.all_positions,
        first=edit.first,
        last=edit.last,
    )


def prefix_of(layers: KeyValues) -> KVPrefix[Array]:
    """Returns the keys and values of all layers as a prefix.

    Raises:
        Unsupported: If there are none, or the layers do not have the same shape.
    """
    if not layers:
        raise Unsupported(
            "This model does not return keys and values", code="no-keys-values", hint="Use another model", layers=0
        )
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


def embed_ids(embedding: Callable[[Tensor], Tensor], ids: Tensor, vectors: Tensor) -> Tensor:
    """Returns the embeddings of ids, learned vectors included. Differentiable in `vectors`.

    Args:
        embedding: The model's embedding module, which may scale what it returns. Vectors are not scaled.
        ids: Token ids of any shape; -1-j refers to row j of `vectors`.
        vectors: Shape (rows, d_model).

    Returns:
        Shape (..., d_model).
    """
    learned = ids < 0
    rows = embedding(ids.clamp(min=0)).clone()
    rows[learned] = vectors[-1 - ids[learned]].to(rows.dtype)
    return rows


def relative_gap(actual: Tensor, expected: Tensor) -> float:
    """Returns the largest difference between two tensors, relative to the largest expected value if that is above 1."""
    return float((actual - expected).abs().max()) / max(1.0, float(expected.abs().max()))
