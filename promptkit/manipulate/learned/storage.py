"""Saves and loads a learned manipulation as a folder.

    parameters.safetensors   name -> float32
    manifest.json            the manipulation's name and settings, the shapes of its parameters, the model and the hashes of the
                             rows it was trained on, the prompt, the metrics, and a hash of all of these and of the parameters

Loading executes nothing in the folder. Whether a model is the one it was trained on is checked by the predictor.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.core.arguments import check_arguments
from promptkit.core.arrays import Array, deserialize, serialize
from promptkit.core.caller import by_caller
from promptkit.core.errors import CheckpointError, InputError, json_reason
from promptkit.core.files import write_folder
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.format_version import check_format
from promptkit.core.hashing import sha256_hex
from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.core.registry import build_from, keywords_of
from promptkit.core.version import __version__
from promptkit.manipulate.learned import peft
from promptkit.manipulate.learned.base import LearnedManipulation, check_trained
from promptkit.manipulate.modifiers import LEARNABLE

MANIFEST, PARAMETERS = "manifest.json", "parameters.safetensors"
FORMAT = 1
"""The version of the manifest's format."""


class Manifest(BaseModel):
    """The manifest of a saved manipulation; keys that are not fields are metadata for readers."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: int
    """The version of the manifest's format."""
    promptkit: str
    """The version of promptkit that wrote it."""
    manipulation: dict[str, object]
    """The name and settings of the manipulation."""
    parameters: dict[str, list[int]]
    """Name -> shape."""
    base: dict[str, str | int]
    """The identity of the model it was trained on."""
    prompt: dict[str, object] = Field(default_factory=dict)
    """The settings of the prompt it was trained with."""
    fitted_on: list[str] = Field(default_factory=list)
    """The fingerprints of the rows that it was trained on or selected by."""
    sha256: str
    """A hash of the parameter file and of everything else in the manifest."""


@check_arguments("save_manipulation")
def save(learned: Learnable, folder: str | Path, *, metadata: Mapping[str, object] | None = None) -> Path:
    """Saves a learned manipulation into a folder.

    Args:
        learned: The manipulation; it must have trained parameters.
        folder: The folder, which is created if it does not exist.
        metadata: Further entries of the manifest, such as the settings of the `prompt` and the metrics.

    Returns:
        The folder.

    Raises:
        CheckpointError: If nothing is trained, the folder contains another manipulation, or it cannot be written to.
        InputError: If `metadata` uses a reserved name.
    """
    check_trained(learned)
    content = serialize(learned.parameters)
    manifest = _new_manifest(learned, content, metadata or {})
    path = expanded(folder)
    check_free(path, [path])
    write_folder(path, {PARAMETERS: content, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()})
    return path


def _new_manifest(learned: Learnable, content: bytes, metadata: Mapping[str, object]) -> dict[str, object]:
    entries = {
        "format": FORMAT,
        "promptkit": __version__,
        "manipulation": {"name": learned.name, **{field.name: getattr(learned, field.name) for field in keywords_of(learned)}},
        "parameters": {name: list(array.shape) for name, array in learned.parameters.items()},
        "base": dict(learned.base),
        "fitted_on": sorted(map(str, learned.fitted_on)),
    }
    if reserved := sorted({*entries, "sha256"} & metadata.keys()):
        raise InputError(
            "These names are reserved in a manifest",
            code="reserved-name",
            got=", ".join(reserved),
            hint="Use other names",
            names=tuple(reserved),
        )
    prompt = metadata.get("prompt", {})
    if not isinstance(prompt, Mapping):
        raise InputError(
            "The prompt in a manifest must be a mapping of settings",
            code="invalid-value",
            got=repr(prompt),
            hint="Use prompt.settings()",
            keyword="prompt",
            value=repr(prompt)[:200],
        )
    manifest: dict[str, object] = json.loads(json.dumps({**entries, **metadata}))
    return {**manifest, "sha256": _hash(content, manifest)}


@check_arguments("load_manipulation")
def load_manipulation(folder: str | Path) -> LearnedManipulation:
    """Loads a learned manipulation from a folder.

    Args:
        folder: A folder written by `save` or by `train`, or a PEFT checkpoint.

    Raises:
        CheckpointError: If it is damaged, was changed after it was saved, or was saved by another version.
    """
    path = expanded(folder)
    if peft.is_checkpoint(path):
        return peft.read(path)
    entries, manifest = _validated(path, _read_entries(path))
    arrays = _read_arrays(path, entries)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if shapes != manifest.parameters:
        reason = "the shapes of its parameters differ from those in its manifest"
        raise _damaged(path, "wrong-parameter-shape", reason, found=str(shapes), expected=str(manifest.parameters))
    keywords = {**manifest.manipulation}
    name = str(keywords.pop("name"))
    learned: LearnedManipulation = build_from(
        "learned manipulation",
        LEARNABLE,
        name,
        keywords,
        parameters=arrays,
        base=manifest.base,
        fitted_on=frozenset(map(Fingerprint.parse, manifest.fitted_on)),
    )
    return learned


