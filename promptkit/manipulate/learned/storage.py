"""A learned manipulation as a folder: its parameters as safetensors, and a manifest that says what they are.

    parameters.safetensors   name -> float32
    manifest.json            which manipulation, its shapes, the model it was learned on, the prompt, the figures, and a hash
                             of all that and of the parameters

Nothing in it is ever executed. Whether a model is the one that it was learned on, a predictor sees when it is made.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.core.arrays import Array, deserialize, serialize
from promptkit.core.errors import CheckpointError, InputError, json_reason
from promptkit.core.files import write_folder
from promptkit.core.hashing import sha256_hex
from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.core.registry import build_from, keywords_of
from promptkit.core.version import __version__
from promptkit.manipulate.learned import peft
from promptkit.manipulate.learned.loreft import LoReFT
from promptkit.manipulate.learned.prefix import Prefix
from promptkit.manipulate.learned.soft_prompt import SoftPrompt
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens

LEARNABLE: Mapping[str, type[Learnable]] = {
    each.name: each for each in (SoftPrompt, TriggerTokens, Prefix, SteeringVector, LoReFT)
}
"""Every manipulation that is learned, by the name that the command line spells."""
MANIFEST, PARAMETERS = "manifest.json", "parameters.safetensors"
FORMAT = 1
"""Of the manifest; another one has another number."""


class Manifest(BaseModel):
    """What a saved manipulation says of itself; besides that, what a reader should know, which nothing is made of."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: int
    promptkit: str
    """The version that has written it."""
    manipulation: dict[str, Any]
    """Its name, and the keywords that it was made with."""
    parameters: dict[str, list[int]]
    """Name -> shape."""
    base: dict[str, str | int]
    """The model that it was learned on."""
    prompt: dict[str, Any] = Field(default_factory=dict)
    """The settings of the prompt that it was trained behind."""
    sha256: str
    """Of the parameters' bytes, and of all that is told here."""


def save(learned: Learnable, folder: str | Path, *, told: Mapping[str, object] | None = None) -> Path:
    """Write it into a folder; `told` is what else a reader should know, such as the prompt and the figures."""
    if not learned.parameters:
        raise CheckpointError(
            f"This {learned.name} has no trained parameters to save",
            code="not-trained",
            hint="Train it: pk.train",
            manipulation=learned.name,
        )
    own = {
        "format": FORMAT,
        "promptkit": __version__,
        "manipulation": {"name": learned.name, **{field.name: getattr(learned, field.name) for field in keywords_of(learned)}},
        "parameters": {name: list(array.shape) for name, array in learned.parameters.items()},
        "base": dict(learned.base),
    }
    if taken := sorted({*own, "sha256"} & (told or {}).keys()):
        raise InputError(
            "These names are reserved in a manifest",
            code="reserved-name",
            got=", ".join(taken),
            hint="Use other names",
            names=tuple(taken),
        )
    if not isinstance((told or {}).get("prompt", {}), Mapping):
        prompt = (told or {})["prompt"]
        raise InputError(
            "The prompt in a manifest must be a mapping of settings",
            code="invalid-value",
            got=repr(prompt),
            hint="Use prompt.settings()",
            keyword="prompt",
            value=repr(prompt)[:200],
        )
    content, manifest = serialize(learned.parameters), json.loads(json.dumps({**own, **(told or {})}))
    manifest["sha256"] = _hash(content, manifest)
    path = expanded(folder)
    check_free(path, [path])
    write_folder(path, {PARAMETERS: content, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()})
    return path


def load_manipulation(folder: str | Path) -> Learnable:
    """The manipulation that was saved in a folder, exactly, or that of a PEFT checkpoint.

    Raises CheckpointError for what is damaged, was changed since, or is of another version.
    """
    path = expanded(folder)
    if peft.is_checkpoint(path):
        return peft.read(path)
    told = _told(path)
    manifest, arrays = _manifest(path, told), _arrays(path, told)
    if {name: list(array.shape) for name, array in arrays.items()} != manifest.parameters:
        shapes = {
            "found": str({name: list(array.shape) for name, array in arrays.items()}),
            "expected": str(manifest.parameters),
        }
        raise _damaged(
            path, "wrong-parameter-shape", "the shapes of its parameters differ from those in its manifest", **shapes
        )
    keywords = {**manifest.manipulation}
    name = keywords.pop("name")
    learned: Learnable = build_from("learned manipulation", LEARNABLE, name, keywords, parameters=arrays, base=manifest.base)
    return learned


def read_manifest(folder: str | Path) -> Manifest | None:
    """What a saved manipulation says of itself; None for a PEFT checkpoint, which says nothing of the prompt before it."""
    path = expanded(folder)
    return None if peft.is_checkpoint(path) else _manifest(path, _told(path))


