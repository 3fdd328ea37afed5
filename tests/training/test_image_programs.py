"""Programs for images are trained on a frozen classifier, together with a label map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import promptkit as pk
from promptkit.align.candidates import CandidateScorer
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.inputs import ImageInput
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Classify
from promptkit.core.taxonomy import Kind
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


def picture(text: str) -> ImageInput:
    """An image that is brighter on one side."""
    number, side = map(int, text.split())
    draw = np.random.default_rng(number)
    pixels = 0.5 * draw.random((3, 12, 10 + number % 3))
    pixels[:, :, 6 * side : 6 * side + 6] += 0.2 * draw.random()
    return ImageInput(pixels=as_array(pixels))


class Pictures:
    """Renders the image that a row describes."""

    kind = Kind(format="fixed", location="input", operator="parametric")
    parts, models, slots, modifiers = (), (), {}, ()  # type: ignore[var-annotated]
    requires: ClassVar[Any] = frozenset({"image"})

    def settings(self) -> dict[str, object]:
        return {"name": "pictures"}

    def bind(self, bind_context: object) -> Any:
        def apply(examples: Any, *, context_of: object = None) -> list[Rendered]:
            empty: dict[str, Any] = dict.fromkeys(("pieces", "demos", "demo_labels", "dropped", "targets", "continuations"), ())
            images = [picture(example.inputs["text"]) for example in examples]
            return [Rendered(input=image, rescored_tokens=0, **empty) for image in images]

        return apply


class AllClasses(CandidateScorer):
    """Asks for all classes, and has no scores of its own."""

    name = "all-classes"
    labels = LABELS
    verb: ClassVar[Any] = "Classify"
    has_scores = False

    def settings(self) -> dict[str, object]:
        return {"name": self.name}

    def label_words(self) -> dict[str, str]:
        return {}

    def candidates(self, example: object) -> tuple[str, ...]:
        return self.labels

    def words(self, example: object) -> tuple[str, ...]:
        return ()

    def request(self, example: object, rendered: object) -> Classify:
        return Classify()


def model(size: int = 16, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    network.append(nn.Linear(128, len(CLASSES)))
    network[-1].weight.data *= 10
    return pk.load_module(network, size=size, normalization=([0.5] * 3, [0.25] * 3), class_names=CLASSES)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> pk.Task:
    folder = tmp_path_factory.mktemp("pictures")
    rows = [f"{number} {number % 2},{LABELS[number % 2]}" for number in range(240)]
    for split, part in (("train", rows[:200]), ("test", rows[200:])):
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *part]))
    (folder / "template.j2").write_text("{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    (folder / "task.yaml").write_text(
        "{description: pictures, template: template.j2, labels: {left: left, right: right}, sources: "
        "[{files: {train: train.csv, test: test.csv}, inputs: {text: text}, label: label}]}"
    )
    return pk.task(folder / "task.yaml")


def predictor(*programs: Any, align: Any = None) -> pk.Predictor:
    return pk.Predictor(model(), [Pictures(), *programs], [AllClasses(), align or pk.labelmap.BayesianPlus(alpha=3.0)])


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
    """6 steps end within the second of two epochs and a half, so that the label map is read from the checkpoint."""
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


@pytest.mark.parametrize("optimizer", ["spsa", "cma-es:sigma=0.3:subspace=20"])
def test_programs_are_trained_without_gradients(optimizer: str, task: pk.Task, tmp_path: Path) -> None:
    result = pk.train(predictor(pk.Affine()), task, out=tmp_path, optimizer=optimizer, **CONFIG)
    assert min(evaluation.loss for evaluation in result.dev_evaluations) < result.dev_evaluations[0].loss


def test_fixed_programs_stay_where_they_are(task: pk.Task, tmp_path: Path) -> None:
    """Among them a fixed program before the learned one, whose place in the order matters."""
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
    step = 1e-2
    for name, gradient in gradients.items():
        for place in range(gradient.shape[0]):
            moved = [parameters[name].numpy().copy() for _ in range(2)]
            moved[0][place], moved[1][place] = moved[0][place] + step, moved[1][place] - step
            high, low = black_box.row_losses([{**parameters, name: as_array(values)} for values in moved], data.dev)
            slope = (np.mean([row.loss for row in high]) - np.mean([row.loss for row in low])) / (2 * step)
            assert gradient.numpy()[place] == pytest.approx(slope, abs=2e-2)


def test_no_row_of_the_evaluated_split_is_read(task: pk.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = {picture(row.inputs["text"]) for row in task.rows("test")}  # type: ignore[arg-type]
    read = []
    monkeypatch.setitem(globals(), "picture", lambda text, original=picture: read.append(image := original(text)) or image)
    pk.train(predictor(pk.Watermark()), task, out=tmp_path, **CONFIG)
    assert len(set(read)) > 40
    assert not evaluated & set(read)


def test_a_calibration_that_is_not_a_label_map_is_refused(task: pk.Task, tmp_path: Path) -> None:
    with refused(InputError, "calibrated-predictor"):
        pk.train(predictor(pk.Watermark(), align=pk.calibrate.Batch()), task, out=tmp_path, **CONFIG)


def test_a_program_of_another_model_is_refused() -> None:
    trained = replace(pk.Filter(3), parameters={})
    initial = {name: as_array(np.zeros(shape)) for name, shape in (("kernel", (3, 3, 3, 3)), ("bias", (3,)))}
    base = {"name": "Sequential", "content": str(model().identity()["content"]), "size": "16x16"}
    program = trained.with_parameters(initial, base)
    check_base(program, model())
    for other, key in ((model(size=20), "size"), (model(seed=1), "content")):
        with refused(CheckpointError, "other-model", differs=key):
            check_base(program, other)
