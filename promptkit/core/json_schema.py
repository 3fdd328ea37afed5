"""Schemas of JSON answers: reading them, checking objects against them, and writing objects in one form."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from promptkit.core.errors import InputError, missing_extra

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Problem = Literal["missing", "wrong type", "not allowed", "unknown field"]
"""What is wrong with a field of an object: it is missing, its value has another type or is not allowed, or the schema has no
such field."""
JsonObject = Mapping[str, object]
"""A JSON object."""
WHOLE = ""
"""The key of a problem that concerns the object as a whole, such as too few fields."""
ANY_OBJECT: JsonObject = {"type": "object"}
"""The schema of any object."""
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
"""The names of the types of JSON Schema."""
MAX_EXACT = 2.0**53
"""From this number on, floats do not represent every integer."""
_FRACTION = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
"""A JSON number with a fraction or an exponent."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def _finite(text: str) -> float:
    """Returns a number; one that is too large for a float becomes the largest float."""
    return max(-sys.float_info.max, min(float(text), sys.float_info.max))


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


@dataclass(frozen=True)
class JsonSchema:
    """The JSON schema of an object."""

    text: str
    """The schema as JSON text."""

    @cached_property
    def value(self) -> JsonObject:
        """The schema as a JSON object."""
        return cast("JsonObject", json.loads(self.text))

    @cached_property
    def properties(self) -> Mapping[str, JsonObject]:
        """Field -> its schema, in the declared order; empty for a schema that names no fields."""
        properties = self.value.get("properties", {})
        assert isinstance(properties, dict)
        return {name: self._resolved(schema) for name, schema in properties.items()}

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, in the declared order."""
        return tuple(self.properties)

    @cached_property
    def required(self) -> frozenset[str]:
        """The fields that every object has."""
        names = self.value.get("required", ())
        return frozenset(map(str, names)) if isinstance(names, list) else frozenset()

    @property
    def validated_keywords(self) -> frozenset[str]:
        """The keywords that validation checks, by the draft of JSON Schema that the schema names, or else the newest one."""
        return frozenset(self._validator.VALIDATORS)

    def problems(self, value: JsonObject) -> dict[str, Problem]:
        """Returns what is wrong with an object, by field; empty if it is valid."""
        found: dict[str, Problem] = {}
        for error in self._validator.iter_errors(value):
            path = [*error.absolute_path]
            if path:
                found.setdefault(str(path[0]), "wrong type" if error.validator == "type" else "not allowed")
            elif error.validator == "required":
                found.update({name: "missing" for name in sorted(self.required) if name not in value})
            elif error.validator == "additionalProperties":
                found.update({name: "unknown field" for name in value if name not in self.properties})
            else:
                found.setdefault(WHOLE, "not allowed")
        return dict(sorted(found.items(), key=lambda item: self._position(item[0])))

    def written(self, value: JsonObject) -> str:
        """Returns an object as text, on one line, with the fields in the declared order and others after them."""
        return written({name: value[name] for name in sorted(value, key=self._position)})

    def types_of(self, field: str) -> frozenset[str]:
        """Returns the types that a field may have, by the names of JSON Schema; empty if the schema does not say."""
        schema = self.properties.get(field, {})
        allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(allowed, list):
            return frozenset(map(type_name, allowed))
        named = schema.get("type", ())
        return frozenset([named] if isinstance(named, str) else cast("Sequence[str]", named))

    def is_set(self, schema: JsonObject) -> bool:
        """Returns whether the order of the items of a list has no meaning, because it may have no item twice."""
        return schema.get("uniqueItems") is True

    def schema_of(self, schema: JsonObject, name: str) -> JsonObject:
        """Returns the schema of a field of an object with some schema, or of the items of a list (`items`)."""
        inner = schema.get("items") if name == "items" and "properties" not in schema else None
        properties = schema.get("properties")
        if inner is None and isinstance(properties, dict):
            inner = properties.get(name)
        return self._resolved(inner)

    def _position(self, field: str) -> int:
        return self.fields.index(field) if field in self.properties else len(self.fields)

    def _resolved(self, schema: object) -> JsonObject:
        """Returns a schema with a reference `#/...` replaced by what it refers to; empty for anything but an object."""
        for _ in range(8):
            if not isinstance(schema, dict):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return schema
            schema = self.value
            for step in reference[2:].split("/"):
                schema = schema.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
        return {}

    @property
    def _validator(self) -> Validator:
        return _validator(self.text)


@lru_cache(maxsize=64)
def _validator(text: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    schema = json.loads(text)
    return cast("Validator", validator_for(schema, default=Draft202012Validator)(schema))


def read_schema(value: str | Mapping[str, object]) -> JsonSchema:
    """Returns a schema.

    Args:
        value: A JSON schema of an object; or the shorthand `{field: type}`, in which a type is `string`, `integer`, `number`
            or `boolean`, a list of allowed values, or a JSON schema, and all fields are required; or either of them as JSON
            text; or the path of a JSON or YAML file that contains one.

    Raises:
        InputError: It is not the schema of an object, or refers to another file.
        MissingPackage: The package jsonschema is not installed.
    """
    schema = value if isinstance(value, Mapping) else _parsed(value)
    if not _is_schema(schema):
        schema = _expanded(schema)
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _invalid(f"it contains a value that JSON does not have: {error}", schema) from None
    _check(json.loads(text))
    return JsonSchema(text)


def _parsed(text: str) -> Mapping[str, object]:
    """Returns the content of JSON text, or of a file."""
    from promptkit.core.yaml_text import parse_yaml

    path = Path(text).expanduser()
    if not text.lstrip().startswith("{"):
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"The schema {path} cannot be read: {getattr(error, 'strerror', None) or error}",
                code="unreadable-schema",
                hint='Give the path of a JSON or YAML file, or the schema itself, such as {"city": "string"}',
                file=str(path),
            ) from None
    try:
        value: object = parse_yaml(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON: {' '.join(str(error).split())}", text) from None
    if not isinstance(value, dict):
        raise _invalid("it is not an object", value)
    return value


def _is_schema(value: Mapping[str, object]) -> bool:
    """Whether a mapping is a JSON schema, and not the shorthand `{field: type}`."""
    is_object = value.get("type") == "object" and not set(map(str, value.values())) <= {*TYPES}
    return value == ANY_OBJECT or is_object or isinstance(value.get("properties"), Mapping) or "$schema" in value


def _expanded(fields: Mapping[str, object]) -> JsonObject:
    if not fields:
        raise _invalid("it has no fields", fields)
    properties: dict[str, object] = {}
    for name, kind in fields.items():
        if isinstance(kind, str) and kind in TYPES:
            properties[str(name)] = {"type": kind}
        elif isinstance(kind, list | tuple) and kind:
            properties[str(name)] = {"enum": [*kind]}
        elif isinstance(kind, Mapping):
            properties[str(name)] = kind
        else:
            raise _invalid(f"the field {name} has no type: write one of {', '.join(TYPES)}, or a list of values", kind)
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _check(schema: dict[str, object]) -> None:
    try:
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
    except ModuleNotFoundError:
        raise missing_extra("jsonschema", "json", "A schema") from None
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        raise _invalid(f"{place + ': ' if place else ''}{error.message}", schema) from None
    outside = next((reference for reference in _references(schema) if not reference.startswith("#")), None)
    if outside is not None:
        raise _invalid(f"it refers to {outside}, which is not part of it", schema)
    if schema.get("type") != "object":
        raise _invalid("its type is not object", schema)


def _references(schema: object) -> Iterator[str]:
    items = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        yield from (schema[key] for key in _REFERENCES if isinstance(schema.get(key), str))
    for item in items:
        yield from _references(item)


def _invalid(reason: str, value: object) -> InputError:
    return InputError(
        f"This is not the schema of a JSON object: {reason}",
        code="invalid-schema",
        got=str(value)[:200],
        hint="Write {field: type}, or a JSON schema with type: object and properties",
        reason=reason,
    )


def find_object(text: str) -> JsonObject | None:
    """Returns the first JSON object in a text that is not part of another one, or None."""
    start = text.find("{")
    while start >= 0:
        try:
            value: object = _DECODER.raw_decode(text, start)[0]
            assert isinstance(value, dict)
            return value
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
    return None


def written(value: object) -> str:
    """Returns a value as JSON text on one line; equal numbers, such as 1 and 1.0, have the same text."""
    value = _plain_numbers(value)
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value)
    return text


def _plain_numbers(value: object) -> object:
    """Returns a value in which numbers without a fraction are integers."""
    if isinstance(value, dict):
        return {name: _plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain_numbers, value)]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT else value


def number_text(text: str) -> str:
    """Returns the text of a JSON number as `written` does; any other text is unchanged."""
    if not _FRACTION.fullmatch(text):
        return text
    return written(_finite(text))


def type_name(value: object) -> str:
    """Returns the type of a JSON value, by the name of JSON Schema."""
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names[type(value)]
