"""Texts of servers that are restricted to a JSON schema: the field that each server enforces, and servers that enforce none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.json_schema import read_schema
from promptkit.core.requests import Generate, Request
from tests.models.http.test_engine import FakeServer, load
from tests.support.errors import refused
from tests.support.servers import Answer, Body, Script, load_http, refusal, reply, serving

SCHEMA = read_schema({"city": ["Rome", "Oslo"], "tags": {"type": "array", "uniqueItems": True}}).text
VALUE = {"city": "Rome", "tags": []}
TEMPLATE = "{% block input %}Text: {{ text }}\nJSON:{% endblock %}{% block target %} {{ label }}{% endblock %}"


def schema_in(body: Body) -> Any:
    """The schema of a request's response_format."""
    return body["response_format"]["json_schema"]["schema"] if "response_format" in body else None


def answer_to(schema: Any) -> str:
    """A text that is valid under a schema of these tests; a sentence without one."""
    if schema is None:
        return "That is hard to say."
    words = schema["properties"].get("answer", {}).get("enum")
    return json.dumps({"answer": words[0]} if words else VALUE, indent=1)


def enforcing(body: Body) -> Answer:
    return reply(answer_to(schema_in(body)))


def ignoring(body: Body) -> Answer:
    return reply(answer_to(None))


def refusing(body: Body) -> Answer:
    return refusal("response_format is not supported") if "response_format" in body else reply("No.")


def strict(body: Body) -> Answer:
    """A server that enforces schemas, but refuses those with a list of cities."""
    schema = schema_in(body)
    return refusal("Invalid schema: 'city'") if schema and "city" in schema["properties"] else enforcing(body)


def reasoning(body: Body) -> Answer:
    """A server whose model spends all tokens of a test request on a thought."""
    return reply("<think>Hmm", "length") if "answer" in (schema_in(body) or {}).get("properties", {}) else enforcing(body)


def texts(model: Any, *prompts: str, schema: str = SCHEMA, stop: tuple[str, ...] = ()) -> list[str]:
    verb = Generate(max_tokens=60, json_schema=schema, stop=stop)
    tokenizer = model.card.tokenizer
    requests = [Request(input=TextInput(ids=tokenizer.encode(text).ids), verb=verb) for text in prompts]
    outputs = {index: output for (index,), (output,) in model.answer(requests)}
    return [outputs[index].generations[0].text for index in range(len(requests))]


@pytest.mark.parametrize("chat", [enforcing, reasoning])
def test_chat_replies_are_restricted_by_response_format(chat: Any) -> None:
    script = Script(chat)
    with serving(script) as url:
        found = texts(load_http(url), "a", "b", stop=("\n", "\n\n"))
    assert [json.loads(text) for text in found] == [VALUE, VALUE]
    sent = script.bodies[-1]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["properties"]["city"] == {"enum": ["Rome", "Oslo"]}
    assert "uniqueItems" not in json.dumps(sent)
    assert "stop" not in script.bodies[-1]


def test_a_server_is_tested_once_for_each_schema() -> None:
    script = Script(enforcing)
    with serving(script) as url:
        model = load_http(url)
        texts(model, "a")
        before = len(script.bodies)
        texts(model, "b")
        assert len(script.bodies) == before + 1
        texts(model, "c", schema=read_schema({"tags": {"type": "array"}}).text)
        assert len(script.bodies) == before + 3


def test_free_texts_have_no_field_and_need_no_test() -> None:
    script = Script(ignoring)
    with serving(script) as url:
        model = load_http(url)
        model.load()
        before = len(script.bodies)
        assert texts(model, "a", schema="") == ["That is hard to say."]
    assert len(script.bodies) == before + 1
    assert "response_format" not in script.bodies[-1]


@pytest.mark.parametrize("chat", [ignoring, refusing])
def test_a_server_that_restricts_no_texts_is_refused(chat: Any) -> None:
    script = Script(chat)
    with serving(script) as url, refused(Unsupported, "server-cannot-constrain", url=url) as raised:
        texts(load_http(url), "a")
    assert len(raised.value.fields["reasons"]) == 1
    assert "constrain=False" in str(raised.value)
    assert not any("city" in json.dumps(body) for body in script.bodies)


def test_a_schema_that_the_server_refuses_is_named_before_any_row() -> None:
    script = Script(strict)
    with serving(script) as url, refused(Unsupported, "schema-refused", url=url, reason="Invalid schema: 'city'") as raised:
        texts(load_http(url), "a")
    assert "constrain=False" in str(raised.value)


class CompletionServer(FakeServer):
    """A server with completions that restricts their texts by one field, and ignores or refuses the others."""

    field, refuses = "response_format", False

    def answer(self, path: str, body: Body) -> Answer:
        schema = body.get("json_schema") if self.field == "json_schema" else schema_in(body)
        if self.refuses and "response_format" in body and self.field != "response_format":
            return refusal("response_format is unknown")
        if schema is None or path.endswith("/chat/completions"):
            return super().answer(path, body)
        choice = {"text": answer_to(schema), "finish_reason": "stop"}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


@pytest.mark.parametrize(("field", "refuses"), [("response_format", False), ("json_schema", False), ("json_schema", True)])
@pytest.mark.parametrize("ids", [True, False])
def test_completions_are_restricted_by_the_field_that_the_server_enforces(
    folder: Path, field: str, refuses: bool, ids: bool
) -> None:
    script = CompletionServer(folder, ids=ids)
    script.field, script.refuses = field, refuses
    with serving(script) as url:
        found = texts(load(url, folder), "a")
    assert [json.loads(text) for text in found] == [VALUE]
    assert field in script.bodies[-1]


def test_completions_that_no_field_restricts_are_refused(folder: Path) -> None:
    with serving(FakeServer(folder)) as url, refused(Unsupported, "server-cannot-constrain") as raised:
        texts(load(url, folder), "a")
    assert len(raised.value.fields["reasons"]) == 2


def test_a_run_of_a_server_has_only_valid_objects(tmp_path: Path) -> None:
    rows = [{"text": f"row {i}", "gold": {"city": "Rome" if i % 2 else "Oslo", "tags": []}} for i in range(20)]
    task = pk.task(rows, answer="gold", schema=json.loads(SCHEMA), template=TEMPLATE, name="cities")
    with serving(Script(enforcing)) as url:
        predictor = pk.Predictor(load_http(url), pk.Prompt(TEMPLATE), pk.extract.Json(schema=SCHEMA))
        run = pk.evaluate(predictor, task, out=tmp_path, cache=False, limit=6)
    metrics = run.results[0].metrics
    assert metrics["valid_json"]["value"] == 1
    assert any("uniqueItems of tags" in note for note in run.notes)
