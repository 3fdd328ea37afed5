"""Edits of the hidden states between a model's layers, by forward hooks that are registered for one forward pass.

The operations are h + v; v; and that of LoReFT (Wu et al. 2024, arXiv 2404.03592, equation 2), h + R^T (W h + b - R h), which
edits h in the subspace that the orthonormal rows of R span. Differentiable in v, R, W and b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from promptkit.core.interventions import HiddenEdit

if TYPE_CHECKING:
    from promptkit.models.hf.causal_lm import CausalLM

LayerOutput = Tensor | tuple[Tensor, ...] | list[Tensor]
"""What a layer of transformers returns: its hidden states, by themselves or as the first of several values."""


@contextmanager
def edited(causal_lm: CausalLM, edits: Sequence[HiddenEdit[Tensor]], positions: Tensor, tokens_after: Tensor) -> Iterator[None]:
    """Context manager in which a forward pass of the model applies the edits.

    Args:
        causal_lm: The model.
        edits: The edits. Edits of the same layer are applied in this order.
        positions: How many tokens precede each token in its prompt, shape (..., T) for hidden states of shape (..., T,
            d_model).
        tokens_after: How many tokens of the prompt follow each token; negative outside of a prompt. Shape as `positions`.
    """
    with ExitStack() as stack:
        layers = causal_lm.layers if edits else ()
        for edit in reversed(edits):  # prepended in front of hooks that are there already, such as those that record states
            hook = _hook(edit, _edited_positions(edit, positions, tokens_after))
            stack.callback(layers[edit.layer - 1].register_forward_hook(hook, prepend=True).remove)
        yield


def _edited_positions(edit: HiddenEdit[Tensor], positions: Tensor, tokens_after: Tensor) -> Tensor:
    """Returns where the edit applies: bool, shape as `positions`."""
    if edit.all_positions:
        return torch.ones_like(tokens_after, dtype=torch.bool)
    return (tokens_after >= 0) & ((positions < edit.first) | (tokens_after < edit.last))


def _hook(edit: HiddenEdit[Tensor], where: Tensor) -> Callable[[nn.Module, object, LayerOutput], LayerOutput]:
    def hook(module: nn.Module, inputs: object, output: LayerOutput) -> LayerOutput:
        states = output if isinstance(output, Tensor) else output[0]
        new = states.clone()
        new[where] = _apply(edit, states[where])
        return new if isinstance(output, Tensor) else type(output)((new, *output[1:]))

    return hook


def _apply(edit: HiddenEdit[Tensor], states: Tensor) -> Tensor:
    """Applies the edit to states of shape (N, d_model), in float32: edits are small and residual streams are large."""
    arrays, exact = [array.float() for array in edit.arrays], states.float()
    if edit.operation == "low_rank":
        rotation, source, bias = arrays
        with torch.autocast(states.device.type, enabled=False):
            exact = exact + (exact @ source.T + bias - exact @ rotation.T) @ rotation
    else:
        exact = arrays[0].expand_as(states) if edit.operation == "replace" else exact + arrays[0]
    return exact.to(states.dtype)
