"""The hidden states of a forward pass, as the layers themselves return them.

The lists of hidden states that the models of transformers return differ: that of Mamba begins after the first layer, that of
Gemma 3n ends before the last norm. Hooks on the layers record the same states for every architecture, those that edits change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from torch import Tensor, nn

from promptkit.core.errors import Unsupported


class LastState(Protocol):
    """The output of a model without its head."""

    last_hidden_state: Tensor


class LayerStates:
    """The hidden states of one forward pass."""

    def __init__(self, layers: Sequence[nn.Module] | Unsupported) -> None:
        """Creates an empty record; `layers` are the layers, or why they are unknown."""
        self._layers = layers
        self.between: dict[int, Tensor] = {}
        """Number of a layer -> its output; 0 is the input of the first one."""
        self.last: Tensor | None = None
        """The output of the last layer after its norm, which the output head receives."""

    def __getitem__(self, layer: int) -> Tensor:
        """Returns the states of a layer, numbered as in `Read.hidden_layer`.

        Raises:
            Unsupported: If the layers of the model cannot be identified, or there is none of that number.
        """
        if layer != -1 and isinstance(self._layers, Unsupported):
            raise self._layers
        count = 0 if isinstance(self._layers, Unsupported) else len(self._layers)
        number = layer + count + 1 if layer < 0 else layer
        if number == count:
            assert self.last is not None
            return self.last
        if number not in self.between:
            raise _no_such_states(layer, count)
        return self.between[number]


def layer_of(layers: Sequence[Tensor], number: int) -> Tensor:
    """Returns the states of a layer, numbered as in `Read.hidden_layer`.

    Args:
        layers: The states of all layers, starting with the embedding.
        number: The number of the layer.

    Raises:
        Unsupported: If there is no layer of that number, or its states are not one tensor.
    """
    states = layers[number] if -len(layers) <= number < len(layers) else None
    if not isinstance(states, Tensor):
        raise _no_such_states(number, len(layers) - 1)
    return states


def _no_such_states(number: int, count: int) -> Unsupported:
    return Unsupported(
        f"This model has no hidden states of one kind for layer {number}",
        code="no-such-states",
        got=f"{count} layers",
        hint="Read layer -1, or use another model",
        layer=number,
        model_layers=count,
    )


@contextmanager
def recorded(decoder: nn.Module, layers: Sequence[nn.Module] | Unsupported) -> Iterator[LayerStates]:
    """Context manager that records the hidden states of a forward pass.

    Args:
        decoder: The module that returns the last hidden states.
        layers: The layers, or why they are unknown.
    """
    states = LayerStates(layers)

    def record_input(module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        states.between[0] = inputs[0] if inputs else named["hidden_states"]

    def record_output(number: int) -> Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]:
        def record(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            states.between[number] = output if isinstance(output, Tensor) else output[0]

        return record

    projections: list[tuple[Tensor, Tensor]] = []

    def record_projection(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        projections.append((inputs[0], output))

    def record_last(module: nn.Module, inputs: object, output: LastState) -> None:
        states.last = output.last_hidden_state
        for before, after in projections:  # to the width of the embedding, as the last step of OPT-350m
            if after is states.last and before.shape != after.shape:
                states.last = before

    with ExitStack() as stack:
        for child in decoder.children():
            if isinstance(child, nn.Linear):
                stack.callback(child.register_forward_hook(record_projection).remove)
        stack.callback(decoder.register_forward_hook(record_last).remove)
        if not isinstance(layers, Unsupported):
            stack.callback(layers[0].register_forward_pre_hook(record_input, with_kwargs=True).remove)
            for number, layer in enumerate(layers, start=1):
                stack.callback(layer.register_forward_hook(record_output(number)).remove)
        yield states
