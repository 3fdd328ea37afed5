"""Demonstrations that are chosen by hand: a list in Python, or a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.evaluation.preview import views
from promptkit.tasks.task import Task
from tests.support.errors import refused

WORDS = pk.Verbalizer({"no": "bad", "yes": "good"})
PICKED = [
    {"text": "second to none", "label": "yes"},
    {"text": "a bore, really", "label": "no"},
    {"text": "so so", "label": "no"},
]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    rows = [{"body": f"film {number}", "kind": ("no", "yes")[number % 2]} for number in range(30)]
    for split, of_split in (("train", rows[:20]), ("test", rows[20:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_split))
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"text": "body"}, "label": "kind"}
    spec = {"description": "d", "template": "sentiment/review", "labels": {"no": "bad", "yes": "good"}, "sources": [source]}
    (tmp_path / "t.yaml").write_text(json.dumps(spec))
    picked = [{"body": row["text"], "kind": row["label"]} for row in PICKED]
    (tmp_path / "picked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in picked))
    return pk.task(tmp_path / "t.yaml")


def predictor(**options: object) -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", **options), WORDS)  # type: ignore[arg-type]


def prompts(of: pk.Predictor, task: Task) -> list[str]:
    return [str(view.to_json()["prompt"]) for view in views(of, task, split="test", n=10)]


def test_they_are_shown_in_the_order_given_for_every_row(task: Task) -> None:
    for prompt in prompts(predictor(demos=PICKED), task):
        places = [prompt.index(row["text"]) for row in PICKED]
        assert places == sorted(places)
        assert prompt.index("film") > places[-1]
    assert prompts(predictor(demos=PICKED[::-1]), task) != prompts(predictor(demos=PICKED), task)
    assert prompts(predictor(demos=[]), task) == prompts(predictor(), task)


def test_rows_of_a_task_mappings_and_a_file_agree(task: Task, tmp_path: Path) -> None:
    rows = task.labeled([{"body": row["text"], "kind": row["label"]} for row in PICKED], "picked rows")
    by_mappings, by_rows = predictor(demos=PICKED), predictor(demos=rows)
    assert prompts(by_mappings, task) == prompts(by_rows, task)
    assert by_mappings.manipulate.settings() == by_rows.manipulate.settings()
    options = {"task": str(tmp_path / "t.yaml"), "model": "fake", "demos": f"file:{tmp_path / 'picked.jsonl'}"}
    by_file = pk.EvalConfig(**options).build(task)[0]
    assert prompts(by_file, task) == prompts(by_mappings, task)
    assert len(prompts(pk.EvalConfig(**options, shots=1).build(task)[0], task)[0]) < len(prompts(by_file, task)[0])
    run, other = pk.evaluate(by_file, task, out=tmp_path / "runs"), pk.evaluate(by_rows, task, out=tmp_path / "runs")
    assert run.path == other.path
    with refused(TaskError, "too-few-rows", k=4, rows=3):
        pk.EvalConfig(**options, shots=4).build(task)


def test_a_study_names_a_file_relative_to_itself(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {"task": "t.yaml", "model": "fake", "grid": {"demos": ["file:picked.jsonl", "random"]}, "shots": 3}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = pk.StudyConfig.from_yaml("../study.yaml").run(out=tmp_path / "runs")
    assert (len(result.cells), result.failures) == (2, ())


def test_an_evaluated_row_is_refused_as_demonstration(task: Task, tmp_path: Path) -> None:
    picked = [PICKED[0], {"text": "film 23", "label": "yes"}]
    with refused(TaskError, "seen-rows", seen=1):
        pk.evaluate(predictor(demos=picked), task, out=tmp_path)
    run = pk.evaluate(predictor(demos=picked), task, allow_seen=True, out=tmp_path)
    assert run.seen_rows == 1
    samples = [json.loads(line) for line in (run.path / "samples.jsonl").read_text().splitlines()]
    assert sorted((row.get("seen", False), len(row["demos"])) for row in samples) == [(False, 2)] * 9 + [(True, 1)]


def test_a_train_row_can_be_a_demonstration(task: Task, tmp_path: Path) -> None:
    assert pk.evaluate(predictor(demos=task.rows("train")[:2]), task, out=tmp_path).seen_rows == 0


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{"text": "fine"}], "no-label"),
        ([{"text": None, "label": "no"}], "invalid-demonstration"),
        ([PICKED[0], {**PICKED[0], "label": "no"}], "repeated-demonstration"),
    ],
)
def test_invalid_demonstrations_are_refused(rows: list[dict[str, object]], code: str) -> None:
    with refused(InputError, code):
        predictor(demos=rows)


def test_an_unknown_label_is_refused(task: Task, tmp_path: Path) -> None:
    with refused(TaskError, "label-without-word", labels=("maybe",)):
        predictor(demos=[{"text": "fine", "label": "maybe"}]).bind(task)
    (tmp_path / "bad.jsonl").write_text('{"body": "fine", "kind": "maybe"}\n')
    with refused(TaskError, "unknown-name", kind="label", name="maybe", where=f"row 1 of {tmp_path / 'bad.jsonl'}"):
        pk.EvalConfig(task=str(tmp_path / "t.yaml"), model="fake", demos=f"file:{tmp_path / 'bad.jsonl'}").build()


def test_rows_to_choose_from_cannot_be_given_too() -> None:
    with refused(InputError, "conflicting-options", options=("demos", "rows")):
        pk.Prompt("sentiment/review", demos=PICKED, rows={"pool": []})


def test_the_command_line_takes_a_file(task: Task, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "promptkit",
        "render",
        "t.yaml",
        "--model",
        "fake",
        "--demos",
        "file:picked.jsonl",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"][0]["demos"]) == 3
