"""Gradient checkpointing: of a forward no layer's activations are kept, and the backward pass computes them again.

It takes less memory, and one forward more (Chen et al. 2016, 1604.06174). Transformers' own asks for a model in training mode,
in which it drops out, and leaves out the keys and values that stand before a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from promptkit.models.hf.interventions import layers_of


@contextmanager
def checkpointing(model: Any) -> Iterator[None]:
    """A forward inside keeps what goes into each layer alone; hooks on a layer stand outside of it, and run once."""
    layers = [*layers_of(model)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
