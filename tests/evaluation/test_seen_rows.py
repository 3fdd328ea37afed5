"""Rows that a predictor was fitted on are not evaluated unnoticed, in any form."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.analysis.realign import align
from promptkit.core.errors import RunError, TaskError
from promptkit.core.fingerprints import SeenRows
from promptkit.evaluation.checks import seen_rows
from promptkit.evaluation.evaluate import evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.runs.shard import Shard
from promptkit.tasks.task import Task
from tests.support.errors import refused

Row = dict[str, str]
OTHERS = [{"number": f"n{n}", "subject": f"s{n}", "body": f"b{n}", "kind": ("bug", "question")[n % 2]} for n in range(9)]
"""Rows that demonstrations could come from, which are in no other form."""
TRAIN = {"model": "fake", "manipulation": ["soft:length=2"], "optimizer": "spsa", "steps": 2, "dev": 4}
ROWS = [
    {"number": str(n), "subject": f"subject {n}", "body": f"the body of {n}", "kind": ("bug", "question")[n % 2]}
    for n in range(60)
]


def template(*columns: str) -> str:
    shown = " / ".join(f"{{{{ {column} }}}}" for column in columns)
    return "{% block input %}" + shown + "\n=>{% endblock %}{% block target %} {{ label }}{% endblock %}"


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return path


def promptkit(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "promptkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a prompt was trained from the task file that `promptkit task init` writes for a data file."""
    folder = tmp_path_factory.mktemp("seen")
    write_csv(folder / "tickets.csv", [{key: row[key] for key in ("subject", "body", "kind")} for row in ROWS])
    assert promptkit("task", "init", "tickets.csv", "--label-column", "kind", cwd=folder).returncode == 0
    pk.TrainConfig(task=str(folder / "tickets.yaml"), **TRAIN, folds=1).run(out=folder / "runs", cache=False)
    return folder


@pytest.fixture(scope="module")
def learned(folder: Path) -> Path:
    (path,) = folder.glob("runs/train-*")
    return path


@pytest.fixture(scope="module")
def seen(learned: Path) -> list[Row]:
    """The rows of the data file that the prompt was trained on."""
    trained = SeenRows(pk.load_manipulation(learned).fitted_on)
    task = pk.task(learned.parent.parent / "tickets.yaml")
    bodies = {str(row.inputs["body"]) for split in ("train", "test") for row in task.rows(split) if row.content in trained}
    return [row for row in ROWS if row["body"] in bodies]


@pytest.fixture(scope="module")
def unseen(seen: list[Row]) -> list[Row]:
    return [row for row in ROWS if row not in seen]


def bare_file(path: Path, rows: Sequence[Row], *columns: str) -> Task:
    """A data file whose rows are all evaluated."""
    train = write_csv(path / "train.csv", [{**row, **dict.fromkeys(columns, f"other {n}")} for n, row in enumerate(ROWS[:9])])
    return pk.task(write_csv(path / "t.csv", rows), template=template(*columns), label="kind", train=train)


def yaml_file(path: Path, rows: Sequence[Row]) -> Task:
    """A task file with other names of variables, in another format, whose test rows are all given."""
    path.mkdir(parents=True)
    (path / "others.jsonl").write_text("".join(json.dumps({**row, "new": "column"}) + "\n" for row in OTHERS))
    (path / "rows.jsonl").write_text("".join(json.dumps({**row, "new": "column"}) + "\n" for row in rows))
    source = {
        "files": {"train": "others.jsonl", "test": "rows.jsonl"},
        "inputs": {"x": "body", "y": "subject"},
        "label": "kind",
    }
    words = {"bug": "bug", "question": "question"}
    (path / "t.yaml").write_text(
        json.dumps({"description": "d", "template": template("x", "y"), "labels": words, "sources": [source]})
    )
    return pk.task(path / "t.yaml")


FORMS: dict[str, Callable[[Path, Sequence[Row]], Task]] = {
    "bare file": lambda path, rows: bare_file(path, rows, "subject", "body"),
    "fewer columns": lambda path, rows: bare_file(path, rows, "body"),
    "more columns": lambda path, rows: bare_file(path, rows, "number", "body", "subject"),
    "other columns": lambda path, rows: bare_file(path, rows, "number", "body"),
    "task file": yaml_file,
    "list": lambda path, rows: in_memory([*rows]),
    "data frame": lambda path, rows: in_memory(pandas.DataFrame([*rows])),
    "dataset": lambda path, rows: in_memory(datasets.Dataset.from_list([*rows])),
    "default template": lambda path, rows: pk.task(write_csv(path / "t.csv", rows), label="kind", train=OTHERS),
    "parquet": lambda path, rows: pk.task(
        write_parquet(path / "t.parquet", rows), label="kind", train=OTHERS, template=template("body", "number")
    ),
}


def in_memory(rows: object) -> Task:
    return pk.task(rows, label="kind", template=template("body", "subject"), train=OTHERS)


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame([*rows]).to_parquet(path)
    return path


def predictor(task: Task, learned: Path) -> pk.Predictor:
    prompt = [pk.Prompt(task.spec.template), pk.load_manipulation(learned)]
    return pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer({"bug": "bug", "question": "question"}))


