"""The types of options: how the command line, YAML and Python write their values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, cast

from pydantic import BeforeValidator, PlainSerializer

from promptkit.core.arguments import shortened
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError
from promptkit.core.registry import Named, spell, spelling

SWITCH = {"on": True, "off": False}
"""The values of an option that turns something on or off."""


@dataclass(frozen=True, slots=True)
class Metavar:
    """Metadata of a field: the placeholder that `--help` shows for its value, where the type is not specific enough."""

    text: str
    """The placeholder, such as `FOLDER`."""


@dataclass(frozen=True, slots=True)
class RelativePath:
    """Metadata of a field whose values are paths, which are relative to the YAML file that contains them."""

    or_name: bool = False
    """Whether only values that end like a file are paths, and others are names."""
    before: str = ""
    """A text that ends the path of a Python file; values without a Python file before it are not paths."""
    after: str = ""
    """A text that precedes the path; values that do not begin with it are not paths."""


def to_spelling(value: object) -> object:
    """Returns `{name: {key: value}}`, or an object such as `pk.demos.BM25(k=4)`, as `name:key=value`; others unchanged."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, keywords),) = value.items()
        if isinstance(keywords, Mapping | None):
            return spell(str(name), keywords or {})
    if is_dataclass(value) and not isinstance(value, type):
        return spelling(cast(Named, value))
    return value


def to_spellings(value: object) -> object:
    """Returns texts separated by commas, or a list of texts, mappings and objects, as a tuple of `name:key=value`."""
    items = value if isinstance(value, list | tuple) else [value]
    spelled = [to_spelling(item) for item in items]
    texts = (part for item in spelled for part in (item.split(",") if isinstance(item, str) else [item]))
    return tuple(text.strip() if isinstance(text, str) else text for text in texts if not isinstance(text, str) or text.strip())


def on_or_off(value: object) -> object:
    """Returns a boolean as `on` or `off`, as Python and YAML may write them; any other value is unchanged."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def as_list(value: object) -> object:
    """Returns a single value as a list of one, with the spelling of each; None is unchanged."""
    items = value if isinstance(value, list | tuple) else [value]
    return None if value is None else [to_spelling(item) for item in items]


def to_settings(value: object) -> object:
    """Returns settings of an engine, a mapping or texts such as `dtype=bfloat16`, as a mapping of texts."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {key: item if isinstance(item, str) else _json(key, item) for key, item in value.items() if item is not None}
    return parse_settings(cast(Iterable[str], value)) if isinstance(value, list | tuple) else value


def _json(key: object, value: object) -> str:
    """Returns the value of a setting as JSON text; raises InputError for a value that JSON does not have."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise InputError(
            f"The setting {key} has a value that is no text, number, list or mapping",
            code="malformed-setting",
            got=shortened(value),
            hint="Write it as text",
            setting=str(key),
        ) from None


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Parses engine settings of the form KEY=VALUE.

    Raises:
        InputError: A setting has no key or no `=`, or a key occurs twice.
    """
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = str(setting).partition("=")
        if not (key and equals):
            raise InputError(
                "A setting cannot be parsed",
                code="malformed-setting",
                got=setting,
                hint=by_caller(command="Write --set KEY=VALUE", python="Write set={KEY: VALUE}"),
                setting=setting,
            )
        if key in values:
            raise InputError(
                f"The setting {key} is given twice",
                code="duplicate-setting",
                got=f"{values[key]} and {value}",
                hint="Give it once",
                setting=key,
                values=(values[key], value),
            )
        values[key] = value
    return values


Spelled = Annotated[str, BeforeValidator(to_spelling)]
"""`name:key=value`, in YAML also `{name: {key: value}}`, and in Python also an object."""
Spellings = Annotated[tuple[str, ...], BeforeValidator(to_spellings), PlainSerializer(",".join)]
"""Several `name:key=value`, separated by commas or in a list; the command line takes the option several times."""
Several = Annotated[list[str] | None, BeforeValidator(as_list)]
"""One text or a list of texts; the command line takes the option several times."""
EngineSettings = Annotated[dict[str, str], BeforeValidator(to_settings), Metavar("KEY=VALUE")]
"""Settings by name; on the command line KEY=VALUE, several times."""
