"""JSON answers: validation by a schema, and comparison of objects field by field."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.core.json_schema import JsonSchema, find_object, read_schema
from tests.support.errors import refused
from tests.support.json_schemas import objects, schemas

ADDRESS = {
    "city": ["Rome", "Oslo"],
    "guests": "integer",
    "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
}


@given(st.data())
def test_validity_is_that_of_jsonschema(data):
    schema = data.draw(schemas)
    rule = pk.extract.Json(schema=schema)
    value = data.draw(st.one_of(objects(schema), objects(data.draw(schemas))))
    text = json.dumps(value)
    assert rule.is_valid(text) == jsonschema.Draft202012Validator(schema).is_valid(value)
    assert bool(rule.json_schema.problems(value)) != rule.is_valid(text)


@given(st.data())
def test_every_object_equals_itself_and_its_canonical_form(data):
    schema = data.draw(schemas)
    rule, value = pk.extract.Json(schema=schema), data.draw(objects(schema))
    written = json.dumps(value, indent=data.draw(st.sampled_from([None, 2])))
    answer = rule.answer(f"Here:\n```json\n{written}\n```\nDone {{}}.")
    assert answer is not None
    assert json.loads(answer) == value
    assert [*json.loads(answer)] == [field for field in schema["properties"] if field in value]
    assert rule.answer(answer) == answer
    assert rule.is_correct(answer, [written])
    assert all(rule.correct_fields(answer, [written]).values())


@given(st.data())
def test_an_object_is_correct_if_all_its_fields_are(data):
    schema = data.draw(schemas)
    rule, first, second = pk.extract.Json(schema=schema), data.draw(objects(schema)), data.draw(objects(schema))
    answer, gold = json.dumps(first), json.dumps(second)
    assert rule.is_correct(answer, [gold]) == all(rule.correct_fields(answer, [gold]).values())


@pytest.mark.parametrize(
    ("answer", "gold", "fields"),
    [
        ('{"city": "rome.", "guests": 2.0, "tags": ["a", "B"]}', '{"city": "Rome", "guests": 2, "tags": ["b", "A"]}', "111"),
        ('{"city": "Oslo", "guests": "2", "tags": ["a"]}', '{"city": "Rome", "guests": 2, "tags": []}', "000"),
        ('{"city": "Rome"}', '{"city": "Rome", "guests": 2}', "101"),
        ("nothing", '{"city": "Rome", "guests": 2}', "000"),
    ],
)
def test_fields_are_compared_by_their_normal_form(answer, gold, fields):
    rule = pk.extract.Json(schema=ADDRESS)
    found = rule.answer(answer)
    assert "".join(str(int(x)) for x in rule.correct_fields(found, [gold]).values()) == fields


def test_lists_are_ordered_unless_their_items_are_unique():
    ordered, as_set = ({"tags": {"type": "array", "uniqueItems": unique}} for unique in (False, True))
    assert not pk.extract.Json(schema=ordered).is_correct('{"tags": [1, 2]}', ['{"tags": [2, 1]}'])
    assert pk.extract.Json(schema=as_set).is_correct('{"tags": [1, 2]}', ['{"tags": [2, 1]}'])


def test_problems_are_named_by_field():
    schema = read_schema(ADDRESS)
    value = {"guests": "two", "city": "Lima", "age": 3}
    assert schema.problems(value) == {"city": "not allowed", "guests": "wrong type", "tags": "missing", "age": "unknown field"}


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": NaN}', "[1]", '{"a": ' * 9999])
def test_what_is_not_a_json_object_is_no_answer(text):
    assert find_object(text) is None
    assert pk.extract.Json().answer(text) is None


def test_a_number_that_is_too_large_is_still_a_number():
    answer = pk.extract.Json(schema={"a": "number"}).answer('{"a": 1e999}')
    assert answer is not None
    assert json.loads(answer)["a"] > 1e308


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"a": "\\u0000"}', '{"ä": 1}'])
def test_any_string_can_be_written(text):
    answer = pk.extract.Json().answer(text)
    assert answer is not None
    assert json.loads(answer.encode().decode()) == json.loads(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"city": "text"},
        {"city": []},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "array"},
        {},
        {"type": "object", "properties": {"a": {"type": "strin"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
        "{not json",
        "[1]",
        '{"type": "object", "properties": 5}',
    ],
)
def test_invalid_schemas_are_refused(schema):
    with refused(InputError, "unreadable-schema" if schema == "[1]" else "invalid-schema"):
        pk.extract.Json(schema=schema)


@pytest.mark.parametrize(
    ("name", "text"), [("s.json", json.dumps(ADDRESS)), ("s.yaml", "city: [Rome, Oslo]\nguests: integer\n")]
)
def test_a_schema_is_read_from_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert pk.extract.Json(schema=str(tmp_path / name)).json_schema.fields[:2] == ("city", "guests")
    assert isinstance(read_schema(str(tmp_path / name)), JsonSchema)
