"""Reads `{name: {key: value}}` in YAML as `name:key=value`, the spelling of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

from promptkit.core.registry import spell


def to_spelling(value: object) -> object:
    """Returns `{name: {key: value}}` as `name:key=value`, and any other value unchanged."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, keywords),) = value.items()
        if isinstance(keywords, Mapping | None):
            return spell(str(name), keywords or {})
    return value


def join_spellings(value: object) -> object:
    """Returns a list of spellings as one text, separated by commas."""
    return ",".join(str(to_spelling(item)) for item in value) if isinstance(value, list) else to_spelling(value)


SWITCH = {"on": True, "off": False}
"""The values of an option that turns something on or off."""


def on_or_off(value: object) -> object:
    """Returns a boolean as `on` or `off`, because YAML reads these words as booleans; any other value is unchanged."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def as_list(value: object) -> object:
    """Returns a single value as a list of one; None and lists are unchanged."""
    return value if value is None or isinstance(value, list) else [value]


Spelled = Annotated[str, BeforeValidator(to_spelling)]
"""`name:key=value`, or in YAML also `{name: {key: value}}`."""
