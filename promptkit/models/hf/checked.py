"""Results of the checks of a model at load, kept on disk, so that an unchanged model is not checked again.

A result is found by everything that it depends on: the content of the model, its settings, the versions of the libraries, the
processor, and the program text of this engine. Errors are not kept: a model that fails a check is checked again. If results
cannot be read or written, the checks run each time.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import cast

import torch

from promptkit.core.files import write_atomically
from promptkit.core.hashing import Hasher, short_hash
from promptkit.core.paths import checks_folder


class CheckResults:
    """The results of the checks of one model.

    Args:
        identity: Everything about the model and its settings that determines its outputs.
        device: The device of the weights.
    """

    def __init__(self, identity: Mapping[str, object], device: torch.device) -> None:
        content = {name: value for name, value in identity.items() if name != "name"}
        text = json.dumps([content, _processor(device), _program()], sort_keys=True, default=str)
        self._file = checks_folder() / f"{short_hash(text)}.json"
        self._text = text

    def text(self, check: str, compute: Callable[[], str]) -> str:
        """Returns the result of a check, which is computed only if it is not known.

        Args:
            check: The name of the check.
            compute: Computes the result, such as the reason why a model does not support something; an error is not kept.
        """
        known = self._read()
        if check not in known:
            known = {check: compute()}
            self._write({**self._read(), **known})
        return known[check]

    def holds(self, check: str, compute: Callable[[], bool]) -> bool:
        """Returns the result of a check that is true or false; see `text`."""
        return self.text(check, lambda: "yes" if compute() else "") == "yes"

    def passes(self, check: str, run: Callable[[], None]) -> None:
        """Runs a check that raises an error if it fails, unless the model is known to pass it."""

        def passed() -> str:
            run()
            return "yes"

        self.text(check, passed)

    def _read(self) -> dict[str, str]:
        try:
            stored = json.loads(self._file.read_text("utf-8"))
            if stored["of"] == self._text and all(isinstance(result, str) for result in stored["results"].values()):
                return cast("dict[str, str]", stored["results"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return {}

    def _write(self, results: Mapping[str, str]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({"of": self._text, "results": results}).encode())
        except OSError:
            return


def _processor(device: torch.device) -> str:
    """Returns the processor that computes, since a check compares numbers that it has computed."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


@cache
def _program() -> str:
    """Returns a hash of the program text of this engine."""
    hasher = Hasher()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        hasher.update(f"{file.name}\0")
        hasher.update(file.read_bytes())
    return hasher.hexdigest()
