"""Gradient-guided search of discrete tokens, a place at a time (AutoPrompt, Shin et al. 2020, 2010.15980).

The gradient at a token's embedding e tells, to first order, what another token w in its place would do to the loss:

    L(w) - L(e) ~ (w - e) . dL/de

(HotFlip, Ebrahimi et al. 2018, 1712.06751). The tokens that promise most are tried on the step's rows, and the best of them is
kept if it is better there than the one that stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.hashing import sha256
from promptkit.core.registry import checked
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Parameters, Rates, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class HotFlip:
    """Swaps one token a step for the best of those that its gradient points to."""

    candidates: int = 10
    """How many tokens are tried."""

    name: ClassVar[str] = "hotflip"
    rated: ClassVar[bool] = False
    learning_rate: ClassVar[float | None] = None
    gradients: ClassVar[bool] = True
    discrete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a search that tries nothing."""
        checked(self)
        if self.candidates < 1:
            reason, count = "The number of candidate tokens must be at least 1", self.candidates
            raise InputError(reason, code="out-of-range", got=f"candidates={count}", candidates=count)

    def begin(self, standing: TrainingState, seed: int) -> Step:
        """See `Optimizer`; every place is tried once, in an order by chance, before any is tried again."""

        def step(objective: Objective, rates: Rates) -> float:
            loss, estimates = objective.token_swap_scores(standing.parameters)
            name, place = _place(standing.parameters, seed, standing.step)
            tokens, promised = standing.parameters[name].numpy(), estimates[name][place].copy()
            promised[int(tokens[place])] = np.inf
            best = [token for token in np.argsort(promised, kind="stable")[: self.candidates] if np.isfinite(promised[token])]
            tried: list[Parameters] = []
            for token in best:
                swapped = tokens.copy()
                swapped[place] = token
                tried.append({**standing.parameters, name: as_array(swapped)})
            losses = objective.losses(tried)
            if min(losses, default=loss) < loss:
                standing.parameters.update(tried[int(np.argmin(losses))])
            return loss

        return step


def _place(parameters: Parameters, seed: int, step: int) -> tuple[str, int]:
    places = [(name, place) for name, array in sorted(parameters.items()) for place in range(array.shape[0])]
    sweep, number = divmod(step, len(places))
    return sorted(places, key=lambda each: sha256(f"{seed}\0{sweep}\0{each}"))[number]
