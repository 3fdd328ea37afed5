"""A task whose rows are read as images: a number is the brightness of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import promptkit as pk
from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import BindContext, Modifier
from promptkit.core.rendered import Rendered
from promptkit.core.taxonomy import Kind
from tests.support.images import rendered_image

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
    variables: frozenset[str] = frozenset({"text"})
    fitted_on: frozenset[Fingerprint] = frozenset()

    @property
    def slots(self) -> Mapping[str, int]:
        return {}

    def settings(self) -> Mapping[str, object]:
        return {"name": "brightness"}

    def bind(self, bind_context: BindContext) -> BoundBrightness:
        return BoundBrightness()

    def fit(self, bind_context: BindContext) -> Brightness:
        return self


class BoundBrightness:
    """The bound manipulation."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        return [rendered_image(np.full((3, 8, 8), int(str(example.inputs["text"])) / 100)) for example in examples]

    def premise(self, example: Example) -> Rendered:
        raise NotImplementedError


def write_task(folder: Path) -> pk.Task:
    """A task whose rows are dark or light."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, numbers in (("train", range(0, 100, 2)), ("test", range(1, 41, 2))):
        rows = [{"text": str(number), "label": LABELS[number >= (50 if split == "train" else 20)]} for number in numbers]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "brightness.yaml").write_text(
        "description: brightness\ntemplate: sentiment/review\nlabels: {dark: dark, light: light}\nsources:\n"
        "  - files: {train: train.jsonl, test: test.jsonl}\n    inputs: {text: text}\n    label: label\n"
    )
    return pk.task(str(folder / "brightness.yaml"))
