"""Rotary embeddings whose scaling depends on the length of a sequence: dynamic NTK and LongRoPE.

transformers scales a whole batch by its longest row, and dynamic NTK also remembers the longest row so far. The scaling of a
sequence must depend on that sequence alone, so that rows of one length are computed together, each time from the initial
state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LENGTH_DEPENDENT = frozenset({"dynamic", "longrope"})
"""The types of scaling that depend on the length of the batch."""


def depends_on_length(config: PretrainedConfig) -> bool:
    """Returns whether a configuration of a text model has a rotary embedding of a type of `LENGTH_DEPENDENT`."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    return any(f"'{kind}'" in str(settings) for kind in LENGTH_DEPENDENT)  # the settings may be nested by kind of layer


class RopeState:
    """The initial state of the rotary embeddings of a model."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Saves the state of the modules with frequencies."""
        self._saved: list[tuple[nn.Module, dict[str, object], dict[str, Tensor]]] = []
        for module in modules:
            buffers = dict(module.named_buffers(recurse=False))
            if any("inv_freq" in name for name in buffers):
                self._saved.append((module, dict(vars(module)), {name: buffer.clone() for name, buffer in buffers.items()}))

    def restore(self) -> None:
        """Restores the saved state."""
        for module, attributes, buffers in self._saved:
            for name in vars(module).keys() - attributes.keys():
                delattr(module, name)
            vars(module).update(attributes)
            for name, buffer in buffers.items():
                module.register_buffer(name, buffer.clone(), persistent=name in module.state_dict())
