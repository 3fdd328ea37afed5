"""Small image classifiers of several architectures of transformers: their logits and layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from promptkit.core.requests import Read, Request
from tests.models.vision.tiny import images, loaded, logits_of, normalized, outputs_of, seeded, stacked

SIZE = 32
TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
PATCHES = {"image_size": SIZE, "patch_size": 8}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2]}
WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": SIZE, "patch_size": 4}
ARCHITECTURES: dict[str, tuple[Callable[[], Any], int, bool]] = {
    "Beit": (lambda: transformers.BeitConfig(**TRANSFORMER, **PATCHES), 2, False),
    "ConvNext": (lambda: transformers.ConvNextConfig(num_stages=2, **STAGES, image_size=SIZE), 2, False),
    "DeiT": (lambda: transformers.DeiTConfig(**TRANSFORMER, **PATCHES), 2, False),
    "MobileNetV2": (lambda: transformers.MobileNetV2Config(depth_multiplier=0.25, image_size=SIZE), 16, True),
    "RegNet": (lambda: transformers.RegNetConfig(embedding_size=8, groups_width=4, **STAGES), 2, True),
    "Swin": (lambda: transformers.SwinConfig(**WINDOWS), 2, False),
}
"""A small configuration, the number of layers besides the pooled features, and whether batch norms are folded."""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_of_transformers(name: str) -> None:
    config, layers, folds = ARCHITECTURES[name]
    torch.manual_seed(0)
    module = getattr(transformers, f"{name}ForImageClassification")(config())
    if folds:
        module = seeded(module)
    classes = module(torch.zeros(1, 3, SIZE, SIZE)).logits.shape[1]
    names = [str(number) for number in range(classes)]
    model = loaded(module, size=SIZE, class_names=names)
    inputs = images(3, size=(SIZE, SIZE))
    with torch.no_grad():
        expected = module.eval()(normalized(stacked(inputs))).logits
    np.testing.assert_allclose(logits_of(model, inputs), expected, rtol=1e-4, atol=1e-4)
    assert len(model.card.layers) == layers + 1
    assert bool(model._structure.foldable) == folds
    assert model.notes() == ()
    reads = [Request(input=image, verb=Read(hidden_layer=layer)) for image in inputs for layer in range(layers + 1)]
    widths = [output.hidden.shape for output in outputs_of(model, reads)]
    assert widths == [(width,) for width in model.card.widths] * len(inputs)
