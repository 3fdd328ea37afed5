"""The protocols between a training run and its optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from promptkit.core.arrays import Array
from promptkit.training.checkpoint import TrainingState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Parameters = Mapping[str, Array]


class Objective(Protocol):
    """The mean loss of a step's rows, as a function of the parameters."""

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        """Returns the loss of each candidate; pass all candidates at once, so that the model computes full batches."""
        ...

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Array]]:
        """Returns the loss, and its gradient with respect to each parameter."""
        ...

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Returns the loss, and to first order its change for each replacement of a token.

        Returns:
            The loss, and for each parameter an array of shape (tokens, vocabulary), infinite for tokens that are not allowed.
        """
        ...


Rates = Mapping[str, float]
"""The learning rate of each parameter in a step; 0 for an optimizer without a learning rate."""
Step = Callable[[Objective, Rates], float]
"""Does one step; returns the loss before it, or the mean loss of the candidates that it tried."""


@runtime_checkable
class Optimizer(Protocol):
    """An optimizer: a dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Its name on the command line."""
    has_learning_rate: ClassVar[bool]
    """Whether it has a learning rate."""
    learning_rate: ClassVar[float | None]
    """The default learning rate; None if each learned manipulation has its default."""
    uses_gradients: ClassVar[bool]
    """Whether it needs gradients; one that does not works with any model that returns log-probabilities."""
    is_discrete: ClassVar[bool]
    """Whether it searches token ids instead of changing real numbers."""

    def begin(self, state: TrainingState, seed: int) -> Step:
        """Returns the function that does the steps of a training run.

        A step depends only on `state` and `seed`, so that a resumed training equals an uninterrupted one. It updates
        `state.parameters`, and keeps everything that the next step depends on in `state.optimizer_state`.

        Args:
            state: The state of the training run, at its start or read from a checkpoint.
            seed: The seed of everything that is drawn.
        """
        ...
