"""One spelling for everything that has a name: `name:key=value` on the command line, `name(key=value)` in Python.

Names resolve through fixed tables of classes, never through an import path; a class's fields are its keywords, but those that
are `learned()`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, field, fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from promptkit.core.errors import InputError, unknown

LEARNED = "learned"
"""In the metadata of a field: that it is no keyword."""
MOST_SHOWN = 200
"""Characters of what was given that are told."""


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
            raise InputError(
                f"{spelling!r} cannot be parsed",
                code="malformed-keyword",
                got=pair,
                hint="Write name:key=value",
                spelling=spelling,
                part=pair,
            )
        if key in keywords:
            raise InputError(
                f"{spelling!r} has the keyword {key} twice",
                code="duplicate-keyword",
                hint="Give each keyword once",
                spelling=spelling,
                keyword=key,
            )
        keywords[key] = value
    return name.strip(), keywords


def build(kind: str, table: Mapping[str, type], spelling: str, **given: object) -> Any:
    """The object that the spelling names; `given` are defaults for those fields that the class has."""
    name, keywords = parse(spelling)
    return build_from(kind, table, name, keywords, **given)


def build_from(kind: str, table: Mapping[str, type], name: str, keywords: Mapping[str, object], **given: object) -> Any:
    """The object of that name; keywords may be texts, as the command line has them, or values, as YAML has."""
    from pydantic import TypeAdapter, ValidationError

    if name not in table:
        raise unknown(kind, name, table)
    known = {field.name: field for field in keywords_of(table[name])}
    for key in keywords:
        if key not in known:
            raise unknown(f"keyword of the {kind} {name}", key, known)
    texts = {key: _read(text, known[key]) for key, text in keywords.items()}
    made = {field.name for field in fields(table[name]) if field.init}
    values = {key: value for key, value in given.items() if key in made} | texts
    try:
        return TypeAdapter(table[name]).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        keyword = str(first["loc"][0]) if first["loc"] else ""
        raise InputError(
            f"Invalid settings for the {kind} {name}: {first['msg']}",
            code=_code(first["type"]),
            got=_shown(keyword, first["input"]) if keyword else repr(dict(values)),
            of=name,
            keyword=keyword,
            value=_short(first["input"] if keyword else dict(values)),
        ) from None


def _read(value: object, field: Field[Any]) -> object:
    return tuple(value.split("|")) if isinstance(value, str) and "tuple" in str(field.type) else value


def _written(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def keywords_of(value: Any) -> list[Field[Any]]:
    """The keywords of a registered class or object: what it is made with, but nothing that was learned."""
    return [field for field in fields(value) if field.init and not field.metadata.get(LEARNED)]


def parameters_field() -> Any:
    """A field that is no keyword: what was learned, nothing at first."""
    return field(default_factory=dict, repr=False, metadata={LEARNED: True})


def checked(value: Any, name: str = "") -> None:
    """Refuse an object that was made in Python with a value which its field cannot have; numbers are finite.

    `name` stands in for that of a registered object.
    """
    kind: Any = type(value)
    for own in fields(value):
        if own.init:
            check_value(own.name, getattr(value, own.name), _hints(kind)[own.name], of=name or value.name)


def check_value(name: str, value: object, kind: Any, *, of: str) -> None:
    """Refuse a value which is none of a kind, as a type says it: nothing is converted, and numbers are finite."""
    from pydantic import ValidationError

    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        if isinstance(value, str) and (named := _named(kind)):
            raise unknown(f"{name.replace('_', ' ')} of {of}", value, named) from None
        hint = f"Write {type(as_python(value)).__name__}(...) around it" if as_python(value) is not value else ""
        first = error.errors()[0]
        raise InputError(
            f"Invalid value for {name} of {of}: {first['msg']}",
            code=_code(first["type"]),
            got=_shown(name, value),
            hint=hint,
            of=of,
            keyword=name,
            value=_short(value),
        ) from None


def _code(kind: str) -> str:
    """The code of an error for pydantic's type of it."""
    return "not-finite" if kind == "finite_number" else "invalid-value"


def as_python(value: Any) -> Any:
    """A number of numpy's as Python's own; anything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _named(kind: Any) -> list[str]:
    """The texts that a type names, one of which a value is to be."""
    if get_origin(kind) is Literal:
        return [*get_args(kind)]
    return [name for part in get_args(kind) for name in _named(part)]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True))


def _shown(name: str, value: object) -> str:
    return f"{name}={_short(value)}"


def _short(value: object) -> str:
    told = repr(value)
    return told if len(told) <= MOST_SHOWN else told[:MOST_SHOWN] + "..."


def spelling(value: Any) -> str:
    """How the command line spells a registered object: its name, and the keywords that are not the defaults."""
    kept = [field for field in keywords_of(value) if getattr(value, field.name) != field.default]
    return spelt(value.name, {field.name: getattr(value, field.name) for field in kept})


def spelt(name: str, keywords: Mapping[str, object]) -> str:
    """A name with its keywords, as the command line spells them."""
    return ":".join([name, *(f"{key}={_written(value)}" for key, value in keywords.items())])


def settings_of(value: Any) -> dict[str, object]:
    """The name and keywords of a registered object, as a run records them."""
    return {"name": value.name} | {field.name: getattr(value, field.name) for field in keywords_of(value)}
