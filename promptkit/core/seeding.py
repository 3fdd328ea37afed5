"""Random numbers that are functions of a purpose and a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.hashing import sha256, sha256_int

if TYPE_CHECKING:
    from numpy.random import Generator


def hash_rank(seed: int, *keys: str) -> bytes:
    """Returns a hash of a seed and keys to sort by. Sorting by it shuffles rows independently of their order and number."""
    return sha256("\0".join([str(seed), *keys]))


def number(purpose: str, seed: object) -> int:
    """Returns a 256-bit integer that differs for each purpose and seed."""
    return sha256_int(f"{purpose}\0{seed}")


def generator(purpose: str, seed: object) -> Generator:
    """Returns a random number generator with a separate stream for each purpose and seed."""
    return np.random.default_rng(number(purpose, seed))
