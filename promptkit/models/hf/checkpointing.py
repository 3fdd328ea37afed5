"""Gradient checkpointing: activations inside a layer are discarded, and computed again by the backward pass.

Takes less memory, for the time of one more forward pass (Chen et al. 2016, arXiv 1604.06174). The implementation of
transformers does not fit a frozen model: it requires training mode, which enables dropout, and drops keys and values before the
prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def checkpointing(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Context manager in which a forward pass stores only the inputs of each layer.

    Forward hooks on a layer are outside of the part that is computed again, and run once.
    """
    layers = list(layers)
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
