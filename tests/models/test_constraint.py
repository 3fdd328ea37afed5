"""Texts that are restricted to a JSON schema."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import MissingPackage, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.json_schema import read_schema
from promptkit.core.requests import Generate, Request
from promptkit.models.cache_entries import entry_keys
from promptkit.models.constraint import Constraints, byte_tokenizer, check_schemas
from promptkit.models.fake import CONTROL
from promptkit.models.support import check_requests
from tests.support.errors import refused
from tests.support.json_schemas import objects, schemas

END = CONTROL["<end>"]
CITY = read_schema({"city": ["Rome", "Oslo"], "guests": {"type": "integer", "minimum": 1, "maximum": 9}}).text
constrain = Constraints(lambda: byte_tokenizer([*CONTROL], end=END), "fake")


def ask(model, schema=CITY, prompt="Text: a table for two", **changed):
    verb = replace(Generate(max_tokens=200, json_schema=schema), **changed)
    request = Request(input=TextInput(ids=tuple(prompt.encode())), verb=verb)
    ((_, (output,)),) = model.answer([request])
    return output.generations


@given(st.data())
@settings(max_examples=60)
def test_any_choice_of_allowed_tokens_is_a_valid_object_in_canonical_form(data):
    schema = data.draw(schemas)
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    text = constrain(json.dumps(schema))
    written = bytearray()
    for _ in range(400):
        allowed = np.flatnonzero(text.allowed(END + 1))
        closing = [token for token in (END, *b'"}]') if token in allowed]
        token = int(closing[0] if closing and generator.random() < 0.7 else generator.choice(allowed))
        text.accept(token)
        if token == END:
            break
        written.append(token)
    else:
        return  # still within a long text
    value = json.loads(written)
    assert jsonschema.Draft202012Validator(schema).is_valid(value)
    assert pk.extract.Json(schema=schema).is_valid(written.decode())
    assert [*value] == [field for field in schema["properties"] if field in value]


@given(st.data())
@settings(max_examples=60)
def test_every_valid_object_can_be_written(data):
    schema = data.draw(schemas)
    value = data.draw(objects(schema))
    text = constrain(json.dumps(schema))
    for token in (*pk.extract.Json(schema=schema).json_schema.written(value).encode(), END):
        assert text.allowed(END + 1)[token], (value, chr(token))
        text.accept(token)


@pytest.mark.parametrize("changed", [{}, {"temperature": 1.0, "n": 3}, {"temperature": 5.0, "seed": 4}])
def test_a_model_writes_valid_objects(changed):
    texts = ask(pk.load("fake"), **changed)
    assert {text.ended for text in texts} == {"end"}
    assert all(jsonschema.Draft202012Validator(json.loads(CITY)).is_valid(json.loads(text.text)) for text in texts)
    assert texts == ask(pk.load("fake"), **changed)


def test_samples_do_not_depend_on_how_many_are_known():
    model = pk.load("fake")
    changed = {"temperature": 2.0, "n": 3}
    assert ask(model, **changed)[1:] == ask(model, known=1, **changed)


def test_length_and_stop_strings_still_end_a_text():
    (short,) = ask(pk.load("fake"), max_tokens=5)
    assert (short.text, short.ended) == ('{"cit', "length")
    (stopped,) = ask(pk.load("fake"), stop=("gue",))
    assert stopped.ended == "stop"
    assert stopped.text.endswith('", "')


def test_the_schema_is_part_of_the_key_of_the_cache():
    requests = [
        Request(input=TextInput(ids=(1,)), verb=Generate(max_tokens=5, json_schema=schema))
        for schema in ("", CITY, read_schema({"city": "string"}).text)
    ]
    assert len({entry_keys("model", request)[0] for request in requests}) == 3


def test_a_list_of_different_items_is_not_refused():
    check_schemas("fake", [read_schema({"tags": {"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True}}).text])


@pytest.mark.parametrize(
    "field",
    [{"type": "string", "pattern": "a(?=b)"}, {"not": {"type": "string"}}, {"type": "integer", "minimum": 5, "maximum": 3}],
)
def test_a_schema_that_cannot_be_enforced_is_refused_before_anything_is_computed(field, monkeypatch):
    model = pk.load("fake")
    monkeypatch.setattr(model, "_compute", None)
    with refused(Unsupported, "unsupported-schema"):
        ask(model, read_schema({"a": field}).text)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with refused(MissingPackage, "missing-package", package="llguidance", extra="json"):
        ask(pk.load("fake"))


def test_an_engine_without_constraints_refuses_them():
    model = pk.load("fake")
    request = Request(input=TextInput(ids=(1,)), verb=Generate(max_tokens=5, json_schema=CITY))
    check_requests("fake", model.capabilities, [request])
    with refused(Unsupported, "cannot-constrain"):
        check_requests("fake", replace(model.capabilities, json_schema=False), [request])
