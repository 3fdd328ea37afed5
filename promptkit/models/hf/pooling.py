"""Which hidden state a `Read` is answered with: that of the last position, or the mean over several."""

from __future__ import annotations

from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.requests import Read
from promptkit.models.hf.tensors import array_of


def hidden_state(verb: Read, states: Tensor) -> Array:
    """Of a layer's states at an input's positions, shape (positions, d_model); the last ones are enough without a mean."""
    state = states[-1] if verb.mean_from is None else states[verb.mean_from :].float().mean(0)
    return array_of(state)
