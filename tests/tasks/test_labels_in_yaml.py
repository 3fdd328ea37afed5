"""Labels that other YAML readers take for booleans, numbers or dates are labels without quotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.config.evaluation import EvalConfig
from promptkit.config.study import StudyConfig
from promptkit.core.errors import TaskError
from tests.support.errors import refused

SPEC = """description: made up
template: sentiment/review
labels: {{{labels}}}
sources:
  - files: {{test: rows.jsonl}}
    inputs: {{text: text}}
    label: label
"""


def write(folder: Path, labels: tuple[str, ...]) -> Path:
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    path = folder / "t.yaml"
    path.write_text(SPEC.format(labels=", ".join(f"{label}: {label}" for label in labels)), "utf-8")
    return path


WORDS = [("no", "yes"), ("off", "on"), ("012", "0x1F", "1_000"), ("1:30", "2:00"), ("2020-01-01", "2021-01-01"), ("+1", "y")]


@pytest.mark.parametrize("labels", WORDS)
def test_labels_stay_what_was_written(tmp_path: Path, labels: tuple[str, ...]) -> None:
    task = pk.task(write(tmp_path, labels))
    assert task.labels == labels
    assert [row.label for row in task.labeled_rows()] == [*labels]
    assert task.spec.labels == {label: label for label in labels}


@pytest.mark.parametrize("label", ["true", "FALSE", "1", "1.5", "null"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, label: str) -> None:
    with refused(TaskError, "key-not-text"):
        pk.task(write(tmp_path, (label, "other")))


def test_several_labels_in_a_cell(tmp_path: Path) -> None:
    path = write(tmp_path, ("no", "yes", "2020-01-01"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "a", "label": "[yes, 2020-01-01]"}) + "\n")
    path.write_text(path.read_text() + "multi_label: true\n")
    (row,) = pk.task(path).labeled_rows()
    assert row.labels == ("yes", "2020-01-01")


def test_labels_of_options(tmp_path: Path) -> None:
    for text in ("[yes, no, 012, 1.50]", "yes,no,012,1.50", '["yes", "no", "012", 1.50]'):
        assert EvalConfig.from_keywords(task="rows.csv", labels=text).labels == ("yes", "no", "012", "1.50")
    file = tmp_path / "study.yaml"
    file.write_text("{task: rows.csv, labels: [yes, no, 012, 1:30], grid: {shots: [0]}}")
    assert StudyConfig.from_yaml(file).labels == ("yes", "no", "012", "1:30")


def test_settings_with_such_words(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("{task: sentiment, thinking: off, chat: yes, calibrate: [{linear: {on: tokens}}], grid: {shots: [0]}}")
    config = StudyConfig.from_yaml(file)
    assert (config.thinking, config.chat) == ("off", True)
    assert config.calibrate == ("linear:on=tokens",)


def test_the_values_of_a_schema(tmp_path: Path) -> None:
    pytest.importorskip("jsonschema")
    from promptkit.core.json_schema import read_schema

    (tmp_path / "schema.yaml").write_text("{answer: [yes, no], day: [2020-01-01]}")
    properties = read_schema(str(tmp_path / "schema.yaml")).properties
    assert properties == {"answer": {"enum": ["yes", "no"]}, "day": {"enum": ["2020-01-01"]}}
