"""An objective with a known optimum, and optimization steps on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from promptkit.core.arrays import as_array
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Parameters


class QuadraticObjective:
    """The loss (p - target)^2 / 2 for vectors; for tokens, a table of losses per position and per pair of neighbors."""

    def __init__(self, target: Any, table: Any = None) -> None:
        self.target, self.table = np.asarray(target, np.float64), table
        self.tried: list[Any] = []

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        self.tried += [item["x"].numpy().copy() for item in candidates]
        return [self._loss(item["x"].numpy()) for item in candidates]

    def _loss(self, p: Any) -> float:
        if self.table is None:
            return float(((p - self.target) ** 2).sum() / 2)
        ids = p.astype(int)
        return float(self.table[np.arange(len(ids)), ids].sum() + np.cos(ids[:-1] * ids[1:]).sum())

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        p = parameters["x"].numpy()
        return self._loss(p), {"x": as_array(p - self.target)}

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        p = parameters["x"].numpy()
        return self._loss(p), {"x": self.table - self.table[np.arange(len(p)), p.astype(int)][:, None]}


def initial_state(numbers: Any) -> TrainingState:
    parameters = {"x": as_array(np.asarray(numbers))}
    return TrainingState(parameters=parameters, best_parameters=dict(parameters))


def steps(optimizer: Any, state: TrainingState, objective: Any, count: int, rate: float = 0.1, seed: int = 0) -> list[float]:
    step, losses = optimizer.begin(state, seed), []
    for _ in range(count):
        losses.append(step(objective, {"x": rate}))
        state.step += 1
    return losses
