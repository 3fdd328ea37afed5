"""The base class of learned programs: one operation on pixels whose parameters are trained while the classifier stays frozen.

The parameters of a program are in units of pixel values between 0 and 1 before the model's own normalization, and every result
is kept in that range, so that a reprogrammed image is an image. The reference codes of VP and SMM add to normalized values and
do not clamp them. Untrained parameters leave the image unchanged, except for the placement that a program needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters
from promptkit.core.capabilities import Feature
from promptkit.core.interventions import InputOperation, Interventions, T
from promptkit.core.manipulation import BindContext, Embed, Transform
from promptkit.core.model import ImageCard, image_card
from promptkit.manipulate.learned.base import LearnedManipulation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


DELTA = "delta"
"""The parameter of a program that adds an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedProgram(LearnedManipulation):
    """A learned operation on the pixels of an image."""

    requires: ClassVar[frozenset[Feature]] = frozenset({"image", "operations"})
    operation: ClassVar[str]
    """The name of the operation in `InputOperation`."""

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate, in units of pixel values."""
        return 0.01

    def _check_settings(self) -> None:
        """Raises InputError for settings that are out of range; checks nothing by default."""

    def _sizes(self) -> Mapping[str, int]:
        """Returns the sizes of the dimensions in `shapes` that do not depend on the model; none by default."""
        return {}

    def _sizes_for(self, card: ImageCard) -> Mapping[str, int]:
        """Returns the sizes of all dimensions in `shapes`, for the images of a model."""
        return {**self._sizes(), "channels": card.channels, "height": card.size[0], "width": card.size[1]}

    def _untrained(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, NDArray[np.floating]]:
        """Returns the parameters before training, given their shapes; zeros by default."""
        return {name: np.zeros(shape) for name, shape in shapes.items()}

    def _operation_settings(self) -> Mapping[str, str | float]:
        """Returns the settings of the operation; none by default."""
        return {}

    def pictures(self) -> Mapping[str, NDArray[np.floating]]:
        """Returns images of the trained parameters, by their descriptions; empty for a program that adds no pixels.

        By default it is the parameter `delta`, if there is one, on gray and with a contrast that fills the range of values.
        """
        if DELTA not in self.parameters:
            return {}
        delta = self.parameters[DELTA].numpy()
        highest = float(np.abs(delta).max())
        return {f"added to every image, from {-highest:+.3f} to {highest:+.3f}": 0.5 + delta / (2 * (highest or 1.0))}

    def _placement_settings(self) -> Mapping[str, object]:
        return self._operation_settings()

    def _initial_settings(self) -> Mapping[str, object]:
        return {}

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that adds the operation with the current parameters to an image."""
        operation = self._operation(self.initial_parameters(bind_context))
        return lambda prepared: prepared.adding(operations=(operation,))

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the operation as a differentiable function of the parameters."""
        return Interventions(operations=(self._operation(trained),))

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the trained parameters, or the initial ones before training.

        Raises:
            Unsupported: The model does not read images.
            CheckpointError: The parameters were trained for images of another size.
        """
        sizes = self._sizes_for(image_card(bind_context.ask.card))
        if self.parameters:
            check_parameters(self.title, self.parameters, self.shapes, **sizes)
            return self.parameters
        shapes = {name: tuple(sizes[size] for size in dimensions.split()) for name, dimensions in self.shapes.items()}
        return {name: as_array(numbers) for name, numbers in self._untrained(shapes).items()}

    def _operation(self, parameters: Mapping[str, T]) -> InputOperation[T]:
        settings = tuple(self._operation_settings().items())
        return InputOperation(name=self.operation, arrays=tuple(parameters[name] for name in self.shapes), settings=settings)
