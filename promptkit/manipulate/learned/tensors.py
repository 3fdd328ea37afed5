"""Converts parameters between arrays, which are values, and torch tensors, which are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.arrays import Array, as_array

if TYPE_CHECKING:
    from torch import Tensor


def to_tensor(array: Array) -> Tensor:
    """Returns a copy of the array as a float32 tensor on the CPU."""
    import torch

    return torch.from_numpy(array.numpy().copy())


def to_array(tensor: Tensor) -> Array:
    """Returns a copy of the tensor as an array, without its gradient."""
    return as_array(tensor.detach().cpu().numpy().copy())
