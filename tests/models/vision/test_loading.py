"""Checks of a classifier when it is loaded: its files, weights, image processor and class names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import promptkit as pk
from promptkit.core.errors import InputError, ModelError, Unsupported
from tests.models.vision.tiny import (
    SIZE,
    Convolutional,
    convolutional,
    images,
    loaded,
    logits_of,
    normalized,
    save_resnet,
    save_vit,
    seeded,
    stacked,
    write_processor,
)
from tests.support.errors import refused

WEIGHTS = "model.safetensors"


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replaces or removes stored weights; double underscores in the names stand for dots."""
    weights = load_file(folder / WEIGHTS)
    for key, value in changes.items():
        weights.pop(name := key.replace("__", "."), None)
        if value is not None:
            weights[name] = value
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def load(folder: Path) -> None:
    pk.load(f"vision:{folder}", device="cpu").load()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"classifier__bias": None}, {"missing": ("classifier.bias",)}),
        ({"vit__extra": torch.zeros(2)}, {"unexpected": ("vit.extra",)}),
        ({"classifier__weight": torch.zeros(4, 8)}, {"mismatched": ("classifier.weight",)}),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_named(tmp_path, changes, fields) -> None:
    save_vit(tmp_path)
    edit_weights(tmp_path, **changes)
    with refused(ModelError, "wrong-weights", **fields):
        load(tmp_path)


def test_missing_statistics_of_a_batch_norm_are_named(tmp_path) -> None:
    save_resnet(tmp_path)
    name = "resnet.embedder.embedder.normalization.running_var"
    edit_weights(tmp_path, **{name.replace(".", "__"): None})
    with refused(ModelError, "wrong-weights", missing=(name,)):
        load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, value) -> None:
    save_vit(tmp_path)
    edit_weights(tmp_path, classifier__bias=torch.full((4,), value))
    with refused(ModelError, "weights-not-finite", weights=("classifier.bias",)):
        load(tmp_path)


def test_a_pickled_checkpoint_with_only_weights_is_read(tmp_path) -> None:
    expected = logits_of(pk.load(f"vision:{save_vit(tmp_path)}", device="cpu"), images(2))
    torch.save(load_file(tmp_path / WEIGHTS), tmp_path / "pytorch_model.bin")
    (tmp_path / WEIGHTS).unlink()
    np.testing.assert_array_equal(logits_of(pk.load(f"vision:{tmp_path}", device="cpu"), images(2)), expected)


