"""Makes a frozen classifier faster without changing its results: batch norms folded into convolutions, channels last.

Each change is kept only where the logits of a probe stay within `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from promptkit.models.vision.structure import Structure, logits_of

TOLERANCE = 1e-4
"""The largest change of a logit in float32."""


def optimize(module: nn.Module, structure: Structure, probe: Tensor, name: str) -> list[str]:
    """Folds batch norms and sets the memory format of a classifier in place, where its logits stay the same.

    Args:
        module: The classifier in float32, in evaluation mode, without gradients.
        structure: Its structure.
        probe: Normalized images on its device.
        name: The model as the user named it, for error messages.

    Returns:
        Notes on changes that were undone.
    """

    def logits() -> Tensor:
        with torch.no_grad():
            return logits_of(module(probe.clone()), len(probe), name)

    def kept(change: Callable[[], object], undo: Callable[[], object]) -> bool:
        before = logits()
        change()
        difference = float((logits() - before).abs().max())
        if difference <= TOLERANCE:
            return True
        undo()
        return False

    notes = []
    if structure.foldable:
        originals = {path: module.get_submodule(path) for pair in structure.foldable for path in pair}
        if not kept(lambda: _replace(module, _folded(structure, originals)), lambda: _replace(module, originals)):
            notes.append(f"batch norms are not folded into convolutions, which would change a logit by more than {TOLERANCE:g}")
    if any(weight.dim() == 4 for weight in module.parameters()):
        last, first = torch.channels_last, torch.contiguous_format
        if not kept(lambda: _set_format(module, last), lambda: _set_format(module, first)):
            notes.append(f"weights are not stored channels last, which would change a logit by more than {TOLERANCE:g}")
    return notes


def _folded(structure: Structure, modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Returns the modules that replace each foldable pair: a fused convolution or linear layer, and an identity."""
    replaced: dict[str, nn.Module] = {}
    for source, norm in structure.foldable:
        first, second = modules[source], modules[norm]
        assert isinstance(second, nn.modules.batchnorm._BatchNorm)
        if isinstance(first, nn.Linear):
            fused: nn.Module = fuse_linear_bn_eval(first, second)
        else:
            assert isinstance(first, nn.modules.conv._ConvNd)
            fused = fuse_conv_bn_eval(first, second)
        replaced |= {source: fused.requires_grad_(False), norm: nn.Identity()}
    return replaced


def _replace(module: nn.Module, submodules: Mapping[str, nn.Module]) -> None:
    for path, submodule in submodules.items():
        parent, _, attribute = path.rpartition(".")
        setattr(module.get_submodule(parent), attribute, submodule)


def _set_format(module: nn.Module, memory_format: torch.memory_format) -> None:
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)
