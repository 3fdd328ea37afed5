"""Laws of the operations on images: bounds, unchanged arguments, independence of the batch, and references."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from promptkit.core.errors import Unsupported
from promptkit.core.interventions import InputOperation
from promptkit.core.placement import centered
from promptkit.models.vision.operations import OPERATIONS, apply, resize
from tests.support.errors import refused

SIZE = (24, 32)


def normal(seed: int, *shape: int, scale: float = 0.5) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(seed: int, count: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand((count, channels, height, width), generator=torch.Generator().manual_seed(seed))


def operation(name: str, seed: int = 0) -> InputOperation[Tensor]:
    """An operation with random parameters."""
    outside = centered(SIZE, 0.6).outside(SIZE)
    widths = (3, 8, 16, 32, 64, 3)
    layers = [
        array
        for number, (narrow, wide) in enumerate(pairwise(widths))
        for array in (normal(seed + number, wide, narrow, 3, 3, scale=0.1), normal(seed - number, wide))
    ]
    arrays: dict[str, tuple[Tensor, ...]] = {
        "border": (normal(seed, 3, outside),),
        "add": (normal(seed, 3, *SIZE),),
        "mask": (normal(seed, 3, *SIZE), *layers),
        "affine": (normal(seed, 4), normal(seed, 2)),
        "filter": (normal(seed, 3, 3, 5, 5), normal(seed, 3)),
    }
    options: dict[str, tuple[tuple[str, str | float], ...]] = {
        "place": (("share", 0.6), ("background", 0.25)),
        "border": (("share", 0.6),),
        "mask": (("patch", 8),),
        "affine": (("background", 0.25),),
    }
    return InputOperation(name=name, arrays=arrays.get(name, ()), settings=options.get(name, ()))


def applied(batch: Tensor, name: str, seed: int = 0) -> Tensor:
    return apply(batch, [operation(name, seed)], SIZE)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), height=st.integers(1, 40), width=st.integers(1, 40))
def test_an_operation_is_pure_bounded_and_independent_of_the_batch(name: str, seed: int, height: int, width: int) -> None:
    batch = images(seed, 3, height, width)
    before = batch.clone()
    result = applied(batch, name, seed)
    assert torch.equal(batch, before)
    assert result.shape == (3, 3, *SIZE)
    assert result.min() >= 0
    assert result.max() <= 1
    for index in range(3):
        torch.testing.assert_close(applied(batch[index : index + 1], name, seed), result[index : index + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_reach_every_parameter_and_only_these(name: str) -> None:
    given_operation = operation(name)
    batch = images(0, 4, 20, 28)
    leaves = [array.clone().requires_grad_() for array in given_operation.arrays]
    result = apply(batch, [InputOperation(name=name, arrays=tuple(leaves), settings=given_operation.settings)], SIZE)
    if leaves:
        (result * normal(1, *result.shape)).sum().backward()
        assert all(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)
    assert batch.grad is None
    assert result.requires_grad == bool(leaves)


def test_an_unknown_operation_is_refused() -> None:
    with refused(Unsupported, "unknown-operation", operation="blur"):
        apply(images(0, 1, 8, 8), [InputOperation(name="blur")], SIZE)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    batch = images(0, 2, *SIZE)
    assert resize(batch, SIZE) is batch


def test_placed_images_lie_in_the_middle_of_the_background() -> None:
    batch = images(0, 2, 9, 9)
    top, left, height, width = centered(SIZE, 0.6)
    result = applied(batch, "place")
    torch.testing.assert_close(result[..., top : top + height, left : left + width], resize(batch, (height, width)))
    result[..., top : top + height, left : left + width] = 0.25
    assert (result == 0.25).all()


def test_a_border_surrounds_the_placed_image_by_the_sigmoid_of_its_parameters() -> None:
    batch, (frame,) = images(0, 2, 9, 9), operation("border").arrays
    placed, result = applied(batch, "place"), applied(batch, "border")
    inside = placed[0, 0] != 0.25
    assert torch.equal(result[..., inside], placed[..., inside])
    torch.testing.assert_close(result[1][:, ~inside], frame.sigmoid())


def test_the_mask_equals_the_network_of_the_paper_without_batch_normalization() -> None:
    given_operation = operation("mask")
    network = nn.Sequential()
    for number, (weight, bias) in enumerate(zip(given_operation.arrays[1::2], given_operation.arrays[2::2], strict=True)):
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        convolution.weight.data, convolution.bias = weight, nn.Parameter(bias)
        network.append(convolution)
        network.extend([nn.ReLU()] if number < 4 else [])
        network.extend([nn.MaxPool2d(2)] if number < 3 else [])
    batch = images(0, 2, *SIZE)
    factors = nn.functional.interpolate(network(batch), SIZE, mode="nearest")
    expected = (batch + given_operation.arrays[0] * factors).clamp(0, 1)
    torch.testing.assert_close(applied(batch, "mask"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("placement", "moved"),
    [
        ((0, 0, 0, 0), lambda image: image),
        ((0, 2 * 3 / 16, 0, 0), lambda image: np.pad(image, ((3, 0), (0, 0)), constant_values=0.25)[:16]),
        ((0, 0, -2 * 2 / 16, 0), lambda image: np.pad(image, ((0, 0), (0, 2)), constant_values=0.25)[:, 2:]),
        ((0, 0, 0, math.pi / 2), lambda image: np.rot90(image, -1)),
        ((0, 0, 0, -math.pi / 2), np.rot90),
    ],
)
def test_an_affine_program_moves_the_image(placement: tuple[float, ...], moved: object) -> None:
    image = images(3, 1, 16, 16)[0, 0]
    arrays = (torch.tensor(placement, dtype=torch.float32), torch.zeros(2))
    program = InputOperation(name="affine", arrays=arrays, settings=(("background", 0.25),))
    result = apply(image[None, None], [program], (16, 16))[0, 0]
    assert callable(moved)
    np.testing.assert_allclose(result.numpy(), moved(image.numpy()), atol=1e-4)


def test_an_affine_program_scales_around_the_middle_and_changes_the_tone() -> None:
    batch = torch.full((1, 1, 16, 16), 0.5)
    arrays = (torch.tensor([math.log(0.5), 0, 0, 0]), torch.tensor([0.2, 0.1]))
    result = apply(batch, [InputOperation(name="affine", arrays=arrays, settings=(("background", 0.0),))], (16, 16))[0, 0]
    assert result[8, 8] == pytest.approx(0.7)
    assert result[1, 1] == pytest.approx(0.1)
    assert (result > 0.5).sum() == 64


def test_a_rotation_keeps_the_shape_of_the_image_on_a_canvas_that_is_not_square() -> None:
    batch = torch.zeros((1, 1, 16, 32))
    batch[..., 6:10, 14:18] = 1
    arrays = (torch.tensor([0, 0, 0, math.pi / 2]), torch.zeros(2))
    result = apply(batch, [InputOperation(name="affine", arrays=arrays, settings=(("background", 0.0),))], (16, 32))
    torch.testing.assert_close(result, batch, atol=1e-4, rtol=0)


def test_autocontrast_stretches_each_image_to_the_whole_range() -> None:
    batch = torch.stack([0.2 + 0.1 * images(0, 1, 8, 8)[0], torch.full((3, 8, 8), 0.3)])
    result = OPERATIONS["autocontrast"](batch, (), {}, SIZE)
    assert (result[0].min(), result[0].max()) == (0, 1)
    assert torch.equal(result[1], batch[1])


def test_inversion_is_its_own_inverse() -> None:
    batch = images(0, 2, 8, 8)
    torch.testing.assert_close(OPERATIONS["invert"](OPERATIONS["invert"](batch, (), {}, SIZE), (), {}, SIZE), batch)


def test_operations_are_applied_in_order() -> None:
    batch = images(0, 2, *SIZE)
    expected = (1 - batch + operation("add").arrays[0]).clamp(0, 1)
    torch.testing.assert_close(apply(batch, [operation("invert"), operation("add")], SIZE), expected)
