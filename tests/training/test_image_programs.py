"""Programs for images are trained on a frozen classifier, together with a label map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError, InputError
from promptkit.inputs.image import image_input
from promptkit.manipulate.image import processor
from promptkit.manipulate.learned.base_model import check_base
from promptkit.training import checkpoint
from promptkit.training.rows import TrainingRows
from tests.support.errors import refused

LABELS, CLASSES = ("left", "right"), tuple("abcdefg")
PROGRAMS: dict[str, Any] = {
    "border": pk.Border(0.5),
    "watermark": pk.Watermark(),
    "mask": pk.SampleMask(4),
    "affine": pk.Affine(),
    "filter": pk.Filter(3),
}
each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
CONFIG: dict[str, Any] = {"per_class": 10, "steps": 12, "batch_size": 8, "dev": 30, "eval_every": 3, "cache": False}


def pictures(numbers: range) -> tuple[Any, list[str]]:
    """Images that are brighter on one side, shape (images, 12, 12, 3), and the side."""
    images = []
    for number in numbers:
        draw = np.random.default_rng(number)
        pixels, side = 0.5 * draw.random((12, 12, 3)), number % 2
        pixels[:, 6 * side : 6 * side + 6] += 0.2 * draw.random()
        images.append(pixels)
    return np.stack(images), [LABELS[number % 2] for number in numbers]


def model(size: int = 16, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    network.append(nn.Linear(128, len(CLASSES)))
    network[-1].weight.data *= 10
    return pk.load_module(network, size=size, normalization=([0.5] * 3, [0.25] * 3), class_names=CLASSES)


@pytest.fixture(scope="module")
def task() -> pk.Task:
    (images, labels), (test_images, test_labels) = pictures(range(200)), pictures(range(200, 240))
    return pk.image_task(images, labels, test_images=test_images, test_labels=test_labels, label_names=LABELS)


def predictor(*programs: Any, align: Any = None) -> pk.Predictor:
    aligners = [pk.Classes(LABELS), align or pk.labelmap.BayesianPlus(alpha=3.0)]
    return pk.Predictor(model(), [pk.ImageProcessor(), *programs], aligners)


def same(first: Any, second: Any) -> bool:
    fields = ("losses", "dev_evaluations", "best", "learned", "stop_reason", "rows_computed")
    return all(getattr(first, field) == getattr(second, field) for field in fields)


@each_program
def test_training_lowers_the_loss_and_reproduces_itself(program: Any, task: pk.Task, tmp_path: Path) -> None:
    result = pk.train(predictor(program), task, out=tmp_path / "a", **CONFIG)
    assert min(evaluation.loss for evaluation in result.dev_evaluations) < result.dev_evaluations[0].loss
    assert result.learned[0] != program
    assert same(result, pk.train(predictor(program), task, out=tmp_path / "b", **CONFIG))
    loaded = pk.load_manipulation(result.path)
    assert loaded == result.learned[0]
    assert loaded.base == {"name": "Sequential", "content": model().identity()["content"], "size": "16x16"}


@each_program
@pytest.mark.parametrize("stop", [3, 6])
def test_a_resumed_training_run_equals_an_uninterrupted_one(
    program: Any, stop: int, task: pk.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 6 is within an epoch, so that the label map is read from the checkpoint."""
    complete = pk.train(predictor(program), task, out=tmp_path / "complete", **CONFIG)
    written = checkpoint.write

    def interrupt(folder: Path, state: checkpoint.TrainingState) -> None:
        written(folder, state)
        if state.step == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pk.train(predictor(program), task, out=tmp_path / "resumed", **CONFIG)
    resumed = pk.train(predictor(program), task, out=tmp_path / "resumed", **CONFIG)
    assert resumed.resumed == stop
    assert same(complete, resumed)


@pytest.mark.parametrize(
    ("name", "fits"), [("random-map", 1), ("frequency", 1), ("iterative", 5), ("blm", 5), ("blm+:over=logprobs", 5)]
)
def test_the_label_map_is_fitted_once_or_in_each_epoch(name: str, fits: int, task: pk.Task, tmp_path: Path) -> None:
    from promptkit.align.chain import CALIBRATIONS
    from promptkit.core.registry import build

    result = pk.train(predictor(pk.Watermark(), align=build("map", CALIBRATIONS, name)), task, out=tmp_path, **CONFIG)
    assert result.rows_computed == {"label_map": 20 * fits, "dev": 5 * 30, "steps": 12 * 8}
    assert result.predictor.chain.calibration is not None


def test_a_program_is_trained_with_a_label_map_written_by_hand(task: pk.Task, tmp_path: Path) -> None:
    classes = {"left": ["a", "b"], "right": "c"}
    by_hand = pk.Predictor(model(), [pk.ImageProcessor(), pk.Watermark()], pk.Classes(LABELS, classes=classes))
    result = pk.train(by_hand, task, out=tmp_path, **CONFIG)
    assert min(evaluation.loss for evaluation in result.dev_evaluations) < result.dev_evaluations[0].loss
    assert "label_map" not in result.rows_computed


