"""The taxonomy of neural network reprogrammability (arXiv 2506.04650)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OutputAlignment = Literal["identity", "rule-based", "statistical", "linear"]
"""How outputs become answers: unchanged, by a written rule, by statistics of outputs, or by a linear map that is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The coordinates of a manipulation in the taxonomy of neural network reprogrammability."""

    format: Literal["fixed", "learnable"]
    """Whether it has trainable parameters."""
    location: Literal["input", "embedding", "hidden"]
    """Where it acts: on the input, on token embeddings or on hidden states."""
    operator: Literal["additive", "concatenative", "parametric"]
    """Whether it adds to what is there, concatenates with it, or transforms it by a parametric function."""
