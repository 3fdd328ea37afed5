"""Descriptions of the fields of options and YAML files, which can list the names that a field accepts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import cast, get_args

from pydantic.fields import FieldInfo

from promptkit.core.caller import spelled

NAMES = "{names}"
"""The part of a description that is replaced by the names that the field accepts."""


@dataclass(frozen=True, slots=True)
class NamesFrom:
    """Metadata of a field whose description lists the names of tables or of `Literal` types in place of `{names}`.

    The tables are imported when the description is shown.
    """

    places: tuple[str, ...]
    """The tables, as `module:attribute`."""

    def __init__(self, *places: str) -> None:
        object.__setattr__(self, "places", places)

    def read(self) -> list[str]:
        """Returns the names, in the order of the tables."""
        return [name for place in self.places for name in _names_in(resolve_name(place))]

    def fill(self, text: str) -> str:
        """Returns a text with the names in place of `{names}`."""
        *names, last = self.read() or ["none"]
        return text.replace(NAMES, f"{', '.join(names)} or {last}" if names else last)


def _names_in(table: object) -> Iterable[str]:
    return get_args(table) or cast(Iterable[str], table)


def description_of(info: FieldInfo | None) -> str:
    """Returns the description of a field in one line, with the names that it lists, and settings as the caller writes them.

    Empty without a field.
    """
    text = spelled(" ".join(((info and info.description) or "").split()))
    listed = (item for item in (info.metadata if info else ()) if isinstance(item, NamesFrom))
    return next((names.fill(text) for names in listed), text)
