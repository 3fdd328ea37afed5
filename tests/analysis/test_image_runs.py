"""Other alignments of finished runs on images."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.cli.main import main
from promptkit.core.errors import RunError, Unsupported
from promptkit.runs.command import eval_command
from tests.models.vision.tiny import convolutional, save_resnet
from tests.support.errors import refused
from tests.support.image_files import squares


@pytest.fixture
def task() -> pk.Task:
    return pk.image_task(*squares(80), label_names=["left", "right"], name="squares")


@pytest.fixture
def finished(task: pk.Task, tmp_path: Path) -> Path:
    aligners = [pk.Classes(task.labels), pk.labelmap.Bayesian(per_class=2)]
    predictor = pk.Predictor(convolutional(), [pk.ImageProcessor()], aligners)
    return pk.evaluate(predictor, task, out=tmp_path, cache=False).path


def test_corrections_of_label_scores_need_label_scores(finished: Path) -> None:
    with refused(Unsupported, "no-label-scores", calibration="batch"):
        align(finished, "batch")
    every = align(finished)
    assert [result.align for result in every.results] == ["blm:per_class=2"]
    assert "batch" not in {each.name for each in every.unavailable}


def test_a_run_to_which_nothing_applies_is_an_error(finished: Path) -> None:
    with refused(RunError, "nothing-available", run=str(finished), unavailable=("linear",)):
        align(finished, "linear")


@pytest.mark.parametrize("size", [None, 12, (12, 20)])
def test_the_command_of_a_run_from_python_repeats_it(
    size: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_resnet(tmp_path / "model")
    model = pk.load(f"vision:{folder}", device="cpu", batch_size=7, **({} if size is None else {"size": size}))
    aligners = [pk.Classes(pk.task("digits").labels), pk.labelmap.Bayesian(per_class=2)]
    predictor = pk.Predictor(model, [pk.ImageProcessor(), pk.Place(0.5, background=0.25), pk.Invert()], aligners)
    run = pk.evaluate(predictor, pk.task("digits"), limit=8, out=tmp_path, cache=False)
    command = eval_command(json.loads((run.path / "run.json").read_text()), ["blm:per_class=2"], folder=run.path)
    assert command is not None
    words = shlex.split(command)
    assert {"dtype=float32", "batch_size=7", "place:share=0.5:background=0.25", "invert"} <= {*words}
    monkeypatch.setattr("sys.argv", [*words, "--json", "--no-cache"])
    with suppress(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["run"] == str(run.path)


def test_a_module_of_pytorch_has_no_command(finished: Path) -> None:
    assert eval_command(json.loads((finished / "run.json").read_text()), ["blm"]) is None
