"""The columns, labels and template of a table without a task file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, TaskError, TemplateError
from promptkit.inputs.text.template import Template
from promptkit.tasks.options import DataOptions
from tests.support.errors import refused

WORDS = ("red", "green", "blue")


def rows(count: int = 30, **columns: Any) -> list[dict[str, Any]]:
    """Rows with a text and a label, and further columns whose values are functions of the row's number."""
    return [
        {**{name: value(number) for name, value in columns.items()}, "text": f"text {number % 29}", "kind": WORDS[number % 3]}
        for number in range(count)
    ]


def shown(data: object, **options: Any) -> set[str]:
    """The columns that the default template shows."""
    task = pk.task(data, label="kind", **options)
    assert Template.load(task.spec.template).variables >= task.source.inputs.keys()
    return {str(column) for column in task.source.inputs.values()}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("number", lambda number: 7 * number, "identifies the row"),
        ("key", lambda number: str(UUID(int=number)), "identifies the row"),
        ("TicketID", lambda number: f"T-{number}", "identifies the row"),
        ("customer_id", lambda number: number % 5, "identifies the row"),
        ("", lambda number: number, "identifies the row"),
        ("created", lambda number: f"2024-02-{number % 28 + 1:02d}T10:00:00Z", "contains dates"),
        ("day", lambda number: f"{number % 28 + 1}.2.2024" if number % 2 else None, "contains dates"),
        ("source", lambda number: "mail", "is constant"),
        ("nothing", lambda number: None, "is constant"),
        ("code", lambda number: number % 3, "repeats the label"),
        ("vector", lambda number: [number, 1], "does not contain text"),
    ],
)
def test_columns_that_tell_nothing_are_left_out_with_a_note(name: str, value: Any, reason: str) -> None:
    data = rows(**{name: value})
    assert shown(data) == {"text"}
    (note,) = pk.task(data, label="kind").notes
    assert f"{name or repr(name)} ({reason})" in note
    assert shown(data, inputs=["text", name]) == {"text", name}


@pytest.mark.parametrize(
    "value",
    [lambda number: number % 7, lambda number: number / 7, lambda number: f"T-{number}", lambda number: bool(number % 2)],
)
def test_other_columns_are_shown(value: Any) -> None:
    assert shown(rows(more=value)) == {"text", "more"}
    assert pk.task(rows(more=value), label="kind").notes == ()


def test_numbers_of_rows_are_left_out_if_rows_are_repeated() -> None:
    data = rows(number=lambda number: 7 * number)
    assert shown([*data, *data[:9]]) == {"text"}
    assert shown([*data, *({**row, "kind": "red"} for row in data)]) == {"text"}
    assert shown([*data, {**data[1], "text": "another text"}]) == {"text", "number"}


def test_a_table_of_numbers_shows_them() -> None:
    data = [{"number": number, "kind": WORDS[number % 3]} for number in range(30)]
    assert shown(data) == {"number"}
    assert ["number (identifies the row)" in note for note in pk.task(data, label="kind").notes] == [True]


def test_the_label_column_is_found_if_only_one_column_can_be_it() -> None:
    task = pk.task(rows(created=lambda number: "2024-02-01" if number % 2 else "2024-02-02"))
    assert task.labels == ("blue", "green", "red")
    assert "kind" in task.notes[0]
    with refused(TaskError, "ambiguous-label-column"):
        pk.task(rows(more=lambda number: number % 2))
    assert pk.task(rows(label=lambda number: number % 2, more=lambda number: number % 4)).source.label == "label"


def test_more_than_20_labels_need_the_name_of_the_column_and_repeat() -> None:
    data = [{"text": f"text {number}", "label": f"label {number % 25}"} for number in range(100)]
    with refused(TaskError, "too-many-labels", values=25):
        pk.task(data)
    assert len(pk.task(data, label="label").labels) == 25
    assert len(pk.task(data, labels=[f"label {number}" for number in range(25)]).labels) == 25
    with refused(TaskError, "too-many-labels", values=100):
        pk.task(data, label="text")


def test_numbers_are_labels_in_the_order_of_their_values() -> None:
    data = [{"text": f"text {number}", "kind": number % 11} for number in range(60)]
    task = pk.task(data, label="kind")
    assert task.labels == tuple(str(number) for number in range(11))
    assert all(row.label in task.labels for split in ("train", "test") for row in task.rows(split))
    booleans = pk.task([{**row, "kind": row["kind"] > 4} for row in data], label="kind")
    assert booleans.labels == ("false", "true")
    assert {row.label for row in booleans.rows("test")} == {"false", "true"}
    assert pk.task([{**row, "kind": row["kind"] > 4} for row in data], label="kind", labels=[True, False]).labels[0] == "true"


@pytest.mark.parametrize(("words", "labels"), [("True,False", ("True", "False")), ("", ("false", "true"))])
def test_booleans_in_a_csv_file_are_labels(tmp_path: Path, words: str, labels: tuple[str, ...]) -> None:
    lines = [f"text {number},{number % 2 == 0}" for number in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,kind", *lines]))
    task = pk.task(tmp_path / "rows.csv", label="kind", labels=words.split(",") if words else ())
    assert task.labels == labels
    by_text = {row.inputs["text"]: row.label for split in ("train", "test") for row in task.rows(split)}
    assert by_text["text 4"].lower() == "true"
    assert set(by_text.values()) == set(labels)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ('["a, b", "c"]', ("a, b", "c")),
        ('["a, b", c]', ("a, b", "c")),
        ("[1, true, 2.5]", ("1", "true", "2.5")),
        (["a, b", "c"], ("a, b", "c")),
        ([1, 2], ("1", "2")),
        (["a,b"], ("a", "b")),
        (None, ()),
        ("", ()),
    ],
)
def test_labels_are_separated_by_commas_or_a_list(value: object, names: tuple[str, ...]) -> None:
    options = DataOptions.model_validate({"labels": value, "inputs": value})
    assert (options.labels, options.inputs) == (names, names)
    assert DataOptions.model_validate(options.model_dump(mode="json")) == options


def test_the_variables_of_the_default_template_can_be_used_in_a_given_one(tmp_path: Path) -> None:
    data = [{"The text": row["text"], "kind": row["kind"]} for row in rows()]
    default = pk.task(data, label="kind")
    (tmp_path / "t.j2").write_text(default.spec.template.replace("Say which it is", "Choose"))
    edited = pk.task(data, label="kind", template=tmp_path / "t.j2")
    assert edited.source.inputs == default.source.inputs == {"The_text": "The text"}
    assert [row.id for row in edited.rows("test")] == [row.id for row in default.rows("test")]


def test_options_that_contradict_each_other_are_refused() -> None:
    with refused(TemplateError, "template-shows-answer", column="kind"):
        pk.task(rows(), label="kind", inputs=["text", "kind"])
    with refused(TaskError, "unknown-name", kind="column", name="body"):
        pk.task(rows(), label="kind", inputs=["body"])
    with refused(InputError, "conflicting-options"):
        pk.task(rows(), label="kind", answer="text")
    with refused(InputError, "option-needs-data-file", option="inputs"):
        pk.task("sentiment", inputs=["text"])
    with refused(InputError, "option-needs-task"):
        pk.task(rows(), data="mirror")


def test_answers_are_generated_with_a_template_of_their_own() -> None:
    task = pk.task([{"question": f"{number} + 1?", "reply": f"{number + 1}"} for number in range(9)], answer="reply")
    assert task.spec.kind == "generation"
    assert "Answer:" in task.spec.template
    assert all(row.label == str(int(row.inputs["question"].split()[0]) + 1) for row in task.rows("test"))
