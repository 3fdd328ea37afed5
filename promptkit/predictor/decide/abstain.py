"""Abstention below a probability (Chow 1970, IEEE Trans. Inf. Theory 16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats


def answers(probabilities: Floats, threshold: float = 0.0) -> NDArray[np.bool_]:
    """Returns whether each row is answered, shape (N,).

    A row is answered if it has an answer and the probability of its likeliest label is at least the threshold.

    Args:
        probabilities: Shape (N, K); all 0 in a row without an answer.
        threshold: The least probability, from 0 to 1.
    """
    confidence = probabilities.max(1)
    answered: NDArray[np.bool_] = (confidence > 0) & (confidence >= threshold)
    return answered
