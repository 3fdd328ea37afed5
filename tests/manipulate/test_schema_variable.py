"""The template variable `schema`: the JSON schema of a task's answers, in evaluation, training and searches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import TaskError, TemplateError
from tests.support.errors import refused

SCHEMA = {"city": ["Rome", "Oslo"], "guests": "integer"}
TEMPLATE = (
    "{% block instruction %}Fill in {{ schema }}.{% endblock %}"
    "{% block input %}Text: {{ text }}\nJSON:{% endblock %}{% block target %} {{ label }}{% endblock %}"
)
TEXT = (
    '{"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "guests": {"type": "integer"}}, '
    '"required": ["city", "guests"], "additionalProperties": false}'
)
ROWS = [{"text": f"row {i}", "gold": {"city": ("Rome", "Oslo")[i % 2], "guests": i % 5}} for i in range(40)]


def predictor(reader: Any, *modifiers: Any) -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), [pk.Prompt(TEMPLATE), *modifiers], reader)


def table() -> pk.Task:
    return pk.task(ROWS, answer="gold", schema=SCHEMA, template=TEMPLATE, name="cities")


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA), json.loads(TEXT)])
def test_it_is_the_schema_on_one_line(schema: Any) -> None:
    reader = pk.extract.Json(schema=schema)
    bound = predictor(reader).bind(table())
    rendered = bound.encode([table().rows("test")[0].unlabeled()])[0]
    assert f"Fill in {TEXT}." in "".join(piece.text for piece in rendered.pieces)
    assert json.loads(TEXT) == reader.json_schema.value


@pytest.mark.parametrize("reader", [pk.extract.Json(), pk.extract.FirstLine(), pk.Verbalizer({"a": "a", "b": "b"})])
def test_without_a_schema_it_is_missing(reader: Any) -> None:
    with refused(TemplateError, "missing-variables", variables=("schema",)):
        predictor(reader).bind(table()).encode([table().rows("test")[0].unlabeled()])


def test_a_prompt_can_be_trained_with_it(tmp_path: Path) -> None:
    reader = pk.extract.Json(schema=SCHEMA)
    options: dict[str, Any] = {"steps": 1, "optimizer": pk.Spsa(), "batch_size": 2, "dev": 2}
    result = pk.train(predictor(reader, pk.SoftPrompt(2)), table(), out=tmp_path, cache=False, **options)
    assert len(result.losses) == 1


def test_rows_need_not_have_it(tmp_path: Path) -> None:
    fitted = predictor(pk.extract.Json(schema=SCHEMA, max_tokens=40)).fit(table())
    fitted.save(tmp_path / "saved")
    (answer,) = pk.Predictor.load(tmp_path / "saved").predict([{"text": "row 1"}])
    assert json.loads(answer.prediction or "")["city"] in SCHEMA["city"]


def test_no_input_has_its_name(tmp_path: Path) -> None:
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"schema": "text"}, "label": "gold"}
    content = {"description": "d", "template": TEMPLATE, "answer": {"json": {"schema": SCHEMA}}, "sources": [source]}
    (tmp_path / "t.yaml").write_text(json.dumps(content))
    with refused(TaskError, "reserved-variable"):
        pk.task(tmp_path / "t.yaml")
    named = pk.task([{"schema": f"row {i}", "label": "ab"[i % 2]} for i in range(8)])
    assert named.source.inputs == {"column_schema": "schema"}


def test_the_default_template_of_a_table_shows_it() -> None:
    task = pk.task(ROWS, answer="gold", schema=SCHEMA)
    assert "{{ schema }}" in task.spec.template