def _told(path: Path) -> Any:
    try:
        return json.loads((path / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _absent(path) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "not-json", f"{MANIFEST} is not JSON: {json_reason(error)}", file=MANIFEST) from None
    except OSError as error:
        reason = f"{MANIFEST} cannot be read: {error.strerror}"
        raise _damaged(path, "unreadable-file", reason, file=MANIFEST, reason=error.strerror) from None


def check_free(folder: Path, places: Sequence[Path]) -> None:
    """Raise if a folder holds what would be read in the place of what is saved into it, or beside that as a part of it."""
    others = [each for each in [*([folder] if (folder / MANIFEST).exists() else []), *_several(folder)] if each not in places]
    if peft.is_checkpoint(folder) or others:
        held = "a PEFT checkpoint" if peft.is_checkpoint(folder) else ", ".join(f"{each / MANIFEST}" for each in others)
        raise CheckpointError(
            f"The folder {folder} already contains another learned manipulation, and was not changed",
            code="path-exists",
            got=held,
            hint="Give another folder",
            folder=str(folder),
        )


def _several(path: Path) -> list[Path]:
    """The folders of those that were learned at once, in their order."""
    found = [each.parent for each in path.glob(f"*-*/{MANIFEST}") if each.parent.name.partition("-")[0].isdecimal()]
    return sorted(found, key=lambda each: int(each.name.partition("-")[0]))


def _absent(path: Path) -> CheckpointError:
    """The error for a folder without a manifest."""
    if several := _several(path):
        each = " ".join(f"--prompt {shlex.quote(str(place))}" for place in several)
        return CheckpointError(
            f"There are several learned manipulations in {path}, each in its own folder",
            code="several-checkpoints",
            hint=f"Give one of them, or, to evaluate them together, all: {each}",
            folder=str(path),
            folders=tuple(map(str, several)),
        )
    return CheckpointError(
        f"There is no learned manipulation in {path}: it has no {MANIFEST}",
        code="no-checkpoint",
        hint="Give a folder printed by promptkit train, or a PEFT checkpoint",
        folder=str(path),
        file=MANIFEST,
    )


def _manifest(path: Path, told: Any) -> Manifest:
    """What was read, if it is a manifest of this version."""
    number = told.get("format") if isinstance(told, dict) else None
    if isinstance(number, int) and number != FORMAT:
        raise CheckpointError(
            f"The learned manipulation in {path} was saved by a different version of promptkit",
            code="other-version",
            got=f"format {number}, by promptkit {told.get('promptkit')}; this is promptkit {__version__}",
            hint="Update promptkit (pip install -U promptkit), or train it again",
            folder=str(path),
            format=number,
            version=str(told.get("promptkit")),
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{MANIFEST} is not the manifest of a learned manipulation: {where}{': ' if where else ''}{first['msg']}"
        raise _damaged(path, "invalid-manifest", reason, file=MANIFEST, key=where, problem=first["type"]) from None
    if not isinstance(manifest.manipulation.get("name"), str):
        reason = f"{MANIFEST} does not name a manipulation"
        raise _damaged(path, "invalid-manifest", reason, file=MANIFEST, key="manipulation.name", problem="string_type")
    return manifest


def _arrays(path: Path, told: Any) -> dict[str, Array]:
    """The parameters, if neither they nor what is told of them was changed since they were saved."""
    try:
        content = (path / PARAMETERS).read_bytes()
    except FileNotFoundError:
        raise _damaged(path, "missing-file", f"{PARAMETERS} does not exist", file=PARAMETERS) from None
    if _hash(content, told) != told["sha256"]:
        raise _damaged(path, "changed-since-saved", f"{PARAMETERS} or {MANIFEST} was changed after it was saved")
    try:
        return deserialize(content)
    except ValueError as error:
        reason = f"{PARAMETERS} cannot be read: {error}"
        raise _damaged(path, "unreadable-parameters", reason, file=PARAMETERS, reason=str(error)) from None


def _hash(content: bytes, told: Mapping[str, Any]) -> str:
    """Of the parameters' bytes, and of everything that is told of them."""
    kept = {name: value for name, value in told.items() if name != "sha256"}
    return sha256_hex(content + json.dumps(kept, sort_keys=True).encode())


def _damaged(path: Path, code: str, what: str, **fields: object) -> CheckpointError:
    message, hint = f"The learned manipulation in {path} is damaged: {what}", "Train it again, or copy it again"
    return CheckpointError(message, code=code, hint=hint, folder=str(path), **fields)
