"""Runs on rows that a model reads as images: requests, records, label maps, resumption and realignment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import promptkit as pk
from tests.models.vision.tiny import NAMES, convolutional
from tests.support.image_runs import CLASSES, LABELS, Brightness, write_task
from tests.support.runs import lines


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    return write_task(tmp_path)


def predictors(*later: object, classes: Mapping[str, str | list[str]] | None = None) -> list[pk.Predictor]:
    model, reader = convolutional(), pk.Classes(LABELS, classes=classes)
    aligners = [[reader, each] for each in later]
    return [pk.Predictor(model, Brightness(), each) for each in ([[reader]] if classes else []) + aligners]


def test_a_hand_written_label_map_predicts_without_labels_and_is_shown(task: pk.Task, tmp_path: Path) -> None:
    run = pk.evaluate(predictors(pk.calibrate.Batch(), classes=CLASSES), task, out=tmp_path, cache=False)
    assert [result.align for result in run.results] == ["classes", "batch"]
    assert {"label dark: cat, dog", "label light: boat"} <= {*run.notes}
    for record in lines(run):
        assert record.keys() == {"id", "gold", "prediction", "logprobs", "prompt_hash"}
        scores = record["logprobs"]
        assert tuple(scores) == LABELS
        assert record["prediction"] == max(LABELS, key=lambda label: scores[label])
    assert set(NAMES) > {"cat", "dog", "boat"}