def read_manifest(folder: str | Path) -> Manifest | None:
    """Returns the manifest of a saved manipulation; None for a PEFT checkpoint, which does not record the prompt."""
    path = expanded(folder)
    return None if peft.is_checkpoint(path) else _validated(path, _read_entries(path))[1]


def check_free(folder: Path, targets: Sequence[Path]) -> None:
    """Checks that saving into the target folders leaves no other manipulation in `folder`.

    Raises:
        CheckpointError: If the folder contains a PEFT checkpoint, or a learned manipulation outside the targets.
    """
    saved = [*([folder] if (folder / MANIFEST).exists() else []), *_numbered_folders(folder)]
    others = [path for path in saved if path not in targets]
    if peft.is_checkpoint(folder) or others:
        found = "a PEFT checkpoint" if peft.is_checkpoint(folder) else ", ".join(f"{path / MANIFEST}" for path in others)
        raise CheckpointError(
            f"The folder {folder} already contains another learned manipulation, and was not changed",
            code="path-exists",
            got=found,
            hint="Give another folder",
            folder=str(folder),
        )


def _numbered_folders(path: Path) -> list[Path]:
    """Returns the folders of manipulations that were trained together, in order."""
    folders = [file.parent for file in path.glob(f"*-*/{MANIFEST}") if file.parent.name.partition("-")[0].isdecimal()]
    return sorted(folders, key=lambda folder: int(folder.name.partition("-")[0]))


def _missing_manifest(path: Path) -> CheckpointError:
    """Returns the error for a folder without a manifest."""
    if folders := _numbered_folders(path):
        usage = by_caller(
            command="promptkit eval TASK " + " ".join(f"--prompt {shlex.quote(str(folder))}" for folder in folders),
            python=f"pk.EvalConfig(..., prompt=[{', '.join(repr(str(folder)) for folder in folders)}])",
        )
        return CheckpointError(
            f"There are several learned manipulations in {path}, each in its own folder",
            code="several-checkpoints",
            hint=f"Give one of them, or evaluate them together: {usage}",
            folder=str(path),
            folders=tuple(map(str, folders)),
        )
    return CheckpointError(
        f"There is no learned manipulation in {path}: it has no {MANIFEST}",
        code="no-checkpoint",
        hint="Give a folder printed by promptkit train, or a PEFT checkpoint",
        folder=str(path),
        file=MANIFEST,
    )


def _read_entries(path: Path) -> object:
    """Returns the content of the manifest, which may be any JSON value."""
    try:
        entries: object = json.loads((path / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _missing_manifest(path) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "not-json", f"{MANIFEST} is not JSON: {json_reason(error)}", file=MANIFEST) from None
    except OSError as error:
        reason = f"{MANIFEST} cannot be read: {error.strerror}"
        raise _damaged(path, "unreadable-file", reason, file=MANIFEST, reason=error.strerror) from None
    return entries


def _validated(path: Path, entries: object) -> tuple[dict[str, object], Manifest]:
    """Returns the manifest as stored and as validated; raises CheckpointError if it is invalid."""
    check_format(entries, FORMAT, path, saved="learned manipulation", hint="train it again")
    try:
        manifest = Manifest.model_validate(entries)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        reason = f"{MANIFEST} is not the manifest of a learned manipulation: {key}{': ' if key else ''}{first['msg']}"
        raise _damaged(path, "invalid-manifest", reason, file=MANIFEST, key=key, problem=first["type"]) from None
    if not isinstance(manifest.manipulation.get("name"), str):
        reason = f"{MANIFEST} does not name a manipulation"
        raise _damaged(path, "invalid-manifest", reason, file=MANIFEST, key="manipulation.name", problem="string_type")
    assert isinstance(entries, dict)
    return entries, manifest


def _read_arrays(path: Path, entries: Mapping[str, object]) -> dict[str, Array]:
    """Returns the parameters, if neither they nor the manifest were changed after they were saved."""
    try:
        content = (path / PARAMETERS).read_bytes()
    except FileNotFoundError:
        raise _damaged(path, "missing-file", f"{PARAMETERS} does not exist", file=PARAMETERS) from None
    if _hash(content, entries) != entries["sha256"]:
        raise _damaged(path, "changed-since-saved", f"{PARAMETERS} or {MANIFEST} was changed after it was saved")
    try:
        return deserialize(content)
    except ValueError as error:
        reason = f"{PARAMETERS} cannot be read: {error}"
        raise _damaged(path, "unreadable-parameters", reason, file=PARAMETERS, reason=str(error)) from None


def _hash(content: bytes, entries: Mapping[str, object]) -> str:
    """Returns a hash of the parameter file and of all entries of the manifest but the hash itself."""
    hashed = {name: value for name, value in entries.items() if name != "sha256"}
    return sha256_hex(content + json.dumps(hashed, sort_keys=True).encode())


def _damaged(path: Path, code: str, description: str, **fields: object) -> CheckpointError:
    message, hint = f"The learned manipulation in {path} is damaged: {description}", "Train it again, or copy it again"
    return CheckpointError(message, code=code, hint=hint, folder=str(path), **fields)
