"""Gradients in parts of a batch, from less memory, in 16 bits: what they are depends on none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import OutOfMemory
from promptkit.training import losses
from promptkit.training.dataset import Rows, TrainingData
from promptkit.training.losses import LOSS_SCALES, GradientLosses
from promptkit.training.recipe import TrainingConfig
from tests.support.errors import refused
from tests.support.tiny import make_model, save

KINDS = ("llama", "gpt2", "gemma3")
LEARNED: dict[str, Callable[[], Any]] = {
    "soft": lambda: pk.SoftPrompt(3),
    "soft by a network": lambda: pk.SoftPrompt(3, place="start", reparameterize="mlp", width=4),
    "prefix": lambda: pk.Prefix(3),
    "prefix by a network": lambda: pk.Prefix(2, mlp=4),
    "steering": lambda: pk.SteeringVector((2,), at="all"),
    "loreft": lambda: pk.LoReFT(rank=2, first=2, last=2),
    "loreft behind what is shared": lambda: pk.LoReFT(rank=2, last=2),
}
EACH = pytest.mark.parametrize(("kind", "attention"), [(kind, way) for kind in KINDS for way in ("packed", "eager")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gradients")
    for kind in KINDS:
        save(path / kind, kind)
    return path


@pytest.fixture(scope="module")
def gradient(folder: Path) -> Any:
    """What makes the loss and the gradients of five rows, all as one array, of parameters that are not as they begin."""

    loaded: dict[Any, Any] = {}

    def made(kind: str, learned: str, attention: str = "packed", batch_tokens: int = 4096, **how: Any) -> tuple[float, Any]:
        settings = (kind, attention, batch_tokens)
        if settings not in loaded:
            loaded[settings] = pk.load(str(folder / kind), attention=attention, batch_tokens=batch_tokens)
        model: Any = loaded[settings]
        prompt = pk.Prompt("sentiment/review", instruction="Say what the text below this line is like.")
        words = pk.Verbalizer({"negative": "bad", "positive": "good one"})
        predictor = pk.Predictor(model, [prompt, LEARNED[learned]()], words)
        task, recipe = pk.task("sentiment"), TrainingConfig(steps=1, batch_size=5, dev=1)
        material = TrainingData(predictor, task, Rows.of(task, None, recipe), recipe, None)
        draw = np.random.default_rng(0)
        at = {name: as_array(x.numpy() * draw.uniform(0.8, 1.2, x.shape)) for name, x in material.initial_parameters().items()}
        found: Any = GradientLosses(material, model, **how)
        loss, slopes = found.gradient(at, material.chosen(0))
        assert (found._forward._reuse > 0) == (learned == "loreft behind what is shared" and attention == "packed")
        return loss, np.concatenate([slopes[name].numpy().ravel() for name in sorted(slopes)])

    return made


def cosine(one: Any, other: Any) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def kept(make: Callable[[], Any]) -> tuple[int, Any]:
    """How many bytes wait for the backward pass, each storage once; and what is made."""
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = make()
    return sum(storage.nbytes() for storage in storages.values()), made


@EACH
def test_any_budget_of_tokens_comes_to_the_same_gradient(kind: str, attention: str, gradient: Any) -> None:
    for learned in ("soft", "prefix", "loreft behind what is shared"):
        loss, whole = gradient(kind, learned, attention)
        for budget in (1, 150):
            other, parts = gradient(kind, learned, attention, budget)
            assert other == pytest.approx(loss, abs=1e-5)
            assert parts == pytest.approx(whole, abs=float(1e-5 * np.abs(whole).max())), (learned, budget)


@EACH
def test_what_is_computed_again_is_the_same_from_less_memory(kind: str, attention: str, gradient: Any) -> None:
    for learned in LEARNED:
        found = [
            kept(lambda again=again, learned=learned: gradient(kind, learned, attention, checkpointing=again))
            for again in (False, True)
        ]
        (much, (loss, whole)), (little, (same, again)) = found
        assert same == pytest.approx(loss, abs=1e-6)
        assert again == pytest.approx(whole, abs=1e-6), learned
        assert np.abs(whole).max() > 1e-3
        assert little < 0.6 * much, learned


@EACH
def test_mixed_precision_comes_close(kind: str, attention: str, gradient: Any) -> None:
    shared = "loreft behind what is shared"
    ways = [("soft", "bf16"), ("prefix", "bf16"), (shared, "bf16"), ("prefix", "fp16"), (shared, "fp16")]
    for learned, precision in ways:
        loss, whole = gradient(kind, learned, attention)
        other, narrow = gradient(kind, learned, attention, precision=precision, checkpointing=True)
        assert other == pytest.approx(loss, abs=0.05)
        assert other != loss
        assert narrow.dtype == np.float32
        assert cosine(narrow, whole) > 0.99, (learned, precision)


def test_in_fp16_the_loss_is_multiplied_as_far_as_no_slope_is_infinite(gradient: Any, monkeypatch: Any) -> None:
    _, whole = gradient("llama", "soft")
    far = {}
    for scales in ((2.0**-24,), (2.0**40,), (2.0**40, 1.0), LOSS_SCALES):
        monkeypatch.setattr(losses, "LOSS_SCALES", scales)
        _, narrow = gradient("llama", "soft", precision="fp16")
        far[scales] = float(np.abs(narrow - whole).max() / np.abs(whole).max())
    vanished, infinite, *near = far.values()
    assert vanished > 0.05
    assert not np.isfinite(infinite)
    assert max(near) < 0.05


def test_a_model_trained_on_in_mixed_precision_stays_as_it_was(folder: Path, tmp_path: Path) -> None:
    model: Any = pk.load(str(folder / "gemma3"))
    words = pk.Verbalizer({"negative": "bad", "positive": "good one"})
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(3)], words)
    recipe: Any = {"steps": 12, "batch_size": 6, "eval_every": 4, "dev": 12, "learning_rate": 0.3}
    fits = [
        pk.train(predictor, pk.task("sentiment"), out=tmp_path, cache=False, **recipe, **more)
        for more in ({}, {"gradient_checkpointing": True}, {"mixed_precision": "bf16"})
    ]
    assert fits[0].path == fits[1].path != fits[2].path
    assert fits[1].resumed == 12
    assert fits[2].chosen.loss < fits[2].looks[0].loss
    expected = make_model("gemma3").state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model._forward.model.state_dict().items())


def test_gradients_that_do_not_fit_in_memory_are_told(gradient: Any, monkeypatch: Any) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GradientLosses, "_backward", full)
    with refused(OutOfMemory, "out-of-memory", device="cpu"):
        gradient("llama", "soft")
