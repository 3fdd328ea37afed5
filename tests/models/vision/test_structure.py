"""The layers of classifiers, and which batch norms can be folded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import promptkit as pk
from promptkit.core.requests import Read, Request
from promptkit.models.vision import optimization
from promptkit.models.vision.structure import pool, structure_of
from tests.models.vision.tiny import (
    SIZE,
    Convolutional,
    convolutional,
    images,
    loaded,
    logits_of,
    normalized,
    outputs_of,
    save_resnet,
    save_vit,
    seeded,
    stacked,
)


def structure(module: nn.Module) -> object:
    return structure_of(seeded(module), torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), "tiny")


def test_the_layers_of_a_vit_are_its_blocks_and_the_class_token(tmp_path) -> None:
    card = pk.load(f"vision:{save_vit(tmp_path)}").card
    assert len(card.layers) == 3
    assert [layer.rpartition(".")[2] for layer in card.layers] == ["0", "1", "pooled"]
    assert card.widths == (16, 16, 16)


def test_the_card_needs_no_weights(tmp_path) -> None:
    folder = save_resnet(tmp_path)
    expected = pk.load(f"vision:{folder}", device="cpu")
    expected.load()
    (folder / "model.safetensors").unlink()
    assert pk.load(f"vision:{folder}").card == expected.card


def test_the_layers_of_a_plain_sequence_are_its_parts_with_weights() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 4),
    )
    found = structure(module)
    assert (found.layers, found.widths) == (("1", "3", "pooled"), (4, 5, 5))
    assert (found.output_layer, found.foldable) == ("6", (("0", "1"),))


def test_the_output_layer_can_be_a_convolution() -> None:
    found = structure(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert (found.layers, found.widths, found.output_layer) == (("0", "pooled"), (6, 6), "2")


class Branches(nn.Module):
    """The output of the first convolution is read by a batch norm and by something else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.other = nn.ReLU()
        self.head = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states = self.conv(images)
        return self.head((self.norm(states) + self.other(states)).mean((2, 3)))


class Rectified(Branches):
    """The output of the convolution is changed in place before the batch norm."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(functional.relu(self.conv(images), inplace=True)).mean((2, 3)))


class HiddenBranch(Branches):
    """As `Branches`, but the second reader is no module, so that folding is tried and changes the logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states = self.conv(images)
        return self.head((self.norm(states) + states).mean((2, 3)))


class Repeated(Branches):
    """The batch norm is run twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.norm(self.conv(images))).mean((2, 3)))


@pytest.mark.parametrize("module", [Branches(), Rectified(), Repeated()])
def test_a_batch_norm_is_not_folded_if_it_is_not_the_only_reader_of_an_unchanged_convolution(module) -> None:
    assert structure(module).foldable == ()


@pytest.mark.parametrize("module", [Branches(), Rectified(), Repeated(), HiddenBranch()])
def test_results_are_right_whether_or_not_a_batch_norm_is_folded(module) -> None:
    reference = seeded(module)
    model = loaded(reference)
    with torch.no_grad():
        expected = reference(normalized(stacked(images(3))))
    np.testing.assert_allclose(logits_of(model, images(3)), expected, atol=1e-4)
    assert len(model.notes()) == isinstance(module, HiddenBranch)


def test_a_linear_layer_and_its_batch_norm_are_folded() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    reference = seeded(module)
    model = loaded(reference)
    with torch.no_grad():
        expected = reference(normalized(stacked(images(2))))
    np.testing.assert_allclose(logits_of(model, images(2)), expected, rtol=1e-4, atol=1e-4)


class EndsInConvolution(nn.Module):
    """A block whose last convolution is followed by the batch norm of the next block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)),
            nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        )
        self.head = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(images).mean((2, 3)))


@pytest.mark.parametrize("module", [Convolutional(), EndsInConvolution()])
def test_the_features_of_every_layer_are_those_before_folding(module) -> None:
    reference = seeded(module)
    model = loaded(reference)
    inputs = images(2)
    for number, layer in enumerate(model.card.layers[:-1]):
        kept: list[torch.Tensor] = []
        hook = reference.get_submodule(layer).register_forward_hook(lambda module, read, output, kept=kept: kept.append(output))
        with torch.no_grad():
            reference(normalized(stacked(inputs)))
        hook.remove()
        actual = [output.hidden.numpy() for output in outputs_of(model, [_read(image, number) for image in inputs])]
        np.testing.assert_allclose(np.stack(actual), kept[0].mean((2, 3)), atol=1e-4)


def _read(image: object, layer: int) -> Request:
    return Request(input=image, verb=Read(hidden_layer=layer))


@pytest.mark.parametrize("failing", [0, 1])
def test_a_change_that_moves_logits_is_undone_and_noted(monkeypatch, failing) -> None:
    changes = ["_folded", "_set_format"]
    original = getattr(optimization, changes[failing])

    def wrong(first: object, *arguments: object) -> object:
        result = original(first, *arguments)
        if changes[failing] == "_folded":
            next(iter(result.values())).weight.data += 1
        elif arguments[0] == torch.channels_last:
            first.head.bias.data += 1
        else:
            first.head.bias.data -= 1
        return result

    expected = logits_of(convolutional(), images(3))
    monkeypatch.setattr(optimization, changes[failing], wrong)
    model = convolutional()
    np.testing.assert_allclose(logits_of(model, images(3)), expected, atol=1e-4)
    assert len(model.notes()) == 1
    norms = any(isinstance(module, nn.BatchNorm2d) for module in model._classifier.module.modules())
    assert norms == (failing == 0)


def test_weights_are_channels_last() -> None:
    weights = [weight for weight in convolutional()._classifier.module.parameters() if weight.dim() == 4]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 5, 7, 7), (2, 3)), ((2, 7, 7, 5), (1, 2)), ((2, 5, 5, 5), (2, 3)), ((2, 9, 5), (1,)), ((2, 5), ())]
)
def test_features_are_averaged_over_positions(shape, axes) -> None:
    states = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = states.mean(axes) if axes else states
    assert torch.equal(pool(states), expected)


def test_layers_are_in_the_order_of_the_forward_pass() -> None:
    class Backwards(Convolutional):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU()) for _ in range(3)])
            self.head = nn.Linear(6, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            states = self.stem(images)
            for block in reversed(self.blocks):
                states = block(states)
            return self.head(states.mean((2, 3)))

    numbers = [int(layer.rpartition(".")[2]) for layer in structure(Backwards()).layers[:-1]]
    assert all(first > second for first, second in pairwise(numbers))
    assert len(numbers) == 3
