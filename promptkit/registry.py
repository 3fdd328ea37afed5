"""One spelling for everything that has a name: `name:key=value` on the command line, `name(key=value)` in Python.

Names resolve through fixed tables of classes, never through an import path; a class's fields are its keywords.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, get_type_hints

from promptkit.errors import PromptkitError, unknown


def parse(spelling: str) -> tuple[str, dict[str, str]]:
    """`batch:estimate_on=test` -> ("batch", {"estimate_on": "test"}); keywords are joined by `:`, values of one by `|`.

    A part without `=` goes on with the value before it: `similar:encoder=hf:demo`.
    """
    name, *pairs = re.split(r"(?<!\?):(?![ (\\|)\[?])", spelling)  # a colon within a pattern is a part of it
    keywords: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if pair and not equals and keywords:  # the value goes on, as in encoder=hf:demo
            keywords[[*keywords][-1]] += f":{pair}"
            continue
        if not (key and equals):
            raise PromptkitError(f"{spelling!r} cannot be read", got=pair, hint="Write name:key=value")
        if key in keywords:
            raise PromptkitError(f"{spelling!r} gives {key} twice", hint="Give each keyword once")
        keywords[key] = value
    return name.strip(), keywords


def build(kind: str, table: Mapping[str, type], spelling: str, **given: object) -> Any:
    """The object that the spelling names; `given` are defaults for those keywords that the class has."""
    name, keywords = parse(spelling)
    return build_from(kind, table, name, keywords, **given)


def build_from(kind: str, table: Mapping[str, type], name: str, keywords: Mapping[str, object], **given: object) -> Any:
    """The object of that name; keywords may be texts, as the command line has them, or values, as YAML has."""
    from pydantic import TypeAdapter, ValidationError

    if name not in table:
        raise unknown(kind, name, table)
    known = {field.name: field for field in fields(table[name]) if field.init}
    for key in keywords:
        if key not in known:
            raise unknown(f"keyword of the {kind} {name}", key, known)
    texts = {key: _read(text, known[key]) for key, text in keywords.items()}
    values = {key: value for key, value in given.items() if key in known} | texts
    try:
        return TypeAdapter(table[name]).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        keyword = f"{first['loc'][0]}={first['input']!r}" if first["loc"] else repr(dict(values))
        raise PromptkitError(f"The {kind} {name} cannot be made so: {first['msg']}", got=keyword) from None


def _read(value: object, field: Field[Any]) -> object:
    return tuple(value.split("|")) if isinstance(value, str) and "tuple" in str(field.type) else value


def _written(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def checked(value: Any) -> None:
    """Refuse a registered object that was made in Python with a value which its field cannot have; numbers are finite."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    hints, finite = get_type_hints(type(value)), ConfigDict(allow_inf_nan=False)
    for field in fields(value):
        if not field.init:
            continue
        try:
            TypeAdapter(hints[field.name], config=finite).validate_python(getattr(value, field.name), strict=True)
        except ValidationError as error:
            raise PromptkitError(
                f"The {field.name} of {value.name} cannot be that: {error.errors()[0]['msg']}",
                got=f"{field.name}={getattr(value, field.name)!r}",
            ) from None


def spelling(value: Any) -> str:
    """How the command line spells a registered object: its name, and the keywords that are not the defaults."""
    kept = [field for field in fields(value) if field.init and getattr(value, field.name) != field.default]
    return spelt(value.name, {field.name: getattr(value, field.name) for field in kept})


def spelt(name: str, keywords: Mapping[str, object]) -> str:
    """A name with its keywords, as the command line spells them."""
    return ":".join([name, *(f"{key}={_written(value)}" for key, value in keywords.items())])


def settings_of(value: Any) -> dict[str, object]:
    """The name and keywords of a registered object, as a run records them."""
    return {"name": value.name} | {field.name: getattr(value, field.name) for field in fields(value) if field.init}
