"""Numbers that are drawn by a seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.hashing import sha256, sha256_int

if TYPE_CHECKING:
    from numpy.random import Generator


def hash_rank(seed: int, *keys: str) -> bytes:
    """A rank by chance: a hash of the seed and the keys, so that neither order nor subset changes it."""
    return sha256("\0".join([str(seed), *keys]))


def number(purpose: str, seed: object) -> int:
    """A large number, another for each purpose and seed."""
    return sha256_int(f"{purpose}\0{seed}")


def generator(purpose: str, seed: object) -> Generator:
    """Draws numbers, others for each purpose and seed."""
    return np.random.default_rng(number(purpose, seed))
