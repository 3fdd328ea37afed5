"""The keywords of a schema that texts are not restricted to: each is enforced, refused, or named in a note."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import promptkit as pk
from promptkit.core.errors import Unsupported
from promptkit.core.json_schema import JsonSchema, read_schema
from promptkit.core.schema_keywords import enforceable, unenforced
from promptkit.models.constraint import Constraints, byte_tokenizer, check_schemas
from promptkit.models.fake import CONTROL

INTEGER, LIST = {"type": "integer"}, {"type": "array", "items": {"enum": [1, 2]}}
TWO = {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}
VIOLATIONS: dict[str, tuple[Any, Any]] = {
    "$dynamicRef": ({"$dynamicRef": "#/$defs/i"}, "x"),
    "$ref": ({"$ref": "#/$defs/i"}, "x"),
    "additionalItems": ({"type": "array", "items": [INTEGER], "additionalItems": False}, [1, 2]),
    "additionalProperties": ({**TWO, "additionalProperties": False}, {"c": 1}),
    "allOf": ({"allOf": [INTEGER, {"minimum": 3}]}, 1),
    "anyOf": ({"anyOf": [INTEGER, {"type": "null"}]}, "x"),
    "const": ({"const": 1}, 2),
    "contains": ({**LIST, "contains": {"const": 1}}, [2]),
    "dependencies": ({**TWO, "dependencies": {"a": ["b"]}}, {"a": 1}),
    "dependentRequired": ({**TWO, "dependentRequired": {"a": ["b"]}}, {"a": 1}),
    "dependentSchemas": ({**TWO, "dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}),
    "disallow": ({"type": ["integer", "string"], "disallow": "string"}, "x"),
    "divisibleBy": ({**INTEGER, "divisibleBy": 2}, 3),
    "enum": ({"enum": [1, 2]}, 3),
    "exclusiveMaximum": ({**INTEGER, "exclusiveMaximum": 3}, 3),
    "exclusiveMinimum": ({**INTEGER, "exclusiveMinimum": 3}, 3),
    "extends": ({**INTEGER, "extends": {"minimum": 3}}, 1),
    "format": ({"type": "string", "format": "date"}, "x"),
    "if": ({**INTEGER, "if": {"minimum": 3}, "then": {"const": 5}}, 4),
    "items": ({"type": "array", "items": INTEGER}, ["x"]),
    "maxItems": ({**LIST, "maxItems": 1}, [1, 2]),
    "maxLength": ({"type": "string", "maxLength": 1}, "xx"),
    "maxProperties": ({**TWO, "maxProperties": 1}, {"a": 1, "b": 1}),
    "maximum": ({**INTEGER, "maximum": 3}, 4),
    "minItems": ({**LIST, "minItems": 1}, []),
    "minLength": ({"type": "string", "minLength": 1}, ""),
    "minProperties": ({**TWO, "minProperties": 1}, {}),
    "minimum": ({**INTEGER, "minimum": 3}, 2),
    "multipleOf": ({**INTEGER, "multipleOf": 2}, 3),
    "not": ({**INTEGER, "not": {"const": 1}}, 1),
    "oneOf": ({"oneOf": [INTEGER, {"enum": [1]}]}, 1),
    "pattern": ({"type": "string", "pattern": "^a$"}, "b"),
    "patternProperties": ({"type": "object", "patternProperties": {"^a": INTEGER}}, {"a": "x"}),
    "prefixItems": ({"type": "array", "prefixItems": [{"const": 1}]}, [2]),
    "properties": (TWO, {"a": "x"}),
    "propertyNames": ({"type": "object", "propertyNames": {"maxLength": 1}}, {"ab": 1}),
    "required": ({**TWO, "required": ["a"]}, {}),
    "type": (INTEGER, "x"),
    "unevaluatedItems": ({"type": "array", "prefixItems": [INTEGER], "unevaluatedItems": False}, [1, 2]),
    "unevaluatedProperties": ({**TWO, "unevaluatedProperties": False}, {"c": 1}),
    "uniqueItems": ({**LIST, "uniqueItems": True}, [1, 1]),
}
"""Keyword -> the schema of a field that has it, and a value that violates it."""
END = CONTROL["<end>"]
constrain = Constraints(lambda: byte_tokenizer([*CONTROL], end=END), "fake")
DRAFTS = (jsonschema.Draft202012Validator, jsonschema.Draft7Validator, jsonschema.Draft4Validator, jsonschema.Draft3Validator)


def of_field(field: Any, draft: Any = DRAFTS[0]) -> JsonSchema:
    """The schema of an object with one field, in a draft of JSON Schema."""
    required = {} if draft is DRAFTS[-1] else {"required": ["f"]}
    schema = {
        "$schema": draft.META_SCHEMA.get("$id", draft.META_SCHEMA.get("id")),
        "type": "object",
        "properties": {"f": field},
    }
    return read_schema({**schema, **required, "additionalProperties": False, "$defs": {"i": INTEGER}})


def is_refused(schema: JsonSchema) -> bool:
    try:
        check_schemas("fake", [schema.text])
    except Unsupported:
        return True
    return False


def can_be_written(schema: JsonSchema, value: Any) -> bool:
    """Whether a text that is restricted to a schema can be an object."""
    text = constrain(schema.text)
    for token in (*schema.written({"f": value}).encode(), END):
        if not text.allowed(END + 1)[token]:
            return False
        text.accept(token)
    return True


def test_every_keyword_of_every_draft_is_covered() -> None:
    assert {keyword for draft in DRAFTS for keyword in draft.VALIDATORS} == VIOLATIONS.keys()


@pytest.mark.parametrize("keyword", VIOLATIONS)
def test_what_can_be_written_although_it_is_invalid_is_noted(keyword: str) -> None:
    field, value = VIOLATIONS[keyword]
    schema = of_field(field, next(draft for draft in DRAFTS if keyword in draft.VALIDATORS))
    assert keyword == "format" or schema.problems({"f": value})
    is_noted = bool(unenforced(schema))
    assert is_noted == (keyword in unenforced(schema))
    if not is_refused(schema):
        assert can_be_written(schema, value) == is_noted


@pytest.mark.parametrize("keyword", ["exclusiveMinimum", "exclusiveMaximum"])
def test_a_bound_of_draft_4_is_noted(keyword: str) -> None:
    schema = of_field({**INTEGER, "minimum": 3, "maximum": 3, keyword: True}, jsonschema.Draft4Validator)
    assert unenforced(schema) == {keyword: ("f",)}
    assert schema.problems({"f": 3})
    assert can_be_written(schema, 3)


def test_the_note_names_the_fields_and_invalid_answers_are_still_counted() -> None:
    unique = {**LIST, "uniqueItems": True}
    nested = {"type": "object", "properties": {"inner": unique, "uniqueItems": INTEGER}}
    fields = {
        "tags": unique,
        "deep": nested,
        "plain": {**LIST, "uniqueItems": False},
        "data": {"enum": [{"uniqueItems": True}]},
    }
    reader = pk.extract.Json(schema=fields)
    assert unenforced(reader.json_schema) == {"uniqueItems": ("tags", "deep.inner")}
    (note,) = reader.notes()
    assert "uniqueItems of tags, deep.inner" in note
    assert pk.extract.Json(schema=fields, constrain=False).notes() == ()
    assert pk.extract.Json(schema={"plain": LIST}).notes() == ()
    assert not pk.extract.Json(schema={"tags": unique}).is_valid('{"tags": [1, 1]}')


def test_what_is_sent_differs_by_the_keyword_only() -> None:
    schema = of_field({"anyOf": [{**LIST, "uniqueItems": True}, {"const": {"uniqueItems": True}}]}).value
    sent = enforceable(schema)
    assert json.loads(json.dumps(schema).replace(', "uniqueItems": true}, {"const"', '}, {"const"')) == sent
