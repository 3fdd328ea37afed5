"""Runs on rows that a model reads as images: requests, records, label maps, resumption and realignment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example, Part
from promptkit.core.manipulation import BindContext, Modifier
from promptkit.core.rendered import Rendered
from promptkit.core.taxonomy import Kind
from tests.models.vision.tiny import NAMES, convolutional
from tests.support.images import rendered_image
from tests.support.runs import lines

LABELS = ("dark", "light")
CLASSES = {"dark": ["cat", "dog"], "light": "boat"}


@dataclass(frozen=True)
class Brightness:
    """Reads the number in a row's text as the brightness of an image."""

    kind = Kind(format="fixed", location="input", operator="parametric")
    requires: frozenset[Feature] = frozenset({"image"})
    parts: tuple[Part, ...] = ()
    models: tuple[str, ...] = ()
    modifiers: tuple[Modifier, ...] = ()

    @property
    def slots(self) -> Mapping[str, int]:
        return {}

    def settings(self) -> Mapping[str, object]:
        return {"name": "brightness"}

    def bind(self, bind_context: BindContext) -> BoundBrightness:
        return BoundBrightness()


class BoundBrightness:
    """The bound manipulation."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        return [rendered_image(np.full((3, 8, 8), int(str(example.inputs["text"])) / 100)) for example in examples]

    def premise(self, example: Example) -> Rendered:
        raise NotImplementedError


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    """A task whose rows are dark or light."""
    for split, numbers in (("train", range(0, 100, 2)), ("test", range(1, 41, 2))):
        rows = [{"text": str(number), "label": LABELS[number >= (50 if split == "train" else 20)]} for number in numbers]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "brightness.yaml").write_text(
        "description: brightness\ntemplate: sentiment/review\nlabels: {dark: dark, light: light}\nsources:\n"
        "  - files: {train: train.jsonl, test: test.jsonl}\n    inputs: {text: text}\n    label: label\n"
    )
    return pk.task(str(tmp_path / "brightness.yaml"))


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
