"""Evolution in a random subspace: black-box tuning (BBT, Sun et al. 2022, 2201.03514), from losses alone.

    p = p0 + A z,  A fixed, of numbers drawn from N(0, scale^2 / d)

and z in R^d, found by the covariance matrix adaptation evolution strategy (CMA-ES, Hansen and Ostermeier 2001; Hansen 2016,
1604.00772). With z from N(0, 1) A z has each parameter's own scale, its root mean square at the beginning: that of the model's
embedding for a soft prompt. What is learned is the mean of the last population that was drawn from, not the luckiest member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError, TrainingError
from promptkit.core.registry import checked
from promptkit.core.seeding import generator, number
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step
from promptkit.training.optimizers.spsa import scale_of

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

MOST = 1000.0
"""Of sigma, which counts in the size that what is learned begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CmaEs:
    """Draws a population in a random subspace, and moves to where its better half is."""

    subspace: int = 500
    """d above."""
    population: int | None = None
    """How many candidates a step draws; 4 + 3 ln d, rounded down, unless given."""
    sigma: float = 1.0
    """The standard deviation of z to begin with."""

    name: ClassVar[str] = "cma-es"
    rated: ClassVar[bool] = False
    learning_rate: ClassVar[float | None] = None
    gradients: ClassVar[bool] = False
    discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what nothing evolves by."""
        checked(self)
        few = self.population is not None and self.population < 4
        if self.subspace < 2 or few or not 0 < self.sigma <= MOST:
            raise InputError(
                f"The subspace needs at least 2 dimensions, the population at least 4 members, and sigma must be above 0 and "
                f"at most {MOST:g}",
                code="out-of-range",
                got=f"subspace={self.subspace}, population={self.population}, sigma={self.sigma}",
                subspace=self.subspace,
                population=self.population,
                sigma=self.sigma,
            )

    def begin(self, standing: TrainingState, seed: int) -> Step:
        """See `Optimizer`; `state` holds what the parameters began as, and every loss, by which the evolution is run again."""
        from cmaes import CMA

        for name, array in standing.parameters.items():
            standing.state.setdefault(f"origin/{name}", array)
        origin = {name: standing.state[f"origin/{name}"] for name in standing.parameters}
        project = _projections(origin, self.subspace, seed)
        evolution = CMA(
            mean=np.zeros(self.subspace), sigma=self.sigma, seed=number("cma", seed) % 2**32, population_size=self.population
        )
        size = evolution.population_size

        def placed(z: Floats) -> dict[str, Array]:
            return {
                n: as_array(array.numpy() + (project[n] @ z.astype(np.float32)).reshape(array.shape))
                for n, array in origin.items()
            }

        for told in standing.state["told"].numpy() if "told" in standing.state else ():
            evolution.tell([(evolution.ask(), float(loss)) for loss in told])

        def step(objective: Objective, rates: Rates) -> float:
            drawn = [evolution.ask() for _ in range(size)]
            losses = np.asarray(objective.losses([placed(z) for z in drawn]), np.float32)
            if np.isfinite(losses).all():
                evolution.tell([(z, float(loss)) for z, loss in zip(drawn, losses, strict=True)])
                before = standing.state["told"].numpy() if "told" in standing.state else np.empty((0, size))
                standing.state["told"] = as_array(np.concatenate([before, losses[None]]))
                standing.parameters.update(placed(evolution.mean))
            return float(losses.mean())

        return step


def _projections(origin: dict[str, Array], d: int, seed: int) -> dict[str, Any]:
    """A for each parameter, (its numbers, d)."""
    chance = generator("subspace", seed)
    shapes = {name: (int(np.prod(array.shape)), d) for name, array in sorted(origin.items())}
    try:
        return {
            name: chance.standard_normal(shape, dtype=np.float32) * np.float32(scale_of(origin[name]) / d**0.5)
            for name, shape in shapes.items()
        }
    except MemoryError:
        size = sum(4 * rows * columns for rows, columns in shapes.values()) / 2**30
        reason = f"A subspace of {d} dimensions needs {size:.0f} GiB, which is more than the available memory"
        hint = "Use a smaller one: cma-es:subspace=500"
        raise TrainingError(reason, code="subspace-too-large", hint=hint, subspace=d, gib=size) from None
