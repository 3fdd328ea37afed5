"""The coordinates of a technique in the taxonomy of neural network reprogrammability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Where a manipulation stands in the taxonomy of neural network reprogrammability."""

    format: Literal["fixed", "learnable"]
    location: Literal["input", "embedding", "hidden"]
    operator: Literal["additive", "concatenative", "parametric"]
