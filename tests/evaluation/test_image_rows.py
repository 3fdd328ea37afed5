"""Runs on rows that a model reads as images: records and notes of a hand-written label map."""

from __future__ import annotations

from pathlib import Path

import promptkit as pk
from tests.models.vision.tiny import convolutional
from tests.support.image_runs import CLASSES, LABELS, Brightness, write_task
from tests.support.runs import lines


def test_a_hand_written_label_map_predicts_without_labels_and_is_shown(tmp_path: Path) -> None:
    model, reader = convolutional(), pk.Classes(LABELS, classes=CLASSES)
    predictors = [pk.Predictor(model, Brightness(), align) for align in (reader, [reader, pk.calibrate.Batch()])]
    run = pk.evaluate(predictors, write_task(tmp_path), out=tmp_path, cache=False)
    assert [result.align for result in run.results] == ["classes", "batch"]
    assert {"label dark: cat, dog", "label light: boat"} <= {*run.notes}
    for record in lines(run):
        assert record.keys() == {"id", "gold", "prediction", "logprobs", "prompt_hash"}
        scores = record["logprobs"]
        assert tuple(scores) == LABELS
        assert record["prediction"] == max(LABELS, key=lambda label: scores[label])
