"""The base class of learned edits of hidden states: steering vectors and LoReFT."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.arrays import Array, as_array
from promptkit.core.interventions import HiddenEdit, Interventions, T
from promptkit.core.manipulation import Ask, BindContext, Embed, Transform
from promptkit.core.model import text_card
from promptkit.manipulate.learned.layers import UNITS, LayerManipulation, layer_scales, layers_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EditManipulation(LayerManipulation):
    """A learned edit of the hidden states after each of several layers."""

    scaled_parameter: ClassVar[str]
    """The parameter that is trained in units of the hidden states."""

    @abstractmethod
    def _untrained(self, ask: Ask) -> Mapping[str, Floats]:
        """Returns the parameters before training, in the model's units."""

    @abstractmethod
    def _edit(self, layer: int, arrays: tuple[T, ...]) -> HiddenEdit[T]:
        """Returns the edit of one layer, from its slice of each parameter."""

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that adds the edits to encoded prompts."""
        values = self._values(bind_context.ask)
        edits = self._edits({name: [as_array(row) for row in numbers] for name, numbers in values.items()})
        return lambda prepared: prepared.adding(edits=edits)

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the edits as a differentiable function of the parameters."""
        return Interventions(
            edits=self._edits({name: tensor.unbind() for name, tensor in self._in_model_units(trained).items()})
        )

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the parameters that training starts from, and the unit of each layer."""
        ask = bind_context.ask
        units = layer_scales(ask, layers_at(self.layers, text_card(ask.card)))
        values = dict(self._values(ask))
        values[self.scaled_parameter] = values[self.scaled_parameter] / units[:, None]
        return {name: as_array(numbers) for name, numbers in {**values, UNITS: units}.items()}

    def _in_model_units(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        scaled = trained[self.scaled_parameter] * trained[UNITS][:, None]
        return {**{name: trained[name] for name in self.shapes}, self.scaled_parameter: scaled}

    def _values(self, ask: Ask) -> Mapping[str, NDArray[np.floating]]:
        """Returns the trained parameters, or else the initial ones, in the model's units."""
        layers_at(self.layers, text_card(ask.card))
        return {name: self.parameters[name].numpy() for name in self.shapes} if self.parameters else self._untrained(ask)

    def _edits(self, values: Mapping[str, Sequence[T]]) -> tuple[HiddenEdit[T], ...]:
        rows = [*zip(*(values[name] for name in self.shapes), strict=True)]
        return tuple(self._edit(layer, arrays) for layer, arrays in zip(self._layer_numbers(len(rows)), rows, strict=True))
