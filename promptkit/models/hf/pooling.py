"""The hidden state that answers a `Read` request: the state at the last position, or a mean over positions."""

from __future__ import annotations

from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.requests import Read
from promptkit.models.hf.tensors import array_of


def hidden_state(verb: Read, states: Tensor) -> Array:
    """Returns the pooled hidden state of one layer, of length d_model.

    Args:
        verb: Whether to take the last position or a mean.
        states: The layer's states at the input's positions, shape (positions, d_model). For only the last position, the states
            of a suffix of the input are sufficient.
    """
    state = states[-1] if verb.mean_from is None else states[verb.mean_from :].float().mean(0)
    return array_of(state)
