"""Other alignments of finished runs on images."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.core.errors import RunError, Unsupported
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
