"""Tables with a column for each field of JSON answers, without a task file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.errors import InputError, PromptkitError, TaskError, TemplateError
from promptkit.tasks.load import task as load_task
from tests.support.errors import refused
from tests.support.runs import contents

ROWS = [
    {
        "text": f"note {i}",
        "place": ("Rome", "Oslo", "Lima")[i % 3],
        "date": f"May {i % 28 + 1}",
        "guests": str(i % 4 + 1),
        "late": ("true", "FALSE")[i % 2],
        "price": ("3", "2.5")[i % 2],
    }
    for i in range(40)
]
FIELDS = {"city": "place", "date": "date", "guests": "guests"}
SCHEMA = {"city": ["Rome", "Oslo", "Lima"], "date": "string", "guests": {"type": "integer", "minimum": 1}}


def csv(folder: Path) -> Path:
    lines = [",".join(ROWS[0]), *(",".join(row.values()) for row in ROWS)]
    (folder / "notes.csv").write_text("\n".join(lines) + "\n")
    return folder / "notes.csv"


def golds(task: pk.Task) -> list[Any]:
    return [json.loads(row.label) for row in task.labeled_rows()]


EXPECTED = [{"city": row["place"], "date": row["date"], "guests": int(row["guests"])} for row in ROWS]


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA), None])
def test_objects_are_made_of_columns(tmp_path: Path, schema: Any) -> None:
    for source in (ROWS, csv(tmp_path)):
        task = pk.task(source, answer=FIELDS, schema=schema)
        assert golds(task) == EXPECTED
        assert task.spec.kind == "generation"
        assert task.spec.json_schema is not None
        assert task.spec.json_schema.fields == ("city", "date", "guests")
        assert any("schema" in note for note in task.notes) == (schema is None)
        assert {*FIELDS.values()} & {*task.source.inputs.values()} == set()


def test_types_are_those_of_the_values() -> None:
    rows = [
        {"text": f"t{i}", "b": "true", "i": str(i), "n": ("1", "0.5")[i % 2], "e": ("", "x")[i % 2], "z": "007"} for i in (1, 2)
    ]
    schema = pk.task(rows, answer=["b", "i", "n", "e", "z"]).spec.json_schema
    assert schema is not None
    types = {name: field["type"] for name, field in schema.properties.items()}
    assert types == {"b": "boolean", "i": "integer", "n": "number", "e": ["string", "null"], "z": "string"}


def test_a_schema_alone_names_the_columns(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("date: string\nguests: integer\n")
    task = pk.task(csv(tmp_path), schema=tmp_path / "schema.yaml")
    assert golds(task) == [{"date": row["date"], "guests": int(row["guests"])} for row in ROWS]


def test_a_column_of_objects_has_a_schema() -> None:
    rows = [{"text": row["text"], "gold": json.dumps(value)} for row, value in zip(ROWS, EXPECTED, strict=True)]
    assert golds(pk.task(rows, answer="gold", schema=SCHEMA)) == EXPECTED


def test_the_command_line_yaml_and_python_make_the_same_task(tmp_path: Path) -> None:
    file = csv(tmp_path)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"task": "notes.csv", "answer_fields": FIELDS, "answer_schema": "schema.json"})
    )
    configs = [
        pk.EvalConfig(task=str(file), answer_fields="city=place,date,guests", answer_schema=json.dumps(SCHEMA)),
        pk.EvalConfig(task=str(file), answer_fields=["city=place", "date", "guests"], answer_schema=SCHEMA),
        pk.EvalConfig.from_yaml(tmp_path / "run.yaml"),
    ]
    specs = [config.load_task().spec for config in configs]
    assert specs == [pk.task(file, answer=FIELDS, schema=SCHEMA).spec] * 3
    words = ["--answer-fields", "city=place,date,guests", "--answer-schema", json.dumps(SCHEMA), "--model", "fake"]
    shown = CliRunner().invoke(app, ["render", str(file), *words, "--shots", "1"])
    assert shown.exit_code == 0, shown.output
    assert '"city": {"enum": ["Rome", "Oslo", "Lima"]}' in shown.output.replace("\n", "")


def test_a_run_of_a_table_can_be_repeated(tmp_path: Path) -> None:
    schema = {"city": ["Rome", "Oslo", "Lima"], "guests": {"type": "integer", "minimum": 1, "maximum": 9}}
    fields, options = {"city": "place", "guests": "guests"}, {"model": "fake", "shots": 2, "limit": 4}
    config = pk.EvalConfig(task=str(csv(tmp_path)), answer_fields=fields, answer_schema=schema, **options)
    run = config.run(out=tmp_path / "runs")
    metrics = run.results[0].metrics
    assert metrics["valid_json"]["value"] == 1
    assert {"field@city", "field@guests"} <= metrics.keys()
    assert contents(pk.rerun(run.path, out=tmp_path / "again")) == contents(run)


def test_a_starter_file_has_the_same_objects(tmp_path: Path) -> None:
    file = csv(tmp_path)
    done = CliRunner().invoke(app, ["task", "init", str(file), "--answer-fields", "city=place,date,guests"])
    assert done.exit_code == 0, done.output
    task = pk.task(tmp_path / "notes.yaml")
    assert golds(task) == EXPECTED
    assert task.spec.json_schema == pk.task(file, answer=FIELDS).spec.json_schema


@pytest.mark.parametrize(
    ("keywords", "error", "code"),
    [
        ({"answer": {"city": "town"}}, TaskError, "unknown-name"),
        ({"answer": {"town": "place"}, "schema": SCHEMA}, TaskError, "fields-differ-from-schema"),
        ({"answer": {"city": "place"}, "schema": SCHEMA}, TaskError, "fields-differ-from-schema"),
        ({"schema": {"town": "string"}}, TaskError, "unknown-name"),
        ({"schema": {"town": "strin"}}, InputError, "invalid-schema"),
        ({"answer": {}}, InputError, "no-answer-fields"),
        ({"answer": FIELDS, "label": "place"}, InputError, "conflicting-options"),
        ({"schema": SCHEMA, "labels": ["a", "b"]}, InputError, "conflicting-options"),
        ({"answer": FIELDS, "numeric": True}, InputError, "conflicting-options"),
        ({"answer": FIELDS, "multi_label": True}, InputError, "conflicting-options"),
        ({"answer": FIELDS, "inputs": ["text", "date"]}, TemplateError, "template-shows-answer"),
        ({"answer": FIELDS, "template": "{% block input %}{{ date }}{% endblock %}{% block target %}{{ label }}{% endblock %}"},
         TemplateError, "template-shows-answer"),
    ],
)  # fmt: skip
def test_invalid_fields_are_refused(keywords: dict[str, Any], error: type[PromptkitError], code: str) -> None:
    with refused(error, code):
        load_task(ROWS, **keywords)


def test_fields_apply_to_tables_only() -> None:
    with refused(InputError, "option-needs-data-file"):
        pk.task("sentiment", answer={"city": "place"})
    with refused(InputError, "option-needs-data-file"):
        pk.EvalConfig(task="sentiment", answer_fields="city").load_task()


@pytest.mark.parametrize("value", ['{"city": ', '{"city": 3}', [3], {"city": ["a"]}])
def test_malformed_fields_are_refused(value: Any) -> None:
    with pytest.raises(InputError):
        pk.EvalConfig(task="notes.csv", answer_fields=value)
