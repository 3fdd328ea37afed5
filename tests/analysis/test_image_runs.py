"""Analyses of finished runs on images: other alignments, and what only prompts have, which is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.cli.main import main
from promptkit.core.errors import InputError, RunError, Unsupported
from promptkit.models.registry import load
from promptkit.searches import instructions
from tests.models.vision.tiny import convolutional
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


def test_instructions_are_not_searched_for_images(task: pk.Task) -> None:
    with refused(InputError, "needs-text-task", task="squares"):
        instructions.check(task, method="ape", instructions=[], candidates=2, by="accuracy", dev=4, split=None)


def test_an_engine_without_a_name_is_refused() -> None:
    for name in ("vision:", "hf:", "fake:"):
        with refused(InputError, "empty-name", engine=name[:-1]):
            load(name)


def test_the_models_that_are_suggested_are_those_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["promptkit", "eval", "digits", "--model", "vision:./nowhere", "--labelmap", "blm"])
    with pytest.raises(SystemExit):
        main()
    message = capsys.readouterr().err
    assert "vision:demo" in message
    assert "gemma" not in message
