"""A learned manipulation as a folder: its parameters as safetensors, and a manifest that says what they are.

    parameters.safetensors   name -> float32
    manifest.json            which manipulation, its shapes, the model it was learned on, the prompt, the figures, a hash

Nothing in it is ever executed. Whether a model is the one that it was learned on, a predictor sees when it is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

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
from promptkit.registry import build_from
from promptkit.resources import expanded
from promptkit.types import Array

LEARNABLE: Mapping[str, type[Learnable]] = {
    each.name: each for each in (SoftPrompt, TriggerTokens, DeepPrefix, HiddenShift, LowRankEdit)
}
"""Every manipulation that is learned, by the name that the command line spells."""
MANIFEST, PARAMETERS = "manifest.json", "parameters.safetensors"
_LEARNED = frozenset({"parameters", "base"})
"""The fields that are no keywords of its making."""


def save(learned: Learnable, folder: str | Path, *, told: Mapping[str, object] | None = None) -> Path:
    """Write it into a folder; `told` is what else a reader should know, such as the prompt and the figures."""
    if not learned.parameters:
        raise PromptkitError(f"This {learned.name} has learned nothing that could be saved", hint="Train it: pk.train")
    path = expanded(folder)
    content = serialised(learned.parameters)
    manifest = {
        "promptkit": __version__,
        "manipulation": {"name": learned.name, **keywords_of(learned)},
        "parameters": {name: list(array.shape) for name, array in learned.parameters.items()},
        "base": dict(learned.base),
        **(told or {}),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    put(path, {PARAMETERS: content, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()})
    return path


def load_manipulation(folder: str | Path) -> Learnable:
    """The manipulation that was saved in a folder, exactly, or that of a PEFT checkpoint.

    Raises PromptkitError for what is damaged or of a later version.
    """
    path = expanded(folder)
    if peft.is_checkpoint(path):
        return peft.read(path)
    manifest = read_manifest(path)
    arrays = _arrays(path, manifest)
    try:
        made = {**manifest["manipulation"]}
        shapes = {name: tuple(shape) for name, shape in manifest["parameters"].items()}
        name, base = made.pop("name"), dict(manifest["base"])
    except (KeyError, TypeError, AttributeError):
        raise _damaged(path, f"{MANIFEST} is no manifest of a learned manipulation") from None
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise _damaged(path, "the shapes of its parameters are not those that its manifest says")
    blank: Learnable = build_from("learned manipulation", LEARNABLE, name, made)
    return blank.learned(arrays, base)


def read_manifest(folder: str | Path) -> Any:
    """What a saved manipulation says of itself; a PEFT checkpoint says nothing of the prompt that it was trained behind."""
    path = expanded(folder)
    if peft.is_checkpoint(path):
        return {}
    try:
        return json.loads((path / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = "Give a folder that promptkit train has printed, or a PEFT checkpoint"
        raise PromptkitError(f"There is no learned manipulation in {folder}: it has no {MANIFEST}", hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{MANIFEST} is not JSON: {json_reason(error)}") from None


def keywords_of(learned: Learnable) -> dict[str, object]:
    """The keywords that it was made with."""
    told: Any = learned
    return {field.name: getattr(told, field.name) for field in fields(told) if field.name not in _LEARNED}


def _arrays(path: Path, manifest: Any) -> dict[str, Array]:
    try:
        content = (path / PARAMETERS).read_bytes()
    except FileNotFoundError:
        raise _damaged(path, f"{PARAMETERS} is not there") from None
    if not isinstance(manifest, dict) or hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
        raise _damaged(path, f"{PARAMETERS} is not what was saved with its manifest")
    try:
        return deserialised(content)
    except ValueError as error:
        raise _damaged(path, f"{PARAMETERS} cannot be read: {error}") from None


def _damaged(path: Path, reason: str) -> PromptkitError:
    return PromptkitError(f"The learned manipulation in {path} is damaged: {reason}", hint="Train it again, or copy it anew")
