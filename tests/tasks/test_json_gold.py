"""Gold answers that are JSON objects."""

from __future__ import annotations

import json

import pytest

import promptkit as pk
from promptkit.core.errors import TaskError
from tests.support.errors import refused

SCHEMA = {"city": ["Rome", "Oslo"], "guests": "integer", "late": "boolean"}
TEMPLATE = "{% block input %}Text: {{ text }}\nJSON:{% endblock %}{% block target %} {{ label }}{% endblock %}"


def write_task(folder, rows, label, *, answer=None, name="rows.jsonl"):
    content = "".join(json.dumps(row) + "\n" for row in rows) if name.endswith("l") else rows
    (folder / name).write_text(content)
    (folder / "t.j2").write_text(TEMPLATE)
    task = {
        "description": "bookings",
        "template": "t.j2",
        "answer": answer or {"json": {"schema": SCHEMA}},
        "sources": [{"files": {"test": name}, "inputs": {"text": "text"}, "label": label}],
    }
    (folder / "t.yaml").write_text(json.dumps(task))
    return folder / "t.yaml"


COLUMNS = {"city": "place", "guests": "number", "late": "late"}
GOLD = '{"city": "Rome", "guests": 2, "late": true}'


@pytest.mark.parametrize(
    ("rows", "label", "name"),
    [
        ("text,place,number,late\na,Rome,2,TRUE\n", COLUMNS, "rows.csv"),
        ([{"text": "a", "place": "Rome", "number": 2, "late": True}], COLUMNS, "rows.jsonl"),
        ([{"text": "a", "gold": {"late": True, "guests": 2, "city": "Rome"}}], "gold", "rows.jsonl"),
        ([{"text": "a", "gold": '{"guests": 2, "city": "Rome", "late": true}'}], "gold", "rows.jsonl"),
    ],
)
def test_objects_are_read_from_columns(tmp_path, rows, label, name):
    (row,) = pk.task(write_task(tmp_path, rows, label, name=name)).rows("test")
    assert row.accepted == (row.label,) == (GOLD,)


def test_several_objects_can_be_accepted(tmp_path):
    gold = [json.loads(GOLD), {"city": "Oslo", "guests": 1, "late": False}]
    (row,) = pk.task(write_task(tmp_path, [{"text": "a", "gold": gold}], "gold")).rows("test")
    assert [json.loads(answer) for answer in row.accepted] == gold


def test_a_field_that_may_be_missing_is_left_out(tmp_path):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "guests": {"type": ["integer", "null"]}},
        "required": ["guests"],
    }
    rows = [{"text": "a", "place": None, "number": None}]
    path = write_task(tmp_path, rows, {"city": "place", "guests": "number"}, answer={"json": {"schema": schema}})
    assert pk.task(path).rows("test")[0].label == '{"guests": null}'


def test_the_schema_may_be_in_a_file_next_to_the_task(tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    rows = [{"text": "a", "gold": GOLD}]
    with_file = pk.task(write_task(tmp_path, rows, "gold", answer={"json": {"schema": "schema.json"}}))
    inline = pk.task(write_task(tmp_path, rows, "gold"))
    assert with_file.rows("test") == inline.rows("test")
    assert with_file.spec.json_schema == inline.spec.json_schema


@pytest.mark.parametrize(
    ("row", "label", "code"),
    [
        ({"gold": "Rome"}, "gold", "not-an-object"),
        ({"gold": '{"city": "Lima", "guests": 2, "late": true}'}, "gold", "invalid-gold-object"),
        ({"gold": '{"city": "Rome"}'}, "gold", "invalid-gold-object"),
        ({"place": "Rome", "number": "two", "late": "no"}, COLUMNS, "invalid-gold-object"),
        ({"place": "Rome", "number": None, "late": "no"}, COLUMNS, "empty-cell"),
    ],
)
def test_invalid_gold_answers_are_refused(tmp_path, row, label, code):
    task = pk.task(write_task(tmp_path, [{"text": "a", **row}], label))
    with refused(TaskError, code):
        task.rows("test")


@pytest.mark.parametrize("schema", [{"city": "text"}, "missing.json", 3])
def test_an_invalid_schema_is_refused_with_its_place(tmp_path, schema):
    path = write_task(tmp_path, [{"text": "a"}], "gold", answer={"json": {"schema": schema}})
    with pytest.raises(pk.PromptkitError) as error:
        pk.task(path)
    assert error.value.fields["place"] == "answer.json.schema"


def test_fields_without_an_answer_are_refused(tmp_path):
    path = write_task(tmp_path, [{"text": "a"}], COLUMNS)
    content = json.loads(path.read_text())
    del content["answer"]
    path.write_text(json.dumps({**content, "labels": {"a": "a", "b": "b"}}))
    with refused(TaskError, "fields-without-answer"):
        pk.task(path)
