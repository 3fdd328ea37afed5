"""A learned manipulation as a folder: its parameters as safetensors, and a manifest that says what they are.

    parameters.safetensors   name -> float32
    manifest.json            which manipulation, its shapes, the model it was learned on, the prompt, the figures, and a hash
                             of all that and of the parameters

Nothing in it is ever executed. Whether a model is the one that it was learned on, a predictor sees when it is made.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit import __version__
from promptkit.errors import PromptkitError, json_reason
from promptkit.manipulate import peft
from promptkit.manipulate.arrays import deserialised, put, serialised
from promptkit.manipulate.low_rank import LowRankEdit
from promptkit.manipulate.prefix import DeepPrefix
from promptkit.manipulate.shift import HiddenShift
from promptkit.manipulate.soft import SoftPrompt
from promptkit.manipulate.tokens import TriggerTokens
from promptkit.manipulations import Learnable
from promptkit.registry import build_from, keywords_of
from promptkit.resources import expanded
from promptkit.types import Array

LEARNABLE: Mapping[str, type[Learnable]] = {
    each.name: each for each in (SoftPrompt, TriggerTokens, DeepPrefix, HiddenShift, LowRankEdit)
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
        raise PromptkitError(f"This {learned.name} has learned nothing that could be saved", hint="Train it: pk.train")
    own = {
        "format": FORMAT,
        "promptkit": __version__,
        "manipulation": {"name": learned.name, **{field.name: getattr(learned, field.name) for field in keywords_of(learned)}},
        "parameters": {name: list(array.shape) for name, array in learned.parameters.items()},
        "base": dict(learned.base),
    }
    if taken := sorted({*own, "sha256"} & (told or {}).keys()):
        raise PromptkitError("A manifest says these things by itself", got=", ".join(taken), hint="Give them other names")
    if not isinstance((told or {}).get("prompt", {}), Mapping):
        raise PromptkitError("Of a prompt a manifest tells the settings", got=repr((told or {})["prompt"]))
    content, manifest = serialised(learned.parameters), json.loads(json.dumps({**own, **(told or {})}))
    manifest["sha256"] = _hash(content, manifest)
    path = expanded(folder)
    check_free(path, [path])
    put(path, {PARAMETERS: content, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()})
    return path


def load_manipulation(folder: str | Path) -> Learnable:
    """The manipulation that was saved in a folder, exactly, or that of a PEFT checkpoint.

    Raises PromptkitError for what is damaged, was changed since, or is of another version.
    """
    path = expanded(folder)
    if peft.is_checkpoint(path):
        return peft.read(path)
    told = _told(path)
    manifest, arrays = _manifest(path, told), _arrays(path, told)
    if {name: list(array.shape) for name, array in arrays.items()} != manifest.parameters:
        raise _damaged(path, "the shapes of its parameters are not those that its manifest says")
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
        raise _damaged(path, f"{MANIFEST} is not JSON: {json_reason(error)}") from None
    except OSError as error:
        raise _damaged(path, f"{MANIFEST} cannot be read: {error.strerror}") from None


def check_free(folder: Path, places: Sequence[Path]) -> None:
    """Raise if a folder holds what would be read in the place of what is saved into it, or beside that as a part of it."""
    others = [each for each in [*([folder] if (folder / MANIFEST).exists() else []), *_several(folder)] if each not in places]
    if peft.is_checkpoint(folder) or others:
        held = "a PEFT checkpoint" if peft.is_checkpoint(folder) else ", ".join(f"{each / MANIFEST}" for each in others)
        reason = f"The folder {folder} holds something else that was learned, and is left alone"
        raise PromptkitError(reason, got=held, hint="Give another folder")


def _several(path: Path) -> list[Path]:
    """The folders of those that were learned at once, in their order."""
    found = [each.parent for each in path.glob(f"*-*/{MANIFEST}") if each.parent.name.partition("-")[0].isdecimal()]
    return sorted(found, key=lambda each: int(each.name.partition("-")[0]))


def _absent(path: Path) -> PromptkitError:
    """The error for a folder without a manifest."""
    if several := _several(path):
        each = " ".join(f"--prompt {shlex.quote(str(place))}" for place in several)
        hint = f"Name one of them, or, to evaluate them, all: {each}"
        return PromptkitError(f"There are several learned manipulations in {path}, each in a folder of its own", hint=hint)
    hint = "Give a folder that promptkit train has printed, or a PEFT checkpoint"
    return PromptkitError(f"There is no learned manipulation in {path}: it has no {MANIFEST}", hint=hint)


def _manifest(path: Path, told: Any) -> Manifest:
    """What was read, if it is a manifest of this version."""
    number = told.get("format") if isinstance(told, dict) else None
    if isinstance(number, int) and number != FORMAT:
        raise PromptkitError(
            f"The learned manipulation in {path} was saved by another version of promptkit than this one",
            got=f"format {number}, by promptkit {told.get('promptkit')}; this is promptkit {__version__}",
            hint="Update it, pip install -U promptkit, or train it again",
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{MANIFEST} is no manifest of a learned manipulation: {where}{': ' if where else ''}{first['msg']}"
        raise _damaged(path, reason) from None
    if not isinstance(manifest.manipulation.get("name"), str):
        raise _damaged(path, f"{MANIFEST} names no manipulation")
    return manifest


def _arrays(path: Path, told: Any) -> dict[str, Array]:
    """The parameters, if neither they nor what is told of them was changed since they were saved."""
    try:
        content = (path / PARAMETERS).read_bytes()
    except FileNotFoundError:
        raise _damaged(path, f"{PARAMETERS} is not there") from None
    if _hash(content, told) != told["sha256"]:
        raise _damaged(path, f"{PARAMETERS} and {MANIFEST} are not what was saved together")
    try:
        return deserialised(content)
    except ValueError as error:
        raise _damaged(path, f"{PARAMETERS} cannot be read: {error}") from None


def _hash(content: bytes, told: Mapping[str, Any]) -> str:
    """Of the parameters' bytes, and of everything that is told of them."""
    kept = {name: value for name, value in told.items() if name != "sha256"}
    return hashlib.sha256(content + json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, reason: str) -> PromptkitError:
    return PromptkitError(f"The learned manipulation in {path} is damaged: {reason}", hint="Train it again, or copy it anew")
