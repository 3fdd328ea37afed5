"""CMA-ES in a random subspace: black-box tuning (BBT, Sun et al. 2022, arXiv:2201.03514), from losses alone.

    p = p0 + A z,  with A fixed and drawn from N(0, scale^2 / d)

where z in R^d is found by the covariance matrix adaptation evolution strategy (Hansen 2016, arXiv:1604.00772). For z from
N(0, 1), A z has the scale of each parameter, its initial root mean square: for a soft prompt, that of the model's embedding.
The learned parameters are the mean of the search distribution, not the best candidate of a population.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.arguments import checked
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError, TrainingError
from promptkit.core.seeding import generator, number
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Parameters, Rates, Step
from promptkit.training.optimizers.spsa import root_mean_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats

MAX_SIGMA = 1000.0
"""The largest sigma, in units of the initial parameters."""
LOSSES, ORIGIN = "losses", "origin"
"""The names of the optimizer state: the losses of each population, and the initial parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CmaEs:
    """Searches a random subspace with CMA-ES, from losses alone (BBT, Sun et al. 2022, arXiv:2201.03514)."""

    subspace: int = 500
    """The number of dimensions of the subspace, d."""
    population: int | None = None
    """The number of candidates in each step; 4 + 3 ln d, rounded down, by default."""
    sigma: float = 1.0
    """The initial standard deviation of z."""

    name: ClassVar[str] = "cma-es"
    has_learning_rate: ClassVar[bool] = False
    learning_rate: ClassVar[float | None] = None
    uses_gradients: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self)
        too_small = self.population is not None and self.population < 4
        if self.subspace < 2 or too_small or not 0 < self.sigma <= MAX_SIGMA:
            raise InputError(
                f"The subspace needs at least 2 dimensions, the population at least 4 members, and sigma must be above 0 and "
                f"at most {MAX_SIGMA:g}",
                code="out-of-range",
                got=f"subspace={self.subspace}, sigma={self.sigma}"
                + (f", population={self.population}" if self.population is not None else ""),
                subspace=self.subspace,
                population=self.population,
                sigma=self.sigma,
            )

    def begin(self, state: TrainingState, seed: int) -> Step:
        """Returns the step function; the optimizer state is the initial parameters and all losses, which are replayed."""
        from cmaes import CMA

        for name, array in state.parameters.items():
            state.optimizer_state.setdefault(f"{ORIGIN}/{name}", array)
        origin = {name: state.optimizer_state[f"{ORIGIN}/{name}"] for name in state.parameters}
        projections = _projections(origin, self.subspace, seed)
        cma = CMA(
            mean=np.zeros(self.subspace), sigma=self.sigma, seed=number("cma", seed) % 2**32, population_size=self.population
        )
        for losses in _past_losses(state, cma.population_size):
            cma.tell([(cma.ask(), float(loss)) for loss in losses])

        def step(objective: Objective, rates: Rates) -> float:
            candidates = [cma.ask() for _ in range(cma.population_size)]
            projected = [_projected(origin, projections, z) for z in candidates]
            losses = np.asarray(objective.losses(projected), np.float32)
            if np.isfinite(losses).all():
                cma.tell([(z, float(loss)) for z, loss in zip(candidates, losses, strict=True)])
                past = _past_losses(state, cma.population_size)
                state.optimizer_state[LOSSES] = as_array(np.concatenate([past, losses[None]]))
                state.parameters.update(_projected(origin, projections, cma.mean))
            return float(losses.mean())

        return step


def _past_losses(state: TrainingState, population: int) -> NDArray[np.float32]:
    """Returns the losses of each population so far, shape (steps, population)."""
    if LOSSES in state.optimizer_state:
        return state.optimizer_state[LOSSES].numpy()
    return np.empty((0, population), np.float32)


def _projected(origin: Parameters, projections: Mapping[str, NDArray[np.float32]], z: Floats) -> dict[str, Array]:
    """Returns the parameters at z, p0 + A z."""
    return {
        name: as_array(array.numpy() + (projections[name] @ z.astype(np.float32)).reshape(array.shape))
        for name, array in origin.items()
    }


def _projections(origin: Parameters, d: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Returns A for each parameter, shape (size of the parameter, d)."""
    draw = generator("subspace", seed)
    shapes = {name: (int(np.prod(array.shape)), d) for name, array in sorted(origin.items())}
    try:
        return {
            name: draw.standard_normal(shape, dtype=np.float32) * np.float32(root_mean_square(origin[name]) / d**0.5)
            for name, shape in shapes.items()
        }
    except MemoryError:
        size = sum(4 * rows * columns for rows, columns in shapes.values()) / 2**30
        reason = f"A subspace of {d} dimensions needs {size:.0f} GiB, which is more than the available memory"
        hint = "Use a smaller one: cma-es:subspace=500"
        raise TrainingError(reason, code="subspace-too-large", hint=hint, subspace=d, gib=size) from None
