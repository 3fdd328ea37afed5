"""The division of the train rows into parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.tasks.division import DEFAULT, PARTS, Division
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task
from promptkit.tasks.task import Task
from tests.support.errors import refused

fractions = st.fixed_dictionaries({}, optional={part: st.floats(0, 1) for part in PARTS})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "t.yaml")


def write(path: Path, **keys: object) -> Path:
    rows = [{"text": f"text {number}", "label": ("no", "yes")[number % 2]} for number in range(1000)]
    for split, part in (("train", rows), ("test", rows[:40])):
        (path.parent / f"{split}.jsonl").write_text(
            "".join(json.dumps({**row, "text": f"{split} {row['text']}"}) + "\n" for row in part)
        )
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    source = {"files": files, "inputs": {"text": "text"}, "label": "label"}
    spec = {"description": "d", "template": "sentiment/review", "labels": {"no": "bad", "yes": "good"}, "sources": [source]}
    path.write_text(json.dumps(spec | keys))
    return path


def parts(task: Task) -> dict[str, list[str]]:
    return {part: [row.id for row in task.part(part)] for part in PARTS}


@given(given=fractions)
def test_a_division_reads_what_it_writes_or_is_refused(given: dict[str, float]) -> None:
    if 0 < sum(given.values()) <= 1:
        division = Division.of(given)
        assert Division.parse(str(division)) == division
        assert division.bounds("pool")[0] == 0
        assert division.bounds("dev")[1] == pytest.approx(sum(given.values()))
    elif not 1 < sum(given.values()) <= 1 + 1e-8:
        with refused(InputError, "invalid-division"):
            Division.of(given)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pool", "invalid-division"),
        ("pool=", "invalid-division"),
        ("pool=nan", "invalid-division"),
        ("pool=0.5,pool=0.5", "invalid-division"),
        ("pool=0.5,fit=0.6", "invalid-division"),
        ("pool=-0.5", "invalid-division"),
        ("pool=2", "invalid-division"),
        ("", "invalid-division"),
        ("pool=0,fit=0", "invalid-division"),
        ("train=0.5", "unknown-name"),
    ],
)
def test_an_invalid_division_is_refused(text: str, code: str, path: Path) -> None:
    with refused(InputError, code):
        resolve_task(str(path), DataOptions(split_train=text))


def test_the_spellings_of_a_division_agree(path: Path) -> None:
    task = pk.task(path)
    assert task.parts == DEFAULT
    assert parts(task.with_parts(pool=0.6, fit=0.2, dev=0.2)) == parts(task)
    expected = parts(task.with_parts(pool=0.5, fit=0.3))
    shares = {part: len(ids) / 1000 for part, ids in expected.items()}
    assert shares == pytest.approx({"pool": 0.5, "fit": 0.3, "dev": 0.0}, abs=0.04)
    option = DataOptions(split_train="pool=0.5,fit=0.3")
    assert option == DataOptions.model_validate({"split_train": {"pool": 0.5, "fit": 0.3}})
    assert parts(resolve_task(str(path), option)) == expected
    assert parts(pk.task(write(path, split_train={"pool": 0.5, "fit": 0.3}))) == expected
    with refused(TaskError, "invalid-division", place="split_train"):
        pk.task(write(path, split_train={"pool": 0.5, "fit": 0.6}))


def test_a_division_belongs_to_the_identity_of_a_run(path: Path, tmp_path: Path) -> None:
    options = {"task": str(path), "model": "fake", "shots": 2, "calibrate": ["temperature"]}
    runs = [
        pk.EvalConfig(**options, split_train=text).run(out=tmp_path / "runs").path.name
        for text in (None, "pool=0.6,fit=0.2,dev=0.2", "pool=0.5,fit=0.5")
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_part_that_is_needed_and_empty_is_refused(path: Path, tmp_path: Path) -> None:
    options = {"task": str(path), "model": "fake"}
    with refused(TaskError, "too-few-rows", rows=0):
        pk.EvalConfig(**options, shots=2, split_train="fit=1").run(out=tmp_path)
    with refused(TaskError, "empty-part", part="fit"):
        pk.EvalConfig(**options, calibrate=["temperature"], split_train="pool=1").run(out=tmp_path)
    with refused(TaskError, "empty-part", part="dev"):
        pk.TrainConfig(**options, split_train="pool=0.5,fit=0.5").run(out=tmp_path)
    with refused(TaskError, "empty-part", part="dev"):
        pk.EvalConfig(**options, shots=2, demos="influence", split_train="pool=1").run(out=tmp_path)