class RunsCode:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_pickled_checkpoint_with_code_is_refused_and_not_executed(tmp_path) -> None:
    folder, trace = save_vit(tmp_path / "model"), tmp_path / "executed"
    torch.save({**load_file(folder / WEIGHTS), "code": RunsCode(trace)}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with refused(ModelError, "unsafe-checkpoint", model=str(folder)):
        load(folder)
    assert not trace.exists()


def test_safetensors_are_preferred_to_a_pickled_checkpoint(tmp_path) -> None:
    folder, trace = save_vit(tmp_path / "model"), tmp_path / "executed"
    torch.save({"code": RunsCode(trace)}, folder / "pytorch_model.bin")
    load(folder)
    assert not trace.exists()


def test_code_in_a_folder_is_not_executed(tmp_path) -> None:
    folder, trace = save_vit(tmp_path / "model"), tmp_path / "executed"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForImageClassification": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "mine.py").write_text(f"from pathlib import Path\nPath({str(trace)!r}).touch()\n", "utf-8")
    with refused(ModelError, "remote-code", part="configuration"):
        load(folder)
    assert not trace.exists()


def test_truncated_weights_are_refused(tmp_path) -> None:
    save_vit(tmp_path)
    os.truncate(tmp_path / WEIGHTS, 500)
    with refused(ModelError, "unloadable-model", part="weights"):
        load(tmp_path)


def test_a_folder_without_an_image_processor_is_refused(tmp_path) -> None:
    (save_vit(tmp_path) / "preprocessor_config.json").unlink()
    with refused(ModelError, "unloadable-model", part="image processor"):
        load(tmp_path)


def test_a_language_model_is_not_an_image_classifier(tmp_path) -> None:
    from transformers import GPT2Config

    GPT2Config(n_embd=8, n_layer=1, n_head=1).save_pretrained(tmp_path)
    with refused(ModelError, "not-an-image-classifier", model_type="gpt2"):
        load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path) -> None:
    with refused(ModelError, "no-config"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "size", "mean", "std"),
    [
        ({}, 16, 0.5, 0.2),
        ({"do_normalize": False}, 16, 0.0, 1.0),
        ({"size": 12}, 12, 0.5, 0.2),
        ({"size": {"shortest_edge": 20}}, 20, 0.5, 0.2),
        ({"do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, 8, 0.5, 0.2),
        ({"rescale_factor": 1 / 127.5}, 16, 0.25, 0.1),
    ],
)
def test_the_size_and_the_normalization_are_those_of_the_image_processor(tmp_path, settings, size, mean, std) -> None:
    card = pk.load(f"vision:{save_vit(tmp_path, **settings)}").card
    assert card.size == (size, size)
    assert (card.mean[0], card.std[0]) == pytest.approx((mean, std))


def test_the_preprocessing_of_efficientnet_equals_that_of_its_image_processor(tmp_path) -> None:
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    settings = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": True}
    folder = write_processor(save_vit(tmp_path), "EfficientNetImageProcessor", **settings)
    card = pk.load(f"vision:{folder}").card
    levels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    expected = AutoImageProcessor.from_pretrained(folder)(levels, return_tensors="np").pixel_values[0]
    mean, std = (np.array(values)[:, None, None] for values in (card.mean, card.std))
    np.testing.assert_allclose((levels / 255 - mean) / std, expected, atol=1e-4)


def test_a_processor_that_reorders_channels_is_refused(tmp_path) -> None:
    folder = write_processor(save_vit(tmp_path), "MobileViTImageProcessor", do_flip_channel_order=True)
    with refused(Unsupported, "unsupported-preprocessing"):
        _ = pk.load(f"vision:{folder}").card


def test_notes_say_where_the_preprocessing_differs(tmp_path) -> None:
    assert pk.load(f"vision:{save_vit(tmp_path)}").notes() == ()
    cropping = {"do_center_crop": True, "crop_size": {"height": 8, "width": 8}, "resample": 3}
    assert len(pk.load(f"vision:{save_vit(tmp_path, **cropping)}").notes()) == 2


@pytest.mark.parametrize(
    ("settings", "size", "defaults"),
    [
        ({}, None, ("size=", "image_mean=", "image_std=")),
        ({}, 24, ("image_mean=", "image_std=")),
        ({"size": 16}, None, ("image_mean=", "image_std=")),
        ({"size": 16, "do_normalize": False}, None, ()),
        ({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}, None, ("size=",)),
        ({"size": 16, "image_mean": [0.5] * 3, "image_std": [0.2] * 3}, None, ()),
    ],
)
def test_a_note_names_the_preprocessing_that_the_files_do_not_state(tmp_path, settings, size, defaults) -> None:
    (save_vit(tmp_path) / "preprocessor_config.json").write_text(json.dumps(settings))
    notes = pk.load(f"vision:{tmp_path}", **({} if size is None else {"size": size})).notes()
    named = [note for note in notes if "defaults of" in note]
    assert len(named) == bool(defaults)
    for key in ("size=", "image_mean=", "image_std="):
        assert any(key in note for note in named) == (key in defaults)


def test_a_vit_reads_images_of_another_size(tmp_path) -> None:
    from transformers import AutoModelForImageClassification

    model = pk.load(f"vision:{save_vit(tmp_path)}", size=24, device="cpu")
    inputs = images(2, size=(24, 24))
    reference = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = reference(normalized(stacked(inputs)), interpolate_pos_encoding=True).logits
    np.testing.assert_allclose(logits_of(model, inputs), expected, atol=1e-4)


class PerBatch(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images - images.mean(0))


class FlatOutput(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).flatten()


class Fails(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("wrong size")


class Overflows(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * torch.inf


class Random(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(images))


class InPlace(Convolutional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.mul_(0.5))


def test_a_module_may_change_the_images_that_it_is_given() -> None:
    given = images(3)
    model = loaded(seeded(InPlace()))
    first = logits_of(model, given)
    assert np.array_equal(first, logits_of(model, given))
    assert not np.array_equal(first, logits_of(convolutional(), given))


@pytest.mark.parametrize("changes", [{"image_std": [0.0, 0.0, 0.0]}, {"image_mean": [0.5, 0.5]}])
def test_an_image_processor_with_an_invalid_normalization_is_refused(tmp_path, changes) -> None:
    save_vit(tmp_path)
    write_processor(tmp_path, "ViTImageProcessor", **changes)
    with refused(ModelError, "invalid-normalization"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("module", "kind", "code"),
    [
        (Random(), Unsupported, "not-deterministic"),
        (PerBatch(), Unsupported, "depends-on-batch"),
        (FlatOutput(), ModelError, "no-logits"),
        (nn.Flatten(), ModelError, "no-logits"),
        (Fails(), ModelError, "failing-model"),
        (Overflows(), ModelError, "not-finite"),
        (Convolutional(classes=5), ModelError, "wrong-class-names"),
    ],
)
def test_a_module_that_is_not_a_usable_classifier_is_refused(module, kind, code) -> None:
    model = loaded(seeded(module), name="mine")
    with refused(kind, code, model="vision:mine"):
        model.load()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": 0}, "wrong-image-size"),
        ({"normalization": ((0.5,), (0.5, 0.5))}, "wrong-normalization"),
        ({"normalization": ((0.5,), (0.0,))}, "wrong-normalization"),
        ({"class_names": []}, "no-class-names"),
        ({"class_names": "cats"}, "invalid-value"),
        ({"sizes": 3}, "unknown-name"),
        ({"batch_size": 0}, "invalid-value"),
    ],
)
def test_arguments_of_load_module_are_checked(changes, code) -> None:
    with refused(InputError, code):
        loaded(Convolutional(), **changes)


def test_a_module_is_not_changed_and_can_change_afterwards() -> None:
    module = seeded(Convolutional()).train().requires_grad_(True)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = loaded(module)
    expected = logits_of(convolutional(), images(2))
    model.load()
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert isinstance(module.stem[1], nn.BatchNorm2d)
    with torch.no_grad():
        module.head.weight.zero_()
    np.testing.assert_array_equal(logits_of(model, images(2)), expected)
