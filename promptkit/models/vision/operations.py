"""Operations on the pixels of images before a model's own normalization: one function for each name of `InputOperation`.

A function maps a batch of images of the same size, (N, C, H, W) with values between 0 and 1, to a batch with values between 0
and 1. It does not change its arguments, and the result for an image does not depend on the other images of the batch.
Operations with learned pixels act on images of the size that the model reads, and resize other images first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from promptkit.core.errors import Unsupported
from promptkit.core.interventions import InputOperation
from promptkit.core.placement import centered
from promptkit.core.registry import Registry

__all__ = ["OPERATIONS", "Operation", "register"]  # the names of `pk.operations`

Settings = Mapping[str, str | float]


class Operation(Protocol):
    """The function of an operation."""

    def __call__(self, batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
        """Returns the changed images.

        Args:
            batch: Images of the same size, shape (N, C, H, W), values between 0 and 1.
            arrays: The parameters of the operation.
            settings: Its further settings.
            size: The height and width of the images that the model reads.
        """
        ...


def apply(batch: Tensor, operations: Sequence[InputOperation[Tensor]], size: tuple[int, int]) -> Tensor:
    """Applies operations in order, and resizes the images to the size that the model reads.

    Args:
        batch: Images of the same size, shape (N, C, H, W), values between 0 and 1.
        operations: The operations, with tensors on the device of the batch.
        size: The height and width of the images that the model reads.

    Raises:
        Unsupported: An operation has no function.
    """
    for operation in operations:
        if operation.name not in OPERATIONS:
            raise Unsupported(
                f"There is no operation {operation.name} on images",
                code="unknown-operation",
                got=operation.name,
                hint=f"The operations are {', '.join(OPERATIONS)}",
                operation=operation.name,
            )
        batch = OPERATIONS[operation.name](batch, operation.arrays, dict(operation.settings), size)
    return resize(batch, size)


def resize(batch: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the images at another size: bilinear with antialiasing; images of this size are returned unchanged."""
    if batch.shape[-2:] == size:
        return batch
    resized = functional.interpolate(batch, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 1)  # the weights of the pixels sum to 1 only up to rounding


def place(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Resizes each image to a share of the canvas, and places it in the middle of a uniform background."""
    background = torch.full(size, float(settings["background"]), dtype=batch.dtype, device=batch.device)
    return _on_canvas(batch, background, float(settings["share"]))


def border(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Resizes each image to a share of the canvas, and surrounds it with learned pixels, the sigmoid of the parameters."""
    (frame,) = arrays
    top, left, height, width = centered(size, float(settings["share"]))
    outside = torch.ones(size, dtype=torch.bool, device=batch.device)
    outside[top : top + height, left : left + width] = False
    canvas = batch.new_zeros((batch.shape[1], *size))
    canvas[:, outside] = frame.sigmoid().to(batch.dtype)
    return _on_canvas(batch, canvas, float(settings["share"]))


def _on_canvas(batch: Tensor, canvas: Tensor, share: float) -> Tensor:
    """Places each image in the middle of a canvas, shape (C, H, W) or (H, W)."""
    size = (canvas.shape[-2], canvas.shape[-1])
    top, left, height, width = centered(size, share)
    placed = canvas.expand(*batch.shape[:2], *size).clone()
    placed[..., top : top + height, left : left + width] = resize(batch, (height, width))
    return placed


def add(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Adds a learned image to each resized image."""
    (delta,) = arrays
    return (resize(batch, size) + delta).clamp(0, 1)


def mask(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Adds a learned image to each resized image, multiplied by a mask that a small network computes from the image.

    The first array is the learned image; the others are a weight and a bias for each convolution of the network.
    """
    delta, *parameters = arrays
    resized = resize(batch, size)
    features, patch = resized, int(settings["patch"])
    layers = [*zip(parameters[::2], parameters[1::2], strict=True)]
    for number, (weight, bias) in enumerate(layers):
        features = functional.conv2d(features, weight, bias, padding="same")
        if number < len(layers) - 1:
            features = features.relu()
        if 2 ** (number + 1) <= patch:
            features = functional.max_pool2d(features, 2, ceil_mode=True)
    patches = features.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
    return (resized + delta * patches[..., : size[0], : size[1]]).clamp(0, 1)


def affine(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Scales, shifts and rotates each resized image, and applies a gain and an offset to its values.

    The first array is the logarithm of the scale, the downward and the rightward shift in halves of the canvas, and the
    clockwise angle in radians; the second is the gain minus 1, and the offset.
    """
    placement, tone = arrays
    log_scale, down, right, angle = placement.unbind()
    cos, sin = angle.cos() * (-log_scale).exp(), angle.sin() * (-log_scale).exp()
    aspect = size[0] / size[1]
    # The grid gives the place in the image that each pixel of the canvas shows: the inverse of the movement of the image.
    theta = torch.stack(
        [
            torch.stack([cos, sin * aspect, -(cos * right + sin * aspect * down)]),
            torch.stack([-sin / aspect, cos, sin / aspect * right - cos * down]),
        ]
    )
    resized, background = resize(batch, size), float(settings["background"])
    grid = functional.affine_grid(theta.expand(len(batch), 2, 3), list(resized.shape), align_corners=False)
    moved = functional.grid_sample(resized - background, grid, align_corners=False) + background
    gain, offset = tone.unbind()
    return (moved * (1 + gain) + offset).clamp(0, 1)


def filter(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Adds a learned convolution of each resized image to it; images are padded with their edge pixels."""
    kernel, bias = arrays
    resized, width = resize(batch, size), kernel.shape[-1] // 2
    padded = functional.pad(resized, (width, width, width, width), mode="replicate")
    return (resized + functional.conv2d(padded, kernel, bias)).clamp(0, 1)


def invert(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Returns 1 - x."""
    return 1 - batch


def autocontrast(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    """Stretches the values of each image to the range from 0 to 1, in all channels alike; a uniform image is unchanged."""
    low, high = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    stretched = (batch - low) / torch.where(high > low, high - low, 1)
    return torch.where(high > low, stretched, batch).clamp(0, 1)


class OperationTable(Registry[Operation]):
    """A table of operations by the names of their functions."""

    def _entry(self, added: object) -> tuple[str, Operation]:
        if not isinstance(added, FunctionType):
            raise self._incomplete(added, "An operation is a function", "Write def name(batch, arrays, settings, size)")
        return added.__name__, cast("Operation", added)


OPERATIONS = OperationTable(
    "operation", (place, border, add, mask, affine, filter, invert, autocontrast), group="promptkit.operations"
)
"""The operations by name."""
register = OPERATIONS.register
"""Registers the function of an operation, whose name is that of `InputOperation`."""
