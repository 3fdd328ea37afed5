"""Tasks created from a data file, and the starter files that `promptkit task init` writes."""

from __future__ import annotations

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import TaskError, TemplateError
from promptkit.core.examples import Example
from promptkit.inputs.text.template import Template
from promptkit.runs.row_warnings import MESSAGES, RowWarning
from promptkit.tasks.starter import starter_files
from tests.support.errors import refused

TEMPLATE = "{% block input %}Ticket: {{ subject }}. {{ body }}\nKind:{% endblock %}{% block target %} {{ label }}{% endblock %}"
KINDS = ("question", "bug", "feature")


def write(folder: Path, rows: int = 60, name: str = "tickets.csv", **options: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["subject", "body", "kind", *options])
        writer.writeheader()
        for i in range(rows):
            writer.writerow({"subject": f"s{i}", "body": f'text {i}, "é"\nmore', "kind": draw.choice(KINDS), **options})
    return path


def promptkit(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "promptkit", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_a_data_file_is_evaluated_without_a_task_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    done = promptkit(
        "eval", path, "--template", TEMPLATE, "--label-column", "kind", "--labels", "bug,feature,question", "--shots", 8,
        "--model", "fake", "--json", "--out", tmp_path / "runs", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["task"], printed["n"]) == ("tickets", 60)
    assert list(printed["results"][0]["predicted"]) == ["bug", "feature", "question"]


def test_about_half_of_the_rows_are_held_out(tmp_path: Path) -> None:
    task = pk.task(write(tmp_path), template=TEMPLATE, label="kind")
    train, test = task.rows("train"), task.rows("test")
    assert (len(train), len(test)) == (28, 32)
    assert not {row.id for row in train} & {row.id for row in test}
    assert task.labels == ("bug", "feature", "question")
    assert set(train[0].inputs) == {"subject", "body"}


@given(rows=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=30), hold_out=st.integers(1, 3) | st.floats(0.2, 0.8))
def test_equal_inputs_are_held_out_together_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], hold_out: float
) -> None:
    result = []
    for texts in (rows, rows[::-1]):
        folder = tmp_path_factory.mktemp("data", numbered=True)
        (folder / "d.jsonl").write_text("".join(json.dumps({"text": text, "label": "no"}) + "\n" for text in texts))
        source = {"files": {"test": "d.jsonl"}, "inputs": {"text": "text"}, "label": "label", "hold_out": hold_out}
        spec = {"description": "d", "template": "sentiment/review", "labels": {"no": "n", "yes": "y"}, "sources": [source]}
        (folder / "t.yaml").write_text(json.dumps(spec))
        task = pk.task(folder / "t.yaml")
        try:
            result.append([sorted(row.inputs["text"] for row in task.rows(split)) for split in ("train", "test")])
        except pk.PromptkitError:  # too few distinct rows
            result.append([[], sorted(rows)])
    train, test = result[0]
    assert result[1] == result[0]
    assert test
    assert not set(train) & set(test)
    assert sorted(train + test) == sorted(rows)


def test_demonstrations_can_come_from_another_file(tmp_path: Path) -> None:
    train = write(tmp_path / "a", 20)
    task = pk.task(write(tmp_path / "b", 10), template=TEMPLATE, label="kind", train=train)
    assert (len(task.rows("train")), len(task.rows("test"))) == (20, 10)


def test_starter_files_are_written_next_to_the_data_and_run_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert promptkit("task", "init", "tickets.csv", "--label-column", "kind", cwd=tmp_path).returncode == 0
    task = pk.task(tmp_path / "tickets.yaml")
    assert task.labels == ("bug", "feature", "question")
    assert Template.load(task.spec.template).variables >= {"subject", "body"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = promptkit("eval", tmp_path / "tickets.yaml", "--model", "fake", "--json", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    again = promptkit("task", "init", path, "--label-column", "kind", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert "tickets.yaml" in again.stderr


def test_the_label_column_is_detected_if_it_is_unambiguous(tmp_path: Path) -> None:
    assert any("label: kind" in content for content in starter_files(write(tmp_path)).values())
    subset = write(tmp_path / "few", 3)
    with refused(TaskError, "ambiguous-label-column", file=str(subset)):
        starter_files(subset)


@pytest.mark.parametrize(("option", "holds"), [({"label": "kind"}, "labels"), ({"answer": "kind"}, "answers")])
def test_a_template_that_shows_the_answer_is_refused(tmp_path: Path, option: dict[str, str], holds: str) -> None:
    (tmp_path / "d.csv").write_text("text,kind\n" + "".join(f"row {n},{'ab'[n % 2]}\n" for n in range(8)))
    template = "{% block input %}{{ kind }} {{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    with refused(TemplateError, "template-shows-answer", column="kind", holds=holds):
        pk.task(tmp_path / "d.csv", template=template, **option)


@given(
    columns=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1), min_size=1, unique=True)
)
def test_starter_files_render_any_column_names(tmp_path_factory: pytest.TempPathFactory, columns: list[str]) -> None:
    assume(all(column.strip() == column and column != "label" for column in columns))
    folder = tmp_path_factory.mktemp("data", numbered=True)
    rows = [{**{column: f"{column} {n}" for column in columns}, "label": "ab"[n % 2]} for n in range(12)]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path, content in starter_files(folder / "d.jsonl").items():
        path.write_text(content, "utf-8", newline="")
    task = pk.task(folder / "d.yaml")
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), {"a": "a", "b": "b"})
    row = task.rows("test")[0]
    (rendered,) = predictor.bind(task).encode([Example(id=row.id, inputs=row.inputs)])
    text = "".join(piece.text for piece in rendered.pieces)
    assert all(value in text for value in row.inputs.values())


