"""Pads rows of token ids, and groups them into forward passes, for models that are computed row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

LOGITS_AT_ONCE = 2**26
"""Maximum number of logits in memory at once."""


def padded(rows: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Pads rows on the right.

    Returns:
        The ids, and 1 for a token and 0 for padding; each of shape (rows, width).
    """
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), padding)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = 1
    return ids, mask


def groups(lengths: Sequence[int], *, tokens: int, rows: int, equal: bool = False) -> Iterator[list[int]]:
    """Yields the indices of rows that are computed together, longest first.

    Args:
        lengths: The length of each row.
        tokens: Maximum number of tokens of a group, including padding; a longer row is a separate group.
        rows: Maximum number of rows of a group.
        equal: Whether all rows of a group must have the same length, for models whose results padding changes.
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        width = lengths[group[0]] if group else 0
        full = len(group) == rows or (len(group) + 1) * width > tokens
        if group and (full or (equal and lengths[index] != width)):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