@pytest.mark.parametrize("form", FORMS)
def test_trained_rows_are_refused_in_every_form(
    form: str, learned: Path, seen: list[Row], unseen: list[Row], tmp_path: Path
) -> None:
    mixed = FORMS[form](tmp_path / "mixed", [*unseen[:5], *seen[:3]])
    with refused(TaskError, "seen-rows", seen=3, rows=8):
        pk.evaluate(predictor(mixed, learned), mixed, out=tmp_path)
    with refused(TaskError, "seen-rows", seen=3, rows=8):
        pk.compare(mixed, learned=predictor(mixed, learned), out=tmp_path)
    new = FORMS[form](tmp_path / "new", unseen)
    assert pk.evaluate(predictor(new, learned), new, out=tmp_path).seen_rows == 0


def fitted_predictors(folder: Path, learned: Path, out: Path) -> dict[str, pk.Predictor]:
    """Predictors that saw rows of the data file in different ways."""
    task = pk.task(folder / "tickets.yaml")
    words = pk.Verbalizer({"bug": "bug", "question": "question"})
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.BM25(k=1))
    fitted = pk.Predictor(pk.load("fake"), prompt, [words, pk.calibrate.Temperature()]).fit(task, folds=1)
    with_prefix = pk.Predictor(pk.load("fake"), [pk.Prompt(task.spec.template), pk.load_manipulation(learned)], words)
    by_hand = pk.Prompt(task.spec.template, demos=[{**row, "label": row["kind"]} for row in ROWS[:2]])
    return {
        "learned": with_prefix,
        "learned and saved": pk.Predictor.load(with_prefix.fit(task).save(out / "learned")),
        "fitted": fitted,
        "fitted and saved": pk.Predictor.load(fitted.save(out / "fitted")),
        "by hand": pk.Predictor(pk.load("fake"), by_hand, words),
    }


@pytest.fixture(scope="module")
def predictors(folder: Path, learned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pk.Predictor]:
    return fitted_predictors(folder, learned, tmp_path_factory.mktemp("saved"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(sorted(FORMS)), evaluated=st.sets(st.integers(0, 59), min_size=1, max_size=12))
def test_no_path_evaluates_a_row_that_a_predictor_saw(
    data: st.DataObject,
    form: str,
    evaluated: set[int],
    folder: Path,
    predictors: dict[str, pk.Predictor],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    predictor = predictors[data.draw(st.sampled_from(sorted(predictors)))]
    seen = SeenRows(predictor.fitted_on)
    task = pk.task(folder / "tickets.yaml")
    rows = {str(row.inputs["body"]): row.content in seen for split in ("train", "test") for row in task.rows(split)}
    assert any(rows.values())
    order = data.draw(st.permutations(sorted(evaluated)))
    expected = sum(rows[ROWS[number]["body"]] for number in order)
    path = tmp_path_factory.mktemp("form", numbered=True)
    given = [dict(data.draw(st.permutations([*ROWS[number].items()])) if form == "list" else ROWS[number]) for number in order]
    if len({row["kind"] for row in given}) < 2:
        given.append(
            {"number": "-", "subject": "-", "body": "-", "kind": "bug" if given[0]["kind"] == "question" else "question"}
        )
    evaluated_task = FORMS[form](path / "form", given)
    assert len(seen_rows([predictor], evaluated_task, evaluated_task.rows("test"), allowed=True)) == expected
    if expected:
        with refused(TaskError, "seen-rows", seen=expected):
            pk.evaluate(predictor, evaluated_task, out=path)


def test_a_prompt_is_evaluated_on_the_split_that_it_was_not_trained_on(folder: Path, learned: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "tickets.yaml")
    assert pk.evaluate(predictor(task, learned), task, folds=1, out=tmp_path).seen_rows == 0
    with refused(TaskError, "seen-rows", rows=len(task.rows("train"))):
        pk.evaluate(predictor(task, learned), task, split="train", out=tmp_path)


def test_a_bare_file_is_split_like_its_task_file(folder: Path, learned: Path, tmp_path: Path) -> None:
    """The example of a leak: a prompt is trained from the task file, and evaluated on the data file."""
    task = pk.task(folder / "tickets.csv", template=template("subject", "body"), label="kind")
    assert [row.id for row in task.rows("test")] == [row.id for row in pk.task(folder / "tickets.yaml").rows("test")]
    assert pk.evaluate(predictor(task, learned), task, folds=1, out=tmp_path).seen_rows == 0


def test_allowed_rows_are_marked_everywhere(learned: Path, seen: list[Row], unseen: list[Row], tmp_path: Path) -> None:
    task = yaml_file(tmp_path / "task", [*unseen[:5], *seen[:3]])
    run = pk.evaluate(predictor(task, learned), task, allow_seen=True, out=tmp_path)
    note = next(note for note in run.notes if note.startswith("3 of 8 rows"))
    assert run.seen_rows == run.to_json()["seen_rows"] == 3
    assert "3 of them used for fitting" in str(run)
    assert json.loads((run.path / "summary.json").read_text())["seen_rows"] == 3
    assert pk.evaluate(predictor(task, learned), task, allow_seen=True, out=tmp_path).notes == run.notes  # read again
    assert f"warning: {note}" in align(run.path).notes()
    shards = [
        evaluate_shard(predictor(task, learned), task, Shard(number, 2), allow_seen=True, out=tmp_path / "shards").path
        for number in (1, 2)
    ]
    merged = merge(shards)
    assert (merged.seen_rows, note in merged.notes) == (3, True)
    for name in ("samples.jsonl", "summary.json"):
        assert (merged.path / name).read_bytes() == (run.path / name).read_bytes()
    zero_shot = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), predictor(task, learned).reader)
    plain = pk.evaluate(zero_shot, task, out=tmp_path)
    comparison = compare_runs([str(plain.path), str(run.path)])
    assert [branch.seen_rows for branch in comparison.branches] == [0, 3]
    assert "3 evaluated rows" in str(comparison)
    study = pk.study(lambda k: predictor(task, learned), task, k=[1], allow_seen=True, out=tmp_path)
    assert "up to 3 of them used for fitting" in study.title


