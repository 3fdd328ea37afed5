"""An option of data files is one field of `TableOptions`: commands, configurations and recorded options have it, too."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.errors import InputError
from promptkit.tasks.options import PYTHON_NAMES, DataOptions, TableOptions
from promptkit.tasks.resolve import resolve_task
from tests.support.errors import refused

COLUMNS = "text,level,tags,person,own"
CASES: dict[str, dict[str, Any]] = {
    "label_column": {"label_column": "level"},
    "inputs": {"label_column": "level", "inputs": ["text", "person"]},
    "labels": {"label_column": "level", "labels": ["2", "1"]},
    "multi_label": {"label_column": "tags", "multi_label": True},
    "ordinal": {"label_column": "level", "ordinal": True},
    "values": {"label_column": "level", "values": {"1": 1.0, "2": 2.5}},
    "numeric": {"label_column": "level", "labels": ["1", "2"], "numeric": True},
    "answer_column": {"answer_column": "person"},
    "answer_fields": {"answer_fields": {"who": "person", "level": "level"}},
    "answer_schema": {"answer_schema": {"person": "string", "level": "integer"}},
    "id_column": {"label_column": "level", "id_column": "own"},
}
"""Option -> options that make a task of the file. A new option needs a line here."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    lines = (f"text {n},{n % 2 + 1},{'a;b' if n % 3 else 'a'},{'Ada' if n % 2 else 'Bo'},r{n}" for n in range(12))
    path.write_text("\n".join([COLUMNS, *lines]) + "\n")
    return path


def in_python(options: dict[str, Any]) -> dict[str, Any]:
    """Returns options as keywords of `pk.task`."""
    return {PYTHON_NAMES.get(name, name): value for name, value in options.items()}


def test_every_option_has_a_case_and_is_a_keyword_of_task() -> None:
    assert CASES.keys() == TableOptions.model_fields.keys()
    keywords = signature(pk.task).parameters.keys() - {"source", "template", "train", "name", "data"}
    assert keywords == {PYTHON_NAMES.get(name, name) for name in TableOptions.model_fields}


@pytest.mark.parametrize("option", CASES)
def test_a_task_records_each_option_in_the_same_way(option: str, file: Path) -> None:
    options = CASES[option]
    task = pk.task(str(file), **in_python(options))
    other = resolve_task(str(file), DataOptions.model_validate(options))
    assert task.data_options == other.data_options
    assert task.spec == other.spec
    recorded = dict(task.data_options or {})
    assert recorded.pop("task") == str(file)
    assert recorded.keys() == options.keys()
    again = resolve_task(str(file), DataOptions.model_validate(json.loads(json.dumps(recorded))))
    assert (again.spec, again.data_options) == (task.spec, task.data_options)


@pytest.mark.parametrize("option", CASES)
def test_each_option_is_refused_for_a_task_with_a_file(option: str) -> None:
    only = {option: CASES[option][option]}
    with refused(InputError, "option-needs-data-file", option=option):
        resolve_task("sentiment", DataOptions.model_validate(only))
    with refused(InputError, "option-needs-data-file", option=PYTHON_NAMES.get(option, option)):
        pk.task("sentiment", **in_python(only))


@pytest.mark.parametrize("command", ["eval", "train", "tune", "doctor", "task init"])
def test_commands_have_each_option(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
    assert [option for option in TableOptions.model_fields if f"--{option.replace('_', '-')}" not in shown] == []


# ---- a new option is one field ---------------------------------------------------------------------

FIELD = '''    owner_column: str | None = None
    """For a data file: column with the owner of each row."""
'''
BEFORE = "    id_column: str | None = None\n"
PROGRAM = """
import importlib.util, json, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("promptkit.tasks.options", sys.argv[1])
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])

from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.errors import InputError
from promptkit.runs.recorded import read_options, read_origin
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

file = sys.argv[2]
given = {"task": file, "model": "fake", "label_column": "level", "limit": 4, "shots": 0, "owner_column": "own"}
config = pk.EvalConfig(**given)
written = Path(file).with_name("eval.yaml")
written.write_text(json.dumps(given))
try:
    resolve_task("sentiment", DataOptions(owner_column="own"))
    refused = None
except InputError as error:
    refused = error.fields["option"]
out = Path(file).parent
words = ["eval", file, "--model", "fake", "--label-column", "level", "--limit", "4", "--shots", "0"]
ran = CliRunner().invoke(app, [*words, "--owner-column", "own", "--out", str(out), "--json"])
run = pk.Run.load(json.loads(ran.stdout)["run"])
helps = {
    command: "--owner-column" in CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
    for command in ("eval", "train", "tune", "doctor", "task init")
}
print(json.dumps({
    "command": config.to_command(),
    "yaml": pk.EvalConfig.from_yaml(str(written)) == config,
    "task": config.load_task().data_options["owner_column"],
    "refused": refused,
    "recorded": [read_options(run.path), read_origin(run.path)["task"]],
    "rerun": (pk.rerun(run, out=out / "again").path / "samples.jsonl").is_file(),
    "helps": helps,
}))
"""


def test_a_new_field_is_an_option_everywhere(file: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("promptkit.tasks.options")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")
    assert source.count(BEFORE) == 1
    changed = tmp_path / "options.py"
    changed.write_text(source.replace(BEFORE, FIELD + BEFORE), "utf-8")
    program = [sys.executable, "-c", PROGRAM, str(changed), str(file)]
    finished = subprocess.run(program, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert "--owner-column own" in found["command"]
    assert found["yaml"]
    assert (found["task"], found["refused"]) == ("own", "owner_column")
    assert [each["owner_column"] for each in found["recorded"]] == ["own", "own"]
    assert found["rerun"]
    assert all(found["helps"].values()), found["helps"]
