"""Laws of all programs for images, on a small random classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import promptkit as pk
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import InputOperation
from promptkit.core.manipulation import BindContext, Learnable, Modifier
from promptkit.core.model import ImageCard
from promptkit.core.registry import build
from promptkit.core.requests import Prepared
from promptkit.manipulate.catalog import manipulations
from promptkit.manipulate.learned.storage import load_manipulation
from promptkit.manipulate.learned.tensors import to_tensor
from promptkit.manipulate.modifiers import FIXED, LEARNABLE
from promptkit.models.vision.operations import apply
from tests.support.errors import refused

LEARNED: dict[str, Learnable] = {
    "border": pk.Border(0.5),
    "watermark": pk.Watermark(),
    "mask": pk.SampleMask(),
    "mask of small patches": pk.SampleMask(2, seed=3),
    "affine": pk.Affine(background=0.2),
    "filter": pk.Filter(3),
}
FIXED_PROGRAMS: dict[str, Modifier] = {
    "place": pk.Place(0.4, background=0.1),
    "autocontrast": pk.Autocontrast(),
    "invert": pk.Invert(),
}
each_learned = pytest.mark.parametrize("program", LEARNED.values(), ids=LEARNED)
PROGRAMS: dict[str, Modifier] = {**LEARNED, **FIXED_PROGRAMS}
each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
CARD = ImageCard(
    size=(24, 32),
    channels=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
    class_names=("ant", "bee", "cat", "dog", "eel"),
    layers=("features",),
    widths=(6,),
)
MEAN, STD = torch.tensor(CARD.mean)[:, None, None], torch.tensor(CARD.std)[:, None, None]


def classifier() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 5, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    return network.append(nn.Linear(96, 5)).eval().requires_grad_(requires_grad=False)


CLASSIFIER = classifier()


class CardOnly:
    """A model that has a card and answers no requests."""

    def __init__(self, card: object = CARD) -> None:
        self.card: Any = card

    def __call__(self, requests: object) -> Any:
        raise AssertionError(requests)

    embed = keys_values = __call__


def context(card: object = CARD) -> BindContext:
    return BindContext(ask=CardOnly(card), reader=pk.Choices())


def image(seed: int = 0, height: int = 11, width: int = 9) -> ImageInput:
    return ImageInput(pixels=as_array(np.random.default_rng(seed).random((3, height, width))))


def perturbed(program: Learnable, seed: int = 0) -> Learnable:
    """Returns the program with parameters moved away from the initial ones."""
    draw = np.random.default_rng(seed)
    initial = program.initial_parameters(context())
    sizes = {name: 0.02 if name.startswith("weight") else 0.3 for name in initial}
    moved = {name: as_array(array.numpy() + sizes[name] * draw.normal(size=array.shape)) for name, array in initial.items()}
    return program.with_parameters(moved, {"name": "tiny"})


def as_tensors(operation: InputOperation[Array]) -> InputOperation[Tensor]:
    return replace(operation, arrays=tuple(map(to_tensor, operation.arrays)))  # type: ignore[type-var, arg-type]


def pixels(program: Modifier, *images: ImageInput) -> Tensor:
    """Returns the reprogrammed images, shape (images, channels, height, width)."""
    transform = program.bind(context())
    changed = []
    for given_image in images:
        prepared = transform(Prepared(input=given_image))
        assert prepared.input is given_image
        operations = [as_tensors(operation) for operation in prepared.interventions.operations]
        changed.append(apply(to_tensor(given_image.pixels)[None], operations, CARD.size))
    return torch.cat(changed)


def logits(batch: Tensor) -> Tensor:
    result: Tensor = CLASSIFIER((batch - MEAN) / STD)
    return result


def plain(*images: ImageInput) -> Tensor:
    return torch.cat([apply(to_tensor(given_image.pixels)[None], [], CARD.size) for given_image in images])


def test_the_examples_cover_every_program() -> None:
    for examples, table in ((LEARNED, LEARNABLE), (FIXED_PROGRAMS, FIXED)):
        of_images = {name for name, kind in table.items() if "image" in kind.requires}
        assert {program.name for program in examples.values()} == of_images
    assert {type(program).__name__ for program in PROGRAMS.values()} <= set(manipulations())


# ---- pixels ------------------------------------------------------------------------------------------


@each_program
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), height=st.integers(1, 40), width=st.integers(1, 40))
def test_results_are_valid_pixels_and_images_are_unchanged(program: Any, seed: int, height: int, width: int) -> None:
    given_image = image(seed, height, width)
    before = given_image.pixels.numpy().copy()
    result = pixels(perturbed(program, seed) if isinstance(program, Learnable) else program, given_image)
    assert np.array_equal(given_image.pixels.numpy(), before)
    assert result.shape == (1, 3, *CARD.size)
    assert 0 <= result.min() <= result.max() <= 1


@each_learned
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), height=st.integers(1, 40), width=st.integers(1, 40))
def test_an_untrained_program_is_the_plain_model(program: Learnable, seed: int, height: int, width: int) -> None:
    given_image = image(seed, height, width)
    expected = pixels(pk.Place(program.share), given_image) if isinstance(program, pk.Border) else plain(given_image)
    exact = program.name != "affine"  # sampling rounds
    torch.testing.assert_close(pixels(program, given_image), expected, atol=0 if exact else 5e-6, rtol=0)


@each_learned
def test_a_trained_program_changes_the_output(program: Learnable) -> None:
    assert (logits(pixels(perturbed(program), image())) - logits(plain(image()))).abs().max() > 1e-2


# ---- parameters --------------------------------------------------------------------------------------


@each_learned
def test_the_differentiable_form_equals_the_bound_one(program: Learnable) -> None:
    trained = perturbed(program)
    tensors = {name: to_tensor(array) for name, array in trained.parameters.items()}

    def no_embedding(ids: object) -> Any:
        raise AssertionError(ids)

    operations = trained.interventions(tensors, no_embedding).operations
    batch = torch.cat([to_tensor(image(seed).pixels)[None] for seed in range(3)])
    expected = pixels(trained, *(image(seed) for seed in range(3)))
    torch.testing.assert_close(apply(batch, operations, CARD.size), expected, atol=1e-5, rtol=0)


@each_learned
def test_gradients_reach_only_the_parameters(program: Learnable) -> None:
    """Frozen weights, including running statistics, and the batch are unchanged."""
    weights = {name: value.clone() for name, value in CLASSIFIER.state_dict().items()}
    leaves = {name: to_tensor(array).requires_grad_() for name, array in perturbed(program).parameters.items()}
    batch = torch.cat([to_tensor(image(seed).pixels)[None] for seed in range(4)])
    before = batch.clone()
    changed = apply(batch, program.interventions(leaves, torch.zeros).operations, CARD.size)  # type: ignore[arg-type]
    nn.functional.cross_entropy(logits(changed), torch.tensor([0, 1, 2, 3])).backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves.values())
    assert all(parameter.grad is None for parameter in CLASSIFIER.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in CLASSIFIER.state_dict().items())
    assert batch.grad is None
    assert torch.equal(batch, before)


@each_learned
def test_saving_and_loading_is_exact(program: Learnable, tmp_path: Path) -> None:
    trained = perturbed(program)
    pk.save_manipulation(trained, tmp_path / "saved")
    loaded = load_manipulation(tmp_path / "saved")
    assert loaded == trained
    assert loaded.settings() == trained.settings() != program.settings()
    assert loaded.base == {"name": "tiny"}
    assert torch.equal(pixels(loaded, image()), pixels(trained, image()))


@each_learned
def test_parameters_for_another_canvas_are_refused(program: Learnable) -> None:
    if program.name not in ("border", "watermark", "mask"):
        assert perturbed(program).bind(context(replace(CARD, size=(16, 16))))
        return
    with refused(CheckpointError, "wrong-parameter-shape", manipulation=type(program).title):
        perturbed(program).bind(context(replace(CARD, size=(16, 16))))


@each_learned
def test_parameters_of_wrong_names_or_shapes_are_refused(program: Learnable) -> None:
    parameters = dict(perturbed(program).parameters)
    first = next(iter(parameters))
    with refused(CheckpointError, "wrong-parameter-names"):
        program.with_parameters({**parameters, "other": parameters[first]}, {})
    with refused(CheckpointError, "wrong-parameter-shape", parameter=first):
        program.with_parameters({**parameters, first: as_array(np.zeros((1, 1, 1, 1, 1)))}, {})


# ---- settings ----------------------------------------------------------------------------------------


@each_program
def test_settings_are_json_and_determine_the_program(program: Modifier) -> None:
    recorded = json.loads(json.dumps(program.settings()))
    table: Any = LEARNABLE if isinstance(program, Learnable) else FIXED
    words = ":".join([recorded.pop("name"), *(f"{key}={value}" for key, value in recorded.items())])
    assert build("program", table, words) == program
    assert program.kind.location == "input"
    assert (program.kind.format == "learnable") == isinstance(program, Learnable)


@each_program
def test_a_language_model_is_refused(program: Modifier) -> None:
    with refused(Unsupported, "needs-image-model"):
        program.bind(context(pk.load("fake").card))


@pytest.mark.parametrize(
    ("table", "spelling", "field"),
    [
        (FIXED, "place:share=0", "share"),
        (FIXED, "place:background=1.5", "background"),
        (LEARNABLE, "border:share=1.2", "share"),
        (LEARNABLE, "mask:patch=3", "patch"),
        (LEARNABLE, "affine:background=-1", "background"),
        (LEARNABLE, "filter:size=4", "size"),
    ],
)
def test_settings_out_of_range_are_refused(table: Any, spelling: str, field: str) -> None:
    with refused(InputError, "out-of-range") as raised:
        build("program", table, spelling)
    assert field in (raised.value.fields.get("keyword"), *raised.value.fields)
