"""Hidden states changed between a model's layers, by hooks that stand for one forward alone.

The operations: h + v; v; and LoReFT's h + R^T (W h + b - R h) (Wu et al. 2024, 2404.03592, equation 2), which changes h in the
subspace of R's rows alone, R R^T = I. Differentiable in their tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import HiddenEdit


def layers_of(model: Any) -> nn.ModuleList:
    """A model's layers, in their order."""
    count = model.config.get_text_config().num_hidden_layers
    found = next((each for each in model.modules() if isinstance(each, nn.ModuleList) and len(each) == count), None)
    if found is None:
        kind = str(model.config.model_type)
        raise Unsupported(
            "The layers of this model cannot be identified among its modules",
            code="unidentified-layers",
            got=f"a model of type {kind}",
            hint="Use another model",
            model_type=kind,
        )
    return found


@contextmanager
def edited(model: Any, edits: Sequence[HiddenEdit[Tensor]], positions: Tensor, behind: Tensor) -> Iterator[None]:
    """Inside, a forward of the model makes the edits.

    positions, behind: of each token of a row, how many stand before it in its prompt, and how many behind; less than 0 where
    it is none of a prompt. Shape (..., T), as the hidden states are (..., T, d_model).
    """
    with ExitStack() as stack:
        layers = layers_of(model) if edits else ()
        for edit in reversed(edits):  # each goes before the hooks that are there, such as those that tell hidden states
            hook = _hook(edit, _places(edit, positions, behind))
            stack.callback(layers[edit.layer - 1].register_forward_hook(hook, prepend=True).remove)
        yield


def _places(edit: HiddenEdit[Tensor], positions: Tensor, behind: Tensor) -> Tensor:
    """Where it is made: bool, shape as `positions`."""
    if edit.all_positions:
        return torch.ones_like(behind, dtype=torch.bool)
    return (behind >= 0) & ((positions < edit.first) | (behind < edit.last))


def _hook(edit: HiddenEdit[Tensor], places: Tensor) -> Any:
    def changed(module: Any, given: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        new = states.clone()
        new[places] = _applied(edit, states[places])
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return changed


def _applied(edit: HiddenEdit[Tensor], states: Tensor) -> Tensor:
    """In float32: residual streams are large, and what is added to them is small. Shape (N, d_model), as `states`."""
    arrays, exact = [array.float() for array in edit.arrays], states.float()
    if edit.operation == "low_rank":
        rotation, source, bias = arrays
        with torch.autocast(states.device.type, enabled=False):
            exact = exact + (exact @ source.T + bias - exact @ rotation.T) @ rotation
    else:
        exact = arrays[0].expand_as(states) if edit.operation == "replace" else exact + arrays[0]
    return exact.to(states.dtype)
