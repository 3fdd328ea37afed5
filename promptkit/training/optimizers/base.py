"""What optimizers need and give: the interfaces that their implementations in `optimize/` keep. Without behavior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from promptkit.core.arrays import Array
from promptkit.training.checkpoint import TrainingState

Parameters = Mapping[str, Array]


class Objective(Protocol):
    """What a step makes small: the mean loss of its rows, as a function of the parameters."""

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        """The loss under each of these: ask all that is known at once, since they are computed in full batches."""
        ...

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Array]]:
        """The loss, and its gradient with respect to each parameter."""
        ...

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        """Of parameters that are token ids: the loss, and how much it changes, to first order, if another token stood there.

        Arrays of shape (tokens, vocabulary); infinite for a token that may not stand there.
        """
        ...


Rates = Mapping[str, float]
"""Parameter -> the learning rate of a step; 0 for an optimizer that has none."""
Step = Callable[[Objective, Rates], float]
"""Makes one step, and gives the loss before it, or the mean loss of what it has tried."""


@runtime_checkable
class Optimizer(Protocol):
    """A dataclass, whose fields are everything about it that determines a result."""

    name: ClassVar[str]
    rated: ClassVar[bool]
    """Whether it has a learning rate."""
    learning_rate: ClassVar[float | None]
    """That, unless another is given; None where each kind of what is learned has its own."""
    gradients: ClassVar[bool]
    """Whether it asks for them; one that does not asks for losses alone, which any model that scores can give."""
    discrete: ClassVar[bool]
    """Whether what it changes are token ids, and not numbers."""

    def begin(self, standing: TrainingState, seed: int) -> Step:
        """What makes the steps of a training, from wherever it stands; each is a function of the standing alone.

        A step changes the standing's `parameters`, and keeps in its `state` whatever the next one depends on.
        """
        ...
