"""Selects layers of a model, and expresses parameters in units of a layer's typical hidden-state size.

Parameters are trained in units of a layer, so that one learning rate suits every layer of every model. They are saved in the
model's units.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.arguments import as_python
from promptkit.core.arrays import Array
from promptkit.core.errors import InputError
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import TextCard, text_card
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.manipulate.learned.base import LearnedManipulation
from promptkit.manipulate.learned.tensors import to_array, to_tensor
from promptkit.manipulate.learned.vocabulary import common_text

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats

UNITS = "units"
"""The name of the parameter with the unit of each layer; training leaves it unchanged."""
MEDIAN = 0.6745
"""The median absolute value of a standard normal variable."""
TEXTS, TOKENS = 4, 16
"""The number of texts, and of tokens in each, that the scale of hidden states is estimated from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerManipulation(LearnedManipulation):
    """A learned manipulation of a model's layers, trained in units of each layer."""

    layers: tuple[int, ...] = ()
    """The layers that it applies to, counted from 1; all layers by default."""

    fixed_parameters: ClassVar[frozenset[str]] = frozenset({UNITS})

    def __post_init__(self) -> None:
        layers: object = self.layers  # any sequence of integers is accepted
        if isinstance(layers, Sequence | np.ndarray) and not isinstance(layers, str | bytes):
            object.__setattr__(self, "layers", tuple(map(as_python, layers)))
        LearnedManipulation.__post_init__(self)

    def _check_settings(self) -> None:
        check_layers(self.layers)
        self._check_options()

    @abstractmethod
    def _check_options(self) -> None:
        """Raises InputError for settings besides the layers that are out of range."""

    def _sizes(self) -> Mapping[str, int]:
        return {"layers": len(self.layers)}

    def _layer_numbers(self, count: int) -> tuple[int, ...]:
        """Returns the selected layers of a model with `count` layers."""
        return self.layers or tuple(range(1, count + 1))

    @abstractmethod
    def _in_model_units(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Returns the parameters in the model's units, as a differentiable function of the trained tensors."""

    def _saved_parameters(self, trained: Mapping[str, Array]) -> Mapping[str, Array]:
        if UNITS not in trained:  # they are in the model's units already
            return dict(trained)
        import torch

        with torch.no_grad():
            tensors = {name: to_tensor(array) for name, array in trained.items()}
            return {name: to_array(tensor) for name, tensor in self._in_model_units(tensors).items()}


def layers_at(selected: Sequence[int], card: TextCard) -> tuple[int, ...]:
    """Returns the selected layers, counted from 1; all layers if none is selected.

    Raises:
        InputError: If the model does not have one of them.
    """
    unknown_layers = [layer for layer in selected if layer > card.layers]
    if unknown_layers:
        raise InputError(
            f"This model has no layer {unknown_layers[0]}",
            code="unknown-layer",
            got=f"layers={_spelling(selected)}",
            hint=f"Its layers are numbered from 1 to {card.layers}",
            layer=unknown_layers[0],
            model_layers=card.layers,
        )
    return tuple(selected) or tuple(range(1, card.layers + 1))


def check_layers(selected: Sequence[int]) -> None:
    """Raises InputError for layers that no model can have."""
    if sorted(set(selected)) != [*selected] or any(layer < 1 for layer in selected):
        raise InputError(
            "Layers are numbered from 1, and must be given in ascending order without repeats",
            code="invalid-layers",
            got=f"layers={_spelling(selected)}",
            hint="Write layers=9, or layers=8|9|10; leave them out to use all layers",
            layers=tuple(selected),
        )


def _spelling(layers: Sequence[int]) -> str:
    return "|".join(map(str, layers))


def layer_scales(ask: Ask, layers: Sequence[int]) -> Floats:
    """Returns the typical size of each layer's hidden states on common tokens, shape (layers,)."""
    return typical_sizes(common_states(ask, layers))


def common_states(ask: Ask, layers: Sequence[int]) -> Floats:
    """Returns each layer's hidden states after texts of common tokens, shape (layers, texts, d_model)."""
    card = text_card(ask.card)
    readable = [min(layer, card.layers - 1) for layer in layers]  # states of the last layer are read after its norm
    texts = [TextInput(ids=tuple(common_text(card, TOKENS, seed))) for seed in range(TEXTS)]
    outputs = ask([Request(input=text, verb=Read(hidden_layer=layer)) for layer in readable for text in texts])
    states = [output.hidden.numpy() for output in outputs if isinstance(output, ReadOutput) and output.hidden is not None]
    array: Floats = np.array(states, "<f4").reshape(len(layers), TEXTS, -1)
    return array


def typical_sizes(rows: Floats) -> Floats:
    """Returns the typical size of the numbers in each row, shape (rows,): a robust estimate of their standard deviation.

    The root mean square would be dominated by the few outlier dimensions of the residual stream.
    """
    sizes = np.median(np.abs(rows).reshape(len(rows), -1), axis=1) / MEDIAN
    positive: Floats = np.where(sizes > 0, sizes, 1.0)
    return positive
