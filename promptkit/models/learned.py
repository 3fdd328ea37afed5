"""Learned vectors among a prompt's tokens: the id -1-j stands for row j, and its row stands where an embedding would.

Prefixes are shared and batches planned by ids alone. So the rows of a whole run become one table, in which equal rows have
one id, and rows that differ have two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptkit.errors import PromptkitError
from promptkit.types import Request, TextInput, Vectors


def tabled(requests: Sequence[Request], d_model: int) -> list[Request]:
    """The requests with their learned rows in one table, which every request that has any holds.

    Raises PromptkitError for rows of another width than the model's, and for an id that no row stands for.
    """
    numbers: dict[bytes, int] = {}
    of: dict[Vectors | None, list[int]] = {None: []}
    for vectors in dict.fromkeys(request.input.vectors for request in requests):
        if vectors is not None:
            of[vectors] = [numbers.setdefault(row, len(numbers)) for row in _rows(vectors, d_model)]
    table = Vectors(data=b"".join(numbers), d_model=d_model)
    return [replace(request, input=_renumbered(request.input, of[request.input.vectors], table)) for request in requests]


def _rows(vectors: Vectors, d_model: int) -> list[bytes]:
    if vectors.d_model != d_model:
        raise PromptkitError(
            "Learned vectors are of another width than the model's embeddings",
            got=f"{vectors.d_model} numbers a vector, and the model has {d_model}",
            hint="Use the model that they were trained on",
        )
    width = 4 * d_model
    return [vectors.data[begin : begin + width] for begin in range(0, len(vectors.data), width)]


def _renumbered(prompt: TextInput, numbers: Sequence[int], table: Vectors) -> TextInput:
    if min(prompt.ids, default=0) < -len(numbers):
        raise PromptkitError(
            f"The id {min(prompt.ids)} of a prompt stands for no learned vector", got=f"{len(numbers)} of them"
        )
    if not numbers:
        return prompt
    return replace(prompt, ids=tuple(i if i >= 0 else -1 - numbers[-1 - i] for i in prompt.ids), vectors=table)


def table_of(requests: Sequence[Request], device: torch.device) -> Tensor | None:
    """The table of tabled requests, shape (rows, d_model); None where no prompt has learned vectors."""
    table = next((request.input.vectors for request in requests if request.input.vectors is not None), None)
    return None if table is None else tensor_of(table).to(device)


def tensor_of(vectors: Vectors) -> Tensor:
    """Shape (rows, d_model), float32."""
    return torch.from_numpy(np.frombuffer(vectors.data, "<f4").reshape(-1, vectors.d_model).copy())


def vectors_of(rows: Tensor) -> Vectors:
    """The value of rows of shape (rows, d_model)."""
    return Vectors(data=rows.detach().float().cpu().numpy().astype("<f4").tobytes(), d_model=rows.shape[1])


def embedded(embedding: Any, ids: Tensor, vectors: Tensor) -> Tensor:
    """What a model's layers receive for ids of any shape: (..., d_model). Differentiable in `vectors`, (rows, d_model).

    `embedding` is the model's own module, so that a scale which it has is its own business.
    """
    learned = ids < 0
    rows: Tensor = embedding(ids.clamp(min=0)).clone()
    rows[learned] = vectors[-1 - ids[learned]].to(rows.dtype)
    return rows
