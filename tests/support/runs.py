"""The files of finished runs, and models that are killed while they answer."""

from __future__ import annotations

import json
from typing import Any

import promptkit as pk

FINAL = ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "results.safetensors", "summary.json")
"""The files of every finished run that do not depend on its speed."""


class Killed(BaseException):
    """Simulates a signal, which no code catches."""


def killed_after(batches: int, **settings: Any) -> Any:
    """Returns a fake model that is killed after some batches."""
    model: Any = pk.load("fake", **settings)
    original, remaining = model.answer, iter(range(batches))

    def answer(*arguments: Any) -> Any:
        for batch in original(*arguments):
            if next(remaining, None) is None:
                raise Killed
            yield batch

    model.answer = answer
    return model


def contents(run: pk.Run) -> dict[str, bytes]:
    """Returns the contents of the files of a finished run."""
    return {name: (run.path / name).read_bytes() for name in FINAL}


def lines(run: pk.Run, file: str = "samples.jsonl") -> list[dict[str, Any]]:
    """Returns the records in a file of a run."""
    return [json.loads(line) for line in (run.path / file).read_text().splitlines()]
