"""The base class of options and of YAML files, and the descriptions of their fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import cast, get_args

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

NAMES = "{names}"
"""The part of a description that is replaced by the names that the field accepts."""


class StrictModel(BaseModel):
    """An immutable pydantic model that refuses unknown keys. The docstring under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _check_numbers_are_not_booleans(cls, value: object, validate: ValidatorFunctionWrapHandler) -> object:
        """Refuses `true` for a number, which pydantic would read as 1."""
        validated: object = validate(value)
        if isinstance(value, bool) and isinstance(validated, int | float) and not isinstance(validated, bool):
            raise PydanticKnownError("int_type")
        return validated


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
    """Returns the description of a field in one line, with the names that it lists; empty without a field."""
    text = " ".join(((info and info.description) or "").split())
    listed = (item for item in (info.metadata if info else ()) if isinstance(item, NamesFrom))
    return next((names.fill(text) for names in listed), text)
