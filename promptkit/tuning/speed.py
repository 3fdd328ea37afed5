"""The time that forward passes are predicted to take on this machine, before a model is loaded."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import numpy as np

from promptkit.models.planned import Size

EFFICIENCY = 0.55
"""The speed of a forward pass relative to one large matrix product: 0.53 to 0.60 for Gemma 3 270M on one core of a CPU."""
GPU_SPEED = 3e13
"""Assumed operations per second of a forward pass on a GPU, which cannot be measured before PyTorch is imported."""


@cache
def machine_speed() -> float:
    """Returns the floating-point operations per second that a forward pass is predicted to reach on this machine.

    It is measured with a matrix product of NumPy, which uses the same cores; on a machine with a GPU it is a constant.
    """
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return GPU_SPEED
    size = 1024
    one = np.ones((size, size), np.float32)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - started)
    return EFFICIENCY * 2 * size**3 / min(seconds)


def predicted_seconds(size: Size, *, tokens: int, answers: int) -> float:
    """Returns the time of a forward pass over tokens, some of them predicting an answer.

    Args:
        size: The numbers of parameters of the model.
        tokens: The number of computed tokens.
        answers: The number of positions at which the output head is applied.
    """
    return 2 * (size.per_token * tokens + size.per_answer * answers) / machine_speed()