def test_a_fitted_predictor_is_not_evaluated_on_its_rows(folder: Path, tmp_path: Path) -> None:
    """Its demonstrations are chosen from a pool, all rows of which had a chance to be shown; a calibration saw the fit part."""
    task = pk.task(folder / "tickets.yaml")
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.Random(k=2))
    words = pk.Verbalizer({"bug": "bug", "question": "question"})
    fitted = pk.Predictor(pk.load("fake"), prompt, [words, pk.calibrate.Temperature()]).fit(task, folds=1)
    parts = {row.content for part in ("pool", "fit") for row in task.part(part)}  # type: ignore[arg-type]
    assert fitted.fitted_on == parts
    assert pk.evaluate(fitted, task, folds=1, out=tmp_path).seen_rows == 0
    with refused(TaskError, "seen-rows", seen=len(task.part("pool")) + len(task.part("fit"))):
        pk.evaluate(fitted, task, split="train", out=tmp_path)


def test_a_study_and_the_command_line_refuse_trained_rows(
    folder: Path, learned: Path, seen: list[Row], unseen: list[Row], tmp_path: Path
) -> None:
    yaml_file(tmp_path / "task", [*unseen[:5], *seen[:3]])
    study = {"task": "task/t.yaml", "model": "fake", "prompt": [str(learned)], "grid": {"instruction": ["", "Choose."]}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    with refused(RunError, "all-cells-failed", failures=2):
        pk.StudyConfig.from_yaml(tmp_path / "study.yaml").run(out=tmp_path / "runs")
    (tmp_path / "study.yaml").write_text(json.dumps({**study, "allow_seen": True}))
    assert pk.StudyConfig.from_yaml(tmp_path / "study.yaml").run(out=tmp_path / "runs").cells[0].run.seen_rows == 3
    words = ["eval", "task/t.yaml", "--model", "fake", "--prompt", learned, "--out", "runs"]
    assert promptkit(*words, cwd=tmp_path).returncode == 1
    done = promptkit(*words, "--allow-seen", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["seen_rows"]) == (0, 3)


def test_learned_vectors_carry_the_rows_that_they_are_computed_from(folder: Path, learned: Path, tmp_path: Path) -> None:
    """Saving, converting the fingerprints to text, and loading keeps them."""
    task = pk.task(folder / "tickets.yaml")
    loaded = pk.load_manipulation(learned)
    parts = [row.content for part in ("pool", "dev") for row in task.part(part)]  # type: ignore[arg-type]
    assert loaded.fitted_on <= frozenset(parts)
    assert frozenset(row.content for row in task.part("pool")) <= loaded.fitted_on
    again = pk.load_manipulation(pk.save_manipulation(loaded, tmp_path / "copy"))
    assert again.fitted_on == loaded.fitted_on


def test_rows_equal_to_evaluated_ones_are_not_trained_on(folder: Path, tmp_path: Path) -> None:
    """A test row that shows a part of what a train row shows is left out of the training, and can be evaluated."""
    rows = [{"text": f"{row['subject']}", "label": row["kind"]} for row in ROWS]
    write_csv(tmp_path / "train.csv", [{**row, "extra": str(n)} for n, row in enumerate(rows)])
    write_csv(tmp_path / "test.csv", [{**row, "extra": ""} for row in rows[:10]])
    source = {
        "files": {"train": "train.csv", "test": "test.csv"},
        "inputs": {"text": "text", "extra": "extra"},
        "label": "label",
    }
    spec = {"description": "d", "template": template("text", "extra"), "labels": {"bug": "b", "question": "q"}}
    (tmp_path / "t.yaml").write_text(json.dumps({**spec, "sources": [source]}))
    result = pk.TrainConfig(task=str(tmp_path / "t.yaml"), **TRAIN).run(out=tmp_path / "runs", cache=False)
    task = pk.task(tmp_path / "t.yaml")
    assert pk.evaluate(result.predictor, task, out=tmp_path).seen_rows == 0
