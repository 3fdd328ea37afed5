"""Gradient-guided search of discrete tokens, one position at a time (AutoPrompt, Shin et al. 2020, arXiv:2010.15980).

The gradient at a token's embedding e estimates, to first order, how the loss changes if another token w replaces it:

    L(w) - L(e) ~ (w - e) . dL/de

(HotFlip, Ebrahimi et al. 2018, arXiv:1712.06751). The tokens with the lowest estimates are tried on the step's rows, and the
best replaces the current token if its loss is lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from promptkit.core.arguments import checked
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.hashing import sha256
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Parameters, Rates, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class HotFlip:
    """Replaces one token in each step by the best of its candidates (AutoPrompt, Shin et al. 2020, arXiv:2010.15980)."""

    candidates: int = 10
    """The number of replacements that are tried in each step."""

    name: ClassVar[str] = "hotflip"
    has_learning_rate: ClassVar[bool] = False
    learning_rate: ClassVar[float | None] = None
    uses_gradients: ClassVar[bool] = True
    is_discrete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self)
        if self.candidates < 1:
            reason, count = "The number of candidate tokens must be at least 1", self.candidates
            raise InputError(reason, code="out-of-range", got=f"candidates={count}", candidates=count)

    def begin(self, state: TrainingState, seed: int) -> Step:
        """Returns the step function, which visits all positions in a pseudo-random order before it visits one again."""

        def step(objective: Objective, rates: Rates) -> float:
            loss, scores = objective.token_swap_scores(state.parameters)
            name, position = _position(state.parameters, seed, state.step)
            candidates = self._candidates(state.parameters, name, position, scores[name][position])
            losses = objective.losses(candidates)
            if min(losses, default=loss) < loss:
                state.parameters.update(candidates[int(np.argmin(losses))])
            return loss

        return step

    def _candidates(self, parameters: Parameters, name: str, position: int, scores: NDArray[np.floating]) -> list[Parameters]:
        """Returns the parameters with each of the most promising tokens at the position."""
        tokens = parameters[name].numpy()
        scores = scores.copy()
        scores[int(tokens[position])] = np.inf
        candidates: list[Parameters] = []
        for token in np.argsort(scores, kind="stable")[: self.candidates]:
            if np.isfinite(scores[token]):
                swapped = tokens.copy()
                swapped[position] = token
                candidates.append({**parameters, name: as_array(swapped)})
        return candidates


def _position(parameters: Parameters, seed: int, step: int) -> tuple[str, int]:
    """Returns the parameter and the position in it that a step changes."""
    positions = [(name, index) for name, array in sorted(parameters.items()) for index in range(array.shape[0])]
    sweep, number = divmod(step, len(positions))
    return sorted(positions, key=lambda position: sha256(f"{seed}\0{sweep}\0{position}"))[number]
