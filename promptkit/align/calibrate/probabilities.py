"""Log-probabilities over the labels, and the correction that most calibrations come to: a prior is divided out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.alignment import Outputs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

LEAST = -700.0
"""Below the likeliest label, natural log: no label is less likely than that, so that nothing becomes infinite."""


def normalized(logprobs: Floats) -> Floats:
    """Renormalised over the labels, the last axis; a row of nothing but -inf is uniform."""
    best = logprobs.max(-1, keepdims=True)
    held = np.maximum(logprobs - np.where(np.isfinite(best), best, 0.0), LEAST)
    whole: Floats = held - np.logaddexp.reduce(held, axis=-1, keepdims=True)
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """log q = log p - log prior, whatever each row is."""

    prior: Floats
    """Log; shape (contexts, K), or (1, K) where it is the same in every context."""

    def apply(self, outputs: Outputs) -> Floats:
        """Shape (rows, K)."""
        context = outputs.context if len(self.prior) > 1 else 0
        return normalized(normalized(outputs.logprobs) - self.prior[context])
