"""Small image classifiers with seeded weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.inputs import ImageInput
from promptkit.core.requests import Classify, Output, Request
from promptkit.models.vision.engine import VisionModel

NORMALIZATION = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
NAMES = ("cat", "dog", "boat", "tree")
SIZE = 16


class Block(nn.Module):
    """A residual block with two batch norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (states + self.norm2(self.conv2(self.norm1(self.conv1(states)).relu()))).relu()


class Convolutional(nn.Module):
    """A small residual network: a stem, blocks, pooling, a linear layer."""

    def __init__(self, classes: int = len(NAMES)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(6), nn.Sequential(nn.Conv2d(6, 8, 1), nn.ReLU()), Block(8))
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """Returns the module in evaluation mode with seeded weights and batch norm statistics far from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                drawn = torch.rand(value.shape, generator=generator)
                value.copy_(drawn + 0.5 if name.endswith("running_var") else drawn - 0.4)
    return module.eval()


def loaded(module: nn.Module, **settings: object) -> VisionModel:
    """The model of a module, by default with `SIZE`, `NORMALIZATION` and `NAMES`, on the CPU."""
    defaults = {"size": SIZE, "normalization": NORMALIZATION, "class_names": NAMES, "device": "cpu"}
    return pk.load_module(module, **{**defaults, **settings})


def convolutional(**settings: object) -> VisionModel:
    return loaded(seeded(Convolutional()), **settings)


def images(count: int, *, size: tuple[int, int] = (SIZE, SIZE), seed: int = 0) -> list[ImageInput]:
    rng = np.random.default_rng(seed)
    return [ImageInput(pixels=as_array(rng.random((3, *size)))) for _ in range(count)]


def stacked(inputs: list[ImageInput]) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.pixels.numpy() for image in inputs]))


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALIZATION)
    return (pixels - mean) / std


def outputs_of(model: VisionModel, requests: list[Request]) -> list[Output]:
    """The outputs in the order of the requests."""
    found = {index: output for batch, outputs in model.answer(requests) for index, output in zip(batch, outputs, strict=True)}
    return [found[index] for index in range(len(requests))]


def logits_of(model: VisionModel, inputs: list[ImageInput]) -> np.ndarray:
    outputs = outputs_of(model, [Request(input=image, verb=Classify()) for image in inputs])
    return np.stack([output.logits.numpy() for output in outputs])


def save_vit(folder: Path, **changes: object) -> Path:
    """Saves a ViT with random weights, and the settings of its image processor with some changes."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=SIZE,
        patch_size=4,
        id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    return write_processor(folder, "ViTImageProcessor", **changes)


def save_resnet(folder: Path) -> Path:
    """Saves a ResNet with batch norms."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )
    seeded(ResNetForImageClassification(config)).save_pretrained(folder)
    return write_processor(folder, "ViTImageProcessor")


def write_processor(folder: Path, kind: str, **changes: object) -> Path:
    mean, std = NORMALIZATION
    settings = {"size": {"height": SIZE, "width": SIZE}, "image_mean": mean, "image_std": std, "do_normalize": True, **changes}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **settings}), "utf-8")
    return folder
