"""Gradients do not depend on batch size or checkpointing, and little on mixed precision."""

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
from promptkit.training import gradients
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.gradients import LOSS_SCALES, GradientLosses
from promptkit.training.rows import TrainingRows
from tests.support.errors import refused
from tests.support.tiny import make_model, save

KINDS = ("llama", "gpt2", "gemma3")
LEARNED: dict[str, Callable[[], Any]] = {
    "soft": lambda: pk.SoftPrompt(3),
    "soft with mlp": lambda: pk.SoftPrompt(3, place="start", reparameterize="mlp", width=4),
    "prefix": lambda: pk.Prefix(3),
    "prefix with mlp": lambda: pk.Prefix(2, mlp=4),
    "steering": lambda: pk.SteeringVector((2,), at="all"),
    "loreft": lambda: pk.LoReFT(rank=2, first=2, last=2),
    "loreft after a shared prefix": lambda: pk.LoReFT(rank=2, last=2),
}
KIND_AND_ATTENTION = pytest.mark.parametrize(
    ("kind", "attention"), [(kind, way) for kind in KINDS for way in ("packed", "eager")]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gradients")
    for kind in KINDS:
        save(path / kind, kind)
    return path


@pytest.fixture(scope="module")
def gradient(folder: Path) -> Any:
    """Returns a function that computes the loss of five rows and its gradients, as one array, at perturbed values."""

    loaded: dict[Any, Any] = {}

    def compute(kind: str, learned: str, attention: str = "packed", batch_tokens: int = 4096, **how: Any) -> tuple[float, Any]:
        settings = (kind, attention, batch_tokens)
        if settings not in loaded:
            loaded[settings] = pk.load(str(folder / kind), attention=attention, batch_tokens=batch_tokens)
        model: Any = loaded[settings]
        prompt = pk.Prompt("sentiment/review", instruction="Say what the text below this line is like.")
        words = pk.Verbalizer({"negative": "bad", "positive": "good one"})
        predictor = pk.Predictor(model, [prompt, LEARNED[learned]()], words)
        task, recipe = pk.task("sentiment"), TrainingConfig(steps=1, batch_size=5, dev=1)
        data = TrainingData(predictor, task, TrainingRows.from_task(task, None, recipe), recipe, None)
        draw = np.random.default_rng(0)
        parameters = {
            name: as_array(x.numpy() * draw.uniform(0.8, 1.2, x.shape)) for name, x in data.initial_parameters().items()
        }
        gradient_losses: Any = GradientLosses(data, model, **how)
        loss, slopes = gradient_losses.gradient(parameters, data.batch(0))
        assert (gradient_losses._forward._reuse > 0) == (learned == "loreft after a shared prefix" and attention == "packed")
        return loss, np.concatenate([slopes[name].numpy().ravel() for name in sorted(slopes)])

    return compute


def cosine(one: Any, other: Any) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def saved_bytes(compute: Callable[[], Any]) -> tuple[int, Any]:
    """Returns the number of bytes saved for the backward pass, counting each storage once, and the result."""
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    return sum(storage.nbytes() for storage in storages.values()), result


@KIND_AND_ATTENTION
def test_gradients_do_not_depend_on_the_batch_size(kind: str, attention: str, gradient: Any) -> None:
    for learned in ("soft", "prefix", "loreft after a shared prefix"):
        loss, full = gradient(kind, learned, attention)
        for budget in (1, 150):
            other, parts = gradient(kind, learned, attention, budget)
            assert other == pytest.approx(loss, abs=1e-5)
            assert parts == pytest.approx(full, abs=float(1e-5 * np.abs(full).max())), (learned, budget)


@KIND_AND_ATTENTION
def test_checkpointing_gives_equal_gradients_with_less_memory(kind: str, attention: str, gradient: Any) -> None:
    for learned in LEARNED:
        actual = [
            saved_bytes(lambda again=again, learned=learned: gradient(kind, learned, attention, checkpointing=again))
            for again in (False, True)
        ]
        (much, (loss, full)), (little, (same, again)) = actual
        assert same == pytest.approx(loss, abs=1e-6)
        assert again == pytest.approx(full, abs=1e-6), learned
        assert np.abs(full).max() > 1e-3
        assert little < 0.6 * much, learned


@KIND_AND_ATTENTION
def test_mixed_precision_gradients_are_close(kind: str, attention: str, gradient: Any) -> None:
    shared = "loreft after a shared prefix"
    ways = [("soft", "bf16"), ("prefix", "bf16"), (shared, "bf16"), ("prefix", "fp16"), (shared, "fp16")]
    for learned, precision in ways:
        loss, full = gradient(kind, learned, attention)
        other, narrow = gradient(kind, learned, attention, precision=precision, checkpointing=True)
        assert other == pytest.approx(loss, abs=0.05)
        assert other != loss
        assert narrow.dtype == np.float32
        assert cosine(narrow, full) > 0.99, (learned, precision)


def test_fp16_scales_the_loss_while_gradients_are_finite(gradient: Any, monkeypatch: Any) -> None:
    _, full = gradient("llama", "soft")
    errors = {}
    for scales in ((2.0**-24,), (2.0**40,), (2.0**40, 1.0), LOSS_SCALES):
        monkeypatch.setattr(gradients, "LOSS_SCALES", scales)
        _, narrow = gradient("llama", "soft", precision="fp16")
        errors[scales] = float(np.abs(narrow - full).max() / np.abs(full).max())
    vanished, infinite, *near = errors.values()
    assert vanished > 0.05
    assert not np.isfinite(infinite)
    assert max(near) < 0.05


def test_training_does_not_change_the_weights(folder: Path, tmp_path: Path) -> None:
    model: Any = pk.load(str(folder / "gemma3"))
    words = pk.Verbalizer({"negative": "bad", "positive": "good one"})
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(3)], words)
    recipe: Any = {"steps": 12, "batch_size": 6, "eval_every": 4, "dev": 12, "learning_rate": 0.3}
    results = [
        pk.train(predictor, pk.task("sentiment"), out=tmp_path, cache=False, **recipe, **options)
        for options in ({}, {"gradient_checkpointing": True}, {"mixed_precision": "bf16"})
    ]
    assert results[0].path == results[1].path != results[2].path
    assert results[1].resumed == 12
    assert results[2].best.loss < results[2].dev_evaluations[0].loss
    expected = make_model("gemma3").state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model._forward.model.state_dict().items())


def test_running_out_of_memory_is_reported(gradient: Any, monkeypatch: Any) -> None:
    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GradientLosses, "_backward", out_of_memory)
    with refused(OutOfMemory, "out-of-memory", device="cpu"):
        gradient("llama", "soft")
