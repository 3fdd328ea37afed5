"""The labels of rows: lists of labels in several forms, and numbers on a scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.tasks.scale import scale_of
from tests.support.errors import refused

TEMPLATE = "{% block input %}{{ text }}{% endblock %}{% block target %}\n{{ label }}{% endblock %}"
FEELINGS = {"anger": "anger", "joy": "joy", "fear": "fear"}


def make(folder: Path, cells: list[Any], **keys: Any) -> pk.Task:
    """A task whose rows have these cells in the label column."""
    rows = [{"text": f"text {number}", "label": cell} for number, cell in enumerate(cells)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", **keys.pop("source", {})}
    spec = {"description": "made up", "template": TEMPLATE, "sources": [source], **keys}
    (folder / "t.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return pk.task(folder / "t.yaml")


@pytest.mark.parametrize(
    "cell",
    [
        ["joy", "anger"],
        ["anger", "joy", "joy"],
        '["joy", "anger"]',
        "['joy', 'anger']",
        "joy;anger",
        "joy | anger",
        "joy,anger",
    ],
)
def test_all_forms_of_a_list_are_the_same_labels_in_the_declared_order(tmp_path: Path, cell: Any) -> None:
    (row,) = make(tmp_path, [cell], labels=FEELINGS, multi_label=True).labeled_rows()
    assert (row.labels, row.label) == (("anger", "joy"), "anger, joy")


@pytest.mark.parametrize("cell", [[], "", " ", "[]"])
def test_an_empty_list_has_no_label(tmp_path: Path, cell: Any) -> None:
    (row,) = make(tmp_path, [cell], labels=FEELINGS, multi_label=True).labeled_rows()
    assert (row.labels, row.label) == ((), "")


def test_labels_can_be_indices_and_contain_separators(tmp_path: Path) -> None:
    (row,) = make(tmp_path, [[2, 0]], labels=FEELINGS, multi_label=True).labeled_rows()
    assert row.labels == ("anger", "fear")
    names = {"red, dark": "red", "blue": "blue"}
    first, second = make(tmp_path, ["red, dark", "red, dark; blue"], labels=names, multi_label=True).labeled_rows()
    assert (first.labels, second.labels) == (("red, dark",), ("red, dark", "blue"))


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (["joy", "hope"], "unknown-name"),
        ("joy, hope", "unknown-name"),
        ([["joy"]], "not-a-label-list"),
        (["joy", ""], "not-a-label-list"),
        ("joy,,anger", "not-a-label-list"),
        ({"joy": 1}, "not-a-label-list"),
        (0.5, "not-a-label-list"),
        ("[joy", "malformed-list"),
        (None, "empty-cell"),
    ],
)
def test_a_cell_that_is_no_list_of_labels_is_refused_with_its_row(tmp_path: Path, cell: Any, code: str) -> None:
    with refused(TaskError, code, where="row 1 of the test split of t"):
        make(tmp_path, [cell], labels=FEELINGS, multi_label=True).labeled_rows()


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"multi_label": True, "answer": "first_line"}, "multi-label-without-labels"),
        ({"multi_label": True, "labels": {"a": ["x", "y"], "b": "z"}}, "several-words"),
        ({"multi_label": True, "labels": FEELINGS, "ordinal": True}, "multi-label-scale"),
        ({"labels": FEELINGS, "values": {"anger": 1, "joy": 2}}, "label-without-value"),
        ({"labels": FEELINGS, "values": {"anger": 1, "joy": 2, "fear": 3, "hope": 4}}, "undeclared-label"),
        ({"labels": FEELINGS, "values": {"anger": 1, "joy": 1, "fear": 3}}, "invalid-values"),
        ({"labels": FEELINGS, "values": {"anger": 1, "joy": float("nan"), "fear": 3}}, "invalid-values"),
        ({"labels": FEELINGS, "values": {"anger": 1, "joy": 2, "fear": 3}, "ordinal": True}, "ambiguous-scale"),
        ({"labels": FEELINGS, "numeric": True}, "numeric-without-scale"),
        ({"answer": "first_line", "ordinal": True}, "scale-without-labels"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(tmp_path: Path, keys: dict[str, Any], code: str) -> None:
    with refused(TaskError, code):
        make(tmp_path, ["joy"], **keys)


def test_the_values_of_ordered_labels_are_numbers_or_positions() -> None:
    assert scale_of(("1", "2.5", "10"), None, ordinal=True) == {"1": 1.0, "2.5": 2.5, "10": 10.0}
    assert scale_of(("low", "high"), None, ordinal=True) == {"low": 1.0, "high": 2.0}
    assert scale_of(("5", "1"), None, ordinal=True) == {"5": 1.0, "1": 2.0}  # descending labels are positions
    assert scale_of(("low", "high"), {"high": 9.0, "low": -1.0}, ordinal=False) == {"low": -1.0, "high": 9.0}
    assert scale_of(("low", "high"), None, ordinal=False) is None


def test_a_number_has_the_nearest_label_and_keeps_its_value(tmp_path: Path) -> None:
    labels, values = {"bad": "bad", "fine": "fine", "good": "good"}, {"bad": -4.0, "fine": 0.0, "good": 4.0}
    cells = [-4, -2.0, 1.9, "2.1", 4]
    rows = make(tmp_path, cells, labels=labels, values=values, numeric=True).labeled_rows()
    assert [row.label for row in rows] == ["bad", "bad", "fine", "good", "good"]
    assert [row.value for row in rows] == [-4.0, -2.0, 1.9, 2.1, 4.0]
    assert [row.value for row in make(tmp_path, ["fine"], labels=labels, values=values).labeled_rows()] == [0.0]


@pytest.mark.parametrize(
    ("cell", "code"), [("much", "not-a-number"), ("nan", "not-a-number"), ("inf", "not-a-number"), (4.5, "outside-scale")]
)
def test_a_number_that_is_not_on_the_scale_is_refused(tmp_path: Path, cell: Any, code: str) -> None:
    with refused(TaskError, code, where="row 1 of the test split of t"):
        make(tmp_path, [cell], labels={"0": "0", "4": "4"}, ordinal=True, numeric=True).labeled_rows()


def test_generated_answers_must_be_numbers_if_the_task_says_so(tmp_path: Path) -> None:
    (row,) = make(tmp_path, [42], answer="final_number", numeric=True).labeled_rows()
    assert (row.value, row.accepted) == (42.0, ("42",))
    with refused(TaskError, "not-a-number"):
        make(tmp_path, ["many"], answer="final_number", numeric=True).labeled_rows()


# ---- tables ------------------------------------------------------------------------------------------


def table(*cells: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {number}", "labels": cell} for number, cell in enumerate(cells)]


def test_the_labels_of_a_table_are_those_of_its_lists() -> None:
    for cells in ([["b"], ["a", "b"], []], ["b", "a;b", ""], ["b", '["a", "b"]', "[]"]):
        task = pk.task(table(*cells), multi_label=True)
        assert task.labels == ("a", "b")
        assert [row.labels for row in task.labeled_rows()] == [("b",), ("a", "b"), ()]
        assert any("1 of 3 rows" in note for note in task.notes)


def test_one_label_in_each_row_is_a_valid_multi_label_task() -> None:
    rows = [{"text": str(number), "label": "ab"[number % 2]} for number in range(8)]
    several, single = (pk.task(rows, multi_label=multi_label) for multi_label in (True, False))
    assert [row.labels for row in several.labeled_rows()] == [(row.label,) for row in single.labeled_rows()]


def test_the_scale_of_a_table_is_its_labels_in_order() -> None:
    rows = [{"text": str(number), "label": number % 4} for number in range(16)]
    assert pk.task(rows, ordinal=True).spec.scale == {"0": 0.0, "1": 1.0, "2": 2.0, "3": 3.0}
    task = pk.task([{"text": "a", "label": 1.2}, {"text": "b", "label": 0.4}], numeric=True, labels=[0, 1, 2])
    assert [(row.label, row.value) for row in task.labeled_rows()] == [("1", 1.2), ("0", 0.4)]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"multi_label": True, "ordinal": True}, "conflicting-options"),
        ({"multi_label": True, "answer": "label"}, "conflicting-options"),
        ({"ordinal": True, "answer": "label"}, "conflicting-options"),
        ({"numeric": True}, "numeric-without-scale"),
    ],
)
def test_options_of_a_table_that_contradict_each_other_are_refused(options: dict[str, Any], code: str) -> None:
    with refused(InputError, code):
        pk.task([{"text": "a", "label": "1"}, {"text": "b", "label": "2"}], **options)


def test_the_column_of_several_labels_must_be_named_unless_it_is_called_label() -> None:
    with refused(TaskError, "ambiguous-label-column"):
        pk.task([{"text": "a", "feelings": "joy"}], multi_label=True)
