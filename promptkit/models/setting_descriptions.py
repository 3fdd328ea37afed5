"""Describes the settings of engines, from the declarations of their fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from promptkit.models.registry import Engine

TYPES = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}
"""The placeholder for a value of a type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """A setting of an engine."""

    name: str
    type: str
    """The values that it takes: `INTEGER`, `TEXT`, or the values themselves, as in `float32|bfloat16`."""
    default: str
    """The default value as text; empty if the engine chooses it."""
    description: str

    def __str__(self) -> str:
        return f"{self.name}={self.type}" + (f" [{self.default}]" if self.default else "")


def describe_settings(engine: Engine) -> list[SettingDescription]:
    """Returns a description of each setting of an engine, without importing the class of its models."""
    return [
        SettingDescription(
            name=name,
            type=_type_of(field.annotation),
            default=_default_of(field),
            description=" ".join((field.description or "").split()),
        )
        for name, field in engine.settings().model_fields.items()
    ]


def _type_of(kind: object) -> str:
    if get_origin(kind) is Annotated:
        return _type_of(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    members = [member for member in get_args(kind) if member is not NoneType]
    if NoneType in get_args(kind) and len(members) == 1:
        return _type_of(members[0])
    if get_origin(kind) is dict:
        return "JSON"
    return TYPES.get(kind, "VALUE") if isinstance(kind, type) else "VALUE"


def _default_of(field: FieldInfo) -> str:
    default: object = field.get_default(call_default_factory=True)
    return "" if default in (None, {}) else default if isinstance(default, str) else json.dumps(default, default=str)