@pytest.mark.parametrize(
    ("one", "other"), [("Good", "good"), ("good", "good "), (" bad", "Bad"), ("so so", "so  so"), ("caf\u00e9", "cafe\u0301")]
)
def test_undeclared_labels_that_are_alike_are_refused(tmp_path: Path, one: str, other: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{i}", "label": (one, other, "none")[i % 3]}) + "\n" for i in range(9)))
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    with refused(TaskError, "labels-alike", column="label", labels=(one, other)):
        pk.task(path, template=template)
    task = pk.task(path, template=template, labels=(one, other, "none"))
    run = pk.evaluate(
        pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), pk.Verbalizer(task.spec.labels or {})), task, out=tmp_path
    )
    assert any(note.endswith("differ only in case, white space or Unicode form") for note in run.notes)


@pytest.mark.parametrize("contradictory", [True, False])
def test_equal_texts_with_different_labels_are_counted(tmp_path: Path, contradictory: bool) -> None:
    """Every text is in two rows, with different labels for even numbers if `contradictory`."""
    rows = [(number, "ab"[contradictory and number % 2 == 0 and repeat]) for number in range(24) for repeat in range(2)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"{number}", "label": label}) + "\n" for number, label in rows))
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    task = pk.task(path, template=template, labels=("a", "b"))
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), pk.Verbalizer(task.spec.labels or {}))
    run = pk.evaluate(predictor, task, out=tmp_path / "out")
    evaluated = task.labeled_rows()
    even = sum(int(row.inputs["text"]) % 2 == 0 for row in evaluated)
    assert 0 < even < len(run.ids) == len(evaluated)
    notes = [note for note in run.notes if MESSAGES["contradictory-labels"] in note]
    assert notes == [str(RowWarning(code="contradictory-labels", rows=even, of=len(evaluated)))] * contradictory


def test_a_compressed_file_is_evaluated_and_named_without_its_suffixes(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv.gz"
    path.write_bytes(gzip.compress(write(tmp_path).read_bytes()))
    task = pk.task(path, template=TEMPLATE, label="kind")
    assert (task.name, task.labels) == ("tickets", ("bug", "feature", "question"))
    assert len(task.rows("test")) == 32


def test_binary_labels_are_decoded_or_refused(tmp_path: Path) -> None:
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    for labels, expected in ((("caf\u00e9".encode(), b"bar"), ("bar", "caf\u00e9")), ((b"\xff", b"bar"), None)):
        table = pyarrow.table({"text": [f"t{i}" for i in range(6)], "label": [labels[i % 2] for i in range(6)]})
        pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
        if expected is None:
            with refused(TaskError, "not-utf8", column="label"):
                pk.task(tmp_path / "rows.parquet", template=template)
        else:
            assert pk.task(tmp_path / "rows.parquet", template=template).labels == expected


@pytest.mark.parametrize(
    ("column", "title"),
    [
        ("my_text", "My text"),
        (" text ", "Text"),
        ("labels", "Column labels"),
        ("Größe:", "Größe"),
        ("{{ x }}", "X"),
        ("class", "Class"),
    ],
)
def test_a_template_shows_the_names_of_columns(column: str, title: str, tmp_path: Path) -> None:
    rows = [{column: f"text {n}", "kind": " yes " if n % 2 else "no"} for n in range(12)]
    task = pk.task(rows, label="kind")
    template = pk.Template(task.spec.template or "")
    (variable,) = task.source.inputs
    assert template.render("input", {variable: "v"}) == f"{title}: v\nLabel:"
    assert task.spec.labels == {" yes ": "yes", "no": "no"}


def test_a_file_without_names_of_columns_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("".join(f"text {n},{'yes' if n % 2 else 'no'}\n" for n in range(12)), encoding="utf-8")
    assert any("its own name" in note for note in pk.task(path).notes)
