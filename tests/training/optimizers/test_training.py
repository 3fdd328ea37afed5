"""Trainings without gradients: their losses, resumption and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, TrainingError
from promptkit.training import checkpoint
from promptkit.training.black_box import BlackBoxLosses
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.gradients import GradientLosses
from promptkit.training.rows import TrainingRows
from tests.support.errors import refused
from tests.support.tiny import save

TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.8}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimizers")
    save(path / "model", "gemma3")
    rows = [{"text": f"{'a long evening' if i % 2 else 'liked it'} {i}", "label": ("yes", "no")[i % 2]} for i in range(60)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.yaml").write_text(TASK)
    return path


def predictor(folder: Path, *modifiers: Any, model: Any = None, align: Any = None) -> pk.Predictor:
    words = align or pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"})
    loaded = model or pk.load(str(folder / "model"))
    return pk.Predictor(loaded, [pk.Prompt("sentiment/review", instruction="Say."), *(modifiers or (pk.SoftPrompt(3),))], words)


def training_data(folder: Path, **keywords: Any) -> TrainingData:
    task, config = pk.task(folder / "task.yaml"), TrainingConfig(batch_size=5, steps=2, dev=4)
    return TrainingData(predictor(folder, **keywords), task, TrainingRows.from_task(task, None, config), config, None)


@pytest.mark.parametrize(
    "align",
    [
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}, score="mean", pool="max"),
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}),
        pk.extract.FirstLine(),
    ],
)
def test_black_box_losses_equal_gradient_losses(folder: Path, align: Any) -> None:
    data: Any = training_data(folder, align=align)
    initial = data.initial_parameters()
    other = {name: as_array(1.5 * array.numpy()) for name, array in initial.items()}
    every = list(data.all_rows)
    one, two = (
        losses.row_losses([initial, other], every) for losses in (BlackBoxLosses(data), GradientLosses(data, data.model))
    )
    for mine, theirs in zip(one, two, strict=True):
        assert [loss for loss, _ in mine] == pytest.approx([loss for loss, _ in theirs], abs=1e-4)
        for (_, scores), (_, others) in zip(mine, theirs, strict=True):
            assert scores == (None if others is None else pytest.approx(others, abs=1e-4))
    assert one[0] != one[1]


def trained(folder: Path, out: Path, *modifiers: Any, model: Any = None, **config: Any) -> Any:
    given = {"steps": 6, "batch_size": 4, "eval_every": 2, "dev": 6, "patience": None, **config}
    return pk.train(predictor(folder, *modifiers, model=model), pk.task(folder / "task.yaml"), out=out, **given)


BLACK_BOX = ["spsa:averaged=2", "cma-es:subspace=6:population=5"]


@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_training_from_scores_alone_lowers_the_loss_without_caching(
    folder: Path, tmp_path: Path, optimizer: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("promptkit.models.cache.ScoreCache.add", lambda *_: pytest.fail("a candidate was cached"))
    monkeypatch.setattr("promptkit.models.hf.engine.TransformersModel.differentiable", lambda *_: pytest.fail("gradients"))
    model: Any = pk.load(str(folder / "model"))
    model.load()
    before = {name: weight.clone() for name, weight in model._forward.model.state_dict().items()}
    result = trained(folder, tmp_path, model=model, optimizer=optimizer, steps=20)
    assert result.best.loss < result.dev_evaluations[0].loss
    candidates = 4 if optimizer.startswith("spsa") else 5
    assert result.rows_computed == {"steps": 20 * 4 * candidates, "dev": 11 * 6}
    assert all(bool((weight == before[name]).all()) for name, weight in model._forward.model.state_dict().items())
    assert pk.load_manipulation(result.saved[0]) == result.learned[0]


@pytest.mark.parametrize("change", [pk.Prefix(2), pk.SteeringVector((1,)), pk.LoReFT(2)], ids=lambda item: item.name)
@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_layer_manipulations_train_from_scores_and_keep_their_units(
    folder: Path, tmp_path: Path, optimizer: str, change: Any
) -> None:
    result = trained(folder, tmp_path, change, optimizer=optimizer, steps=2)
    (learned,), state = result.learned, checkpoint.read(result.path)
    assert state is not None
    assert {*state.fixed_parameters} == {"0.units"}
    assert {*state.parameters} == {f"0.{name}" for name in learned.parameters}
    assert result.trainable == sum(array.numpy().size for array in learned.parameters.values())
    assert len({*result.losses, *(evaluation.loss for evaluation in result.dev_evaluations)}) > 1


@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_training_without_gradients_resumes_exactly(folder: Path, tmp_path: Path, optimizer: str) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise InterruptedError

    complete = trained(folder, tmp_path / "whole", model=pk.load("fake"), optimizer=optimizer)
    with pytest.raises(InterruptedError):
        trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer, progress=stop)
    result = trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer)
    assert result.resumed == 4
    resumed, expected = [
        (result.learned, result.losses, result.dev_evaluations, result.rows_computed) for result in (result, complete)
    ]
    assert resumed == expected
    assert len(set(complete.losses)) == 6


def test_a_killed_training_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    """Kills the process at an arbitrary point of a step; steps with the fake model are short."""
    command = [sys.executable, "-m", "promptkit", "train", "task.yaml", "--model", "fake", "--steps", "60", "--eval-every", "1"]
    command += ["--dev", "4", "--batch-size", "4", "--optimizer", "cma-es:subspace=30", "--patience", "99"]

    def start(out: str) -> subprocess.Popen[bytes]:
        complete = [*command, "--out", str(tmp_path / out)]
        return subprocess.Popen(complete, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)

    cut = start("cut")
    while not list((tmp_path / "cut").glob("*/checkpoint.safetensors")):
        assert cut.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    assert not list((tmp_path / "cut").glob("*/parameters.safetensors"))
    assert start("cut").wait() == start("whole").wait() == 0
    one, other = (next((tmp_path / out).glob("*/parameters.safetensors")).read_bytes() for out in ("cut", "whole"))
    assert one == other


@pytest.mark.parametrize(
    ("config", "error", "code", "fields"),
    [
        (
            {"optimizer": "spsa", "learning_rate": 1e300},
            TrainingError,
            "diverged",
            {"optimizer": "spsa", "learning_rates": (1e300,)},
        ),
        ({"optimizer": "cma-es:subspace=5:sigma=1e38"}, InputError, "out-of-range", {"sigma": 1e38}),
        (
            {"optimizer": "cma-es", "learning_rate": 0.1},
            InputError,
            "no-learning-rate",
            {"optimizer": "cma-es", "learning_rate": 0.1},
        ),
        (
            {"optimizer": "hotflip"},
            InputError,
            "wrong-optimizer",
            {"optimizer": "hotflip", "fitting": ("adamw", "spsa", "cma-es")},
        ),
    ],
)
def test_invalid_trainings_are_refused(
    folder: Path, tmp_path: Path, config: Any, error: type[pk.PromptkitError], code: str, fields: dict[str, Any]
) -> None:
    with refused(error, code, **fields):
        trained(folder, tmp_path, **config)
