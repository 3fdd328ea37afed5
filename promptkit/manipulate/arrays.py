"""Learned numbers, as values and as numpy has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from promptkit.types import Array


def as_numpy(array: Array) -> Any:
    """The numbers, of the array's shape."""
    import numpy as np

    return np.frombuffer(array.data, "<f4").reshape(array.shape)


def as_array(numbers: Any) -> Array:
    """Numbers of any shape as a value."""
    return Array(data=numbers.astype("<f4").tobytes(), shape=tuple(numbers.shape))


def digest(parameters: Mapping[str, Array]) -> str:
    """What tells parameters apart."""
    told = hashlib.sha256()
    for name, array in sorted(parameters.items()):
        told.update(f"{name}{array.shape}".encode() + array.data)
    return told.hexdigest()[:16]
