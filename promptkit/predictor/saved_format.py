"""The format of saved predictors: the content of `predictor.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from promptkit.core.hashing import sha256_hex
from promptkit.core.rendered import TooLong
from promptkit.predictor.columns import Columns
from promptkit.predictor.estimate import Estimate

FORMAT = 1
"""The version of the format."""
PREDICTOR, ROWS, ARRAYS, CARD, MANIPULATIONS = (
    "predictor.json",
    "demonstrations.jsonl",
    "arrays.safetensors",
    "README.md",
    "manipulations",
)
"""The names of the files of a saved predictor, and of the folder of its learned manipulations."""

Settings = dict[str, JsonValue]
"""The name and the keywords of a registered object."""
Base = dict[str, str | int]
"""What identifies a model: the hashes of its weights and tokenizer, and its sizes."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _inside(name: str) -> str:
    """Refuses a path that is absolute or leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name or name == ".":
        raise ValueError("the path is not inside the folder")
    return name


RelativePath = Annotated[str, AfterValidator(_inside)]
"""The path of a file in the folder, with forward slashes."""


class SavedModel(_Strict):
    """The model of a predictor."""

    name: str
    """The name that it is loaded by."""
    settings: Settings
    """The settings that it was loaded with."""
    base: Base
    """The identity that another model must share to replace it."""
    identity: Settings
    """Everything about it that determined results, including the versions of libraries; for readers."""


class SavedPrompt(_Strict):
    """A prompt."""

    kind: Literal["prompt"] = "prompt"
    template: str
    """The text of the template."""
    template_name: str
    """Its name in error messages."""
    demos: Settings
    order: Settings | None
    instruction: str | None
    chat: bool
    thinking: bool | None
    chat_template: str | None
    cot: Settings | None
    channel: bool
    on_too_long: TooLong
    rows: dict[Literal["pool", "fit", "dev"], int]
    """The number of rows of each part in `demonstrations.jsonl`."""
    fitted_on: tuple[str, ...] = ()
    """Fingerprints of the rows that demonstrations were chosen from."""


class SavedImages(_Strict):
    """The decoder of images."""

    kind: Literal["image"] = "image"


class SavedLearned(_Strict):
    """A learned manipulation."""

    folder: RelativePath
    """Its folder."""


class SavedFixed(_Strict):
    """A manipulation without trained parameters."""

    settings: Settings


class SavedCalibration(_Strict):
    """A fitted calibration."""

    per_context: bool
    """Whether it is fitted on each row's context while predicting."""
    state: JsonValue
    """Its state; arrays are in `arrays.safetensors`."""
    fitted_on: tuple[str, ...] = ()
    """Fingerprints of the rows that it was fitted on."""


class SavedPredictor(_Strict):
    """The content of `predictor.json`."""

    format: int
    """The version of the format."""
    promptkit: str
    """The version of promptkit that wrote it."""
    model: SavedModel
    models: dict[str, Settings] = {}
    """The other models that it queries, such as a sentence encoder: name -> what identifies it."""
    columns: Columns
    """The columns that inputs are read from."""
    labels: tuple[str, ...]
    """The labels in the declared order; empty for answer choices and generated texts."""
    multi_label: bool = False
    """Whether any number of the labels can apply to a row."""
    first: Annotated[SavedPrompt | SavedImages, Field(discriminator="kind")]
    """The manipulation that encodes rows."""
    modifiers: tuple[SavedLearned | SavedFixed, ...] = ()
    """The manipulations that follow, in order."""
    aligners: tuple[Settings, ...]
    """The settings of the aligners, the first one first."""
    calibration: SavedCalibration | None = None
    """The fitted calibration, if there is one."""
    estimate: Estimate | None = None
    """The results on labeled rows that it was not fitted on."""
    folds: int | None = None
    """The number of folds of the stored probabilities of these rows; None without probabilities."""
    command: str = ""
    """The command that made it."""
    withheld: tuple[RelativePath, ...] = ()
    """The files that were left out when it was published."""
    files: dict[RelativePath, str]
    """The SHA-256 of every other file."""
    sha256: str = ""
    """The SHA-256 of everything else in this file."""

    def to_bytes(self) -> bytes:
        """Returns the content of `predictor.json`, with its hash."""
        entries = self.model_dump(mode="json")
        return (json.dumps({**entries, "sha256": digest_of(entries)}, indent=1, ensure_ascii=False) + "\n").encode()


def digest_of(entries: Mapping[str, object]) -> str:
    """Returns the hash that `sha256` must be in the entries of `predictor.json`; the order of labels and of entries counts."""
    return sha256_hex(json.dumps({key: value for key, value in entries.items() if key != "sha256"}))
