"""An optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.arrays import as_array
from promptkit.core.seeding import generator
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Keeps a random change of the parameters if it lowers the loss."""

    width: float = 0.1
    """The standard deviation of a change."""
    name: ClassVar[str] = "random-search"
    has_learning_rate: ClassVar[bool] = False
    learning_rate: ClassVar[float | None] = None
    uses_gradients: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False

    def begin(self, state: TrainingState, seed: int) -> Step:
        def step(objective: Objective, rates: Rates) -> float:
            draw = generator("random search", (seed, state.step))
            changed = {
                name: as_array(array.numpy() + self.width * draw.normal(size=array.shape))
                for name, array in sorted(state.parameters.items())
            }
            before, after = objective.losses([dict(state.parameters), changed])
            if after < before:
                state.parameters.update(changed)
            return before

        return step