@pytest.mark.parametrize("optimizer", ["spsa", "cma-es:sigma=0.3:subspace=20"])
def test_programs_are_trained_without_gradients(optimizer: str, task: pk.Task, tmp_path: Path) -> None:
    config = {**CONFIG, "steps": 60, "seed": 3, "patience": None, "optimizer": optimizer}
    result = pk.train(predictor(pk.Affine()), task, out=tmp_path, **config)
    assert min(evaluation.loss for evaluation in result.dev_evaluations) < result.dev_evaluations[0].loss


def test_fixed_programs_keep_their_place(task: pk.Task, tmp_path: Path) -> None:
    """The order of a fixed and a learned program matters, and training keeps it."""
    found = []
    for programs in ([pk.Invert(), pk.Watermark()], [pk.Watermark(), pk.Invert()]):
        result = pk.train(predictor(*programs), task, out=tmp_path, **CONFIG)
        names = [modifier.name for modifier in result.predictor.manipulate.modifiers]
        assert names == [program.name for program in programs]
        found.append(result.losses)
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert found[0] != found[1]


def test_several_programs_are_trained_together(task: pk.Task, tmp_path: Path) -> None:
    result = pk.train(predictor(pk.Affine(), pk.Watermark()), task, out=tmp_path, **CONFIG)
    assert [pk.load_manipulation(folder).name for folder in result.saved] == ["affine", "watermark"]


def test_gradients_equal_those_of_black_box_losses(task: pk.Task, tmp_path: Path) -> None:
    from promptkit.training.black_box import BlackBoxLosses
    from promptkit.training.config import TrainingConfig
    from promptkit.training.dataset import TrainingData
    from promptkit.training.gradients import GradientLosses

    trained = predictor(pk.Affine())
    config = TrainingConfig(per_class=10, steps=4, batch_size=8, dev=10).resolved(discrete=False)
    data = TrainingData(trained, task, TrainingRows.from_task(task, None, config), config, None)
    by_gradients, black_box = GradientLosses(data, trained.model), BlackBoxLosses(data)
    parameters = {name: as_array(array.numpy() + 0.1) for name, array in data.initial_parameters().items()}
    logprobs = black_box.class_logprobs(parameters, data.pool)
    np.testing.assert_allclose(by_gradients.class_logprobs(parameters, data.pool), logprobs, atol=1e-4)
    data.use_label_map(data.fit_label_map(logprobs))
    first, second = (losses.row_losses([parameters], data.dev)[0] for losses in (by_gradients, black_box))
    assert [row.loss for row in first] == pytest.approx([row.loss for row in second], abs=1e-4)
    loss, gradients = by_gradients.gradient(parameters, data.dev)
    assert loss == pytest.approx(np.mean([row.loss for row in first]), abs=1e-5)
    step = 2e-3
    for name, gradient in gradients.items():
        for place in range(gradient.shape[0]):
            moved = [parameters[name].numpy().copy() for _ in range(2)]
            moved[0][place], moved[1][place] = moved[0][place] + step, moved[1][place] - step
            high, low = black_box.row_losses([{**parameters, name: as_array(values)} for values in moved], data.dev)
            slope = (np.mean([row.loss for row in high]) - np.mean([row.loss for row in low])) / (2 * step)
            assert gradient.numpy()[place] == pytest.approx(slope, abs=2e-2)


def test_no_row_of_the_evaluated_split_is_read(task: pk.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(processor, "image_input", lambda value, row: read.append(row) or image_input(value, row))
    pk.train(predictor(pk.Watermark()), task, out=tmp_path, **CONFIG)
    assert len(set(read)) > 40
    assert not {row.id for row in task.rows("test")} & set(read)


def test_a_calibration_that_is_not_a_label_map_is_refused(task: pk.Task, tmp_path: Path) -> None:
    with refused(InputError, "calibrated-predictor"):
        pk.train(predictor(pk.Watermark(), align=pk.probes.LinearProbe()), task, out=tmp_path, **CONFIG)


def test_a_program_of_another_model_is_refused() -> None:
    trained = replace(pk.Filter(3), parameters={})
    initial = {name: as_array(np.zeros(shape)) for name, shape in (("kernel", (3, 3, 3, 3)), ("bias", (3,)))}
    base = {"name": "Sequential", "content": str(model().identity()["content"]), "size": "16x16"}
    program = trained.with_parameters(initial, base)
    check_base(program, model())
    for other, key in ((model(size=20), "size"), (model(seed=1), "content")):
        with refused(CheckpointError, "other-model", differs=key):
            check_base(program, other)
