"""What is learned in a model's layers has in common: which layers, the scale of what they hold, and tensors as values.

What is trained is counted in the units of a layer, the size that is common in it, so that one learning rate suits every layer
of every model. What is saved is in the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import Card
from promptkit.core.registry import as_python, checked
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.manipulate.learned.vocabulary import common_text

UNITS = "units"
"""The name of the scale, among what is trained."""
MEDIAN = 0.6745
"""The median of the size of a standard normal variable."""
TEXTS, TOKENS = 4, 16
"""Texts, and tokens of each, by which the scale of hidden states is told."""


def settle_layers(kind: Any) -> None:
    """Keep the layers of what is being made, any sequence of numbers, as a tuple; and check all that it is made of."""
    if isinstance(kind.layers, Sequence | np.ndarray) and not isinstance(kind.layers, str | bytes):
        object.__setattr__(kind, "layers", tuple(map(as_python, kind.layers)))
    checked(kind)
    check_layers(kind.layers)


def layers_at(chosen: Sequence[int], card: Card) -> tuple[int, ...]:
    """The layers, counted from 1; all unless some are chosen. Raises InputError for one that the model does not have."""
    foreign = [layer for layer in chosen if layer > card.layers]
    if foreign:
        raise InputError(
            f"This model has no layer {foreign[0]}",
            code="unknown-layer",
            got=f"layers={_told(chosen)}",
            hint=f"Its layers are numbered from 1 to {card.layers}",
            layer=foreign[0],
            model_layers=card.layers,
        )
    return tuple(chosen) or tuple(range(1, card.layers + 1))


def check_layers(chosen: Sequence[int]) -> None:
    """Raise for what are no layers, whatever the model."""
    if sorted(set(chosen)) != [*chosen] or any(layer < 1 for layer in chosen):
        raise InputError(
            "Layers are numbered from 1, and must be given in ascending order without repeats",
            code="invalid-layers",
            got=f"layers={_told(chosen)}",
            hint="Write layers=9, or layers=8|9|10; leave them out to use all layers",
            layers=tuple(chosen),
        )


def _told(layers: Sequence[int]) -> str:
    return "|".join(map(str, layers))


def scales(ask: Ask, layers: Sequence[int]) -> Any:
    """The common size of each layer's hidden states behind common tokens, (layers,)."""
    return sizes(states(ask, layers))


def states(ask: Ask, layers: Sequence[int]) -> Any:
    """Each layer's hidden states behind common tokens, (layers, texts, d_model)."""
    shown = [min(layer, ask.card.layers - 1) for layer in layers]  # the last one's is read as it is once normalized
    texts = [TextInput(ids=tuple(common_text(ask.card, TOKENS, seed))) for seed in range(TEXTS)]
    found = ask([Request(input=text, verb=Read(hidden_layer=layer)) for layer in shown for text in texts])
    held = [each.hidden.numpy() for each in found if isinstance(each, ReadOutput) and each.hidden is not None]
    return np.array(held).reshape(len(layers), TEXTS, -1)


def sizes(rows: Any) -> Any:
    """The size that is common in each row, (rows,): the standard deviation of a normal variable of that median size.

    Not the root mean square, which a few dimensions of the residual stream make many times as large.
    """
    found = np.median(np.abs(rows).reshape(len(rows), -1), axis=1) / MEDIAN
    return np.where(found > 0, found, 1.0)


def resolved(trained: Mapping[str, Array], made: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Array]:
    """What `made` makes of what is trained, as values; what has been made already stays as it is."""
    if UNITS not in trained:
        return dict(trained)
    import torch

    with torch.no_grad():
        tensors = {name: torch.from_numpy(array.numpy().copy()) for name, array in trained.items()}
        return {name: as_array(tensor.numpy()) for name, tensor in made(tensors).items()}
