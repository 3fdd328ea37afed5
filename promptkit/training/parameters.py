"""Names the parameters of several learnable manipulations: `INDEX.NAME`, with the index of the manipulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def joined(parts: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """Returns the parameters of all manipulations as one mapping."""
    return {f"{index}.{name}": value for index, part in enumerate(parts) for name, value in part.items()}


def divided(parameters: Mapping[str, T]) -> list[dict[str, T]]:
    """Returns one mapping of parameters for each manipulation."""
    parts: dict[int, dict[str, T]] = {}
    for key, value in parameters.items():
        parts.setdefault(owner(key), {})[local_name(key)] = value
    return [parts[index] for index in sorted(parts)]


def owner(key: str) -> int:
    """Returns the index of the manipulation that a parameter belongs to."""
    return int(key.partition(".")[0])


def local_name(key: str) -> str:
    """Returns the name of a parameter within its manipulation."""
    return key.partition(".")[2]
