"""The rows of a run as objects and as a data frame, with the user's own ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.analysis.compare import compare
from promptkit.cli.main import app
from promptkit.core.errors import InputError, TaskError
from promptkit.evaluation.evaluate import evaluate
from tests.support.errors import refused
from tests.support.runs import lines

ROWS = [{"ticket": f"T-{number}", "text": f"row {number}", "label": ("yes", "no")[number % 3 == 0]} for number in range(30)]


def write(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def run(folder: Path, *calibrate: str, **options: Any) -> pk.Run:
    config = pk.EvalConfig(task=str(write(folder)), model="fake", shots=0, inputs="text", calibrate=[*calibrate], **options)
    return config.run(out=folder)


def test_rows_have_the_answers_of_each_branch(tmp_path: Path) -> None:
    done = run(tmp_path, "batch", id_column="ticket")
    by_text = {row["text"]: row for row in ROWS}
    assert [row.id for row in done.rows] == [*done.ids]
    for index, row in enumerate(done.rows):
        source = by_text[row.inputs["text"]]
        assert (row.row_id, row.gold) == (source["ticket"], source["label"])
        assert [*row.answers] == [result.align for result in done.results]
        for result in done.results:
            answer = row.answers[result.align]
            assert (answer.prediction, answer.correct) == (result.predictions[index], bool(result.correct[index]))
            assert [*answer.probabilities] == [*done.labels]
            assert max(answer.probabilities, key=answer.probabilities.__getitem__) == answer.prediction
            assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_a_data_frame_has_a_row_for_each_row(tmp_path: Path) -> None:
    done = run(tmp_path, "batch", id_column="ticket")
    frame = pk.Run.load(done.path).to_pandas()
    assert len(frame) == len(done.ids)
    names = [result.align for result in done.results]
    figures = [f"{name} {column}" for name in names for column in ("prediction", "correct", "p(no)", "p(yes)")]
    assert sorted(frame.columns) == sorted(["id", "fold", "row_id", "text", "gold", *figures])
    for result in done.results:
        assert frame[f"{result.align} correct"].mean() == pytest.approx(result.metrics["accuracy"]["value"], abs=1e-4)
        assert [*frame[f"{result.align} prediction"]] == [*result.predictions]
    assert {*run(tmp_path).to_pandas().columns} >= {"prediction", "correct", "p(no)"}


def test_columns_of_inputs_do_not_replace_others(tmp_path: Path) -> None:
    rows = [{"id": f"an id {number} in words", "gold": "some gold", "label": "ab"[number % 2]} for number in range(12)]
    task = pk.task(rows, inputs=["id", "gold"])
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), pk.Verbalizer({"a": "a", "b": "b"}))
    frame = evaluate(predictor, task, folds=1, out=tmp_path).to_pandas()
    assert [*frame.columns[:4]] == ["id", "input id", "input gold", "gold"]


def test_own_ids_change_no_row_and_no_figure(tmp_path: Path) -> None:
    without, named = run(tmp_path), run(tmp_path, id_column="ticket")
    assert named.ids == without.ids
    assert named.to_json()["results"] == without.to_json()["results"]
    assert named.path != without.path
    assert {record["row_id"] for record in lines(named, "predictions.jsonl")} == {row["ticket"] for row in ROWS[:30]} & {
        row.row_id for row in named.rows
    }
    assert all(record.keys().isdisjoint({"row_id"}) for record in lines(without, "predictions.jsonl"))


def test_a_task_file_and_python_name_the_column_of_ids_too(tmp_path: Path) -> None:
    path = write(tmp_path)
    CliRunner().invoke(app, ["task", "init", str(path), "--id-column", "ticket", "--inputs", "text"], catch_exceptions=False)
    own = {row["text"]: row["ticket"] for row in ROWS}
    for task in (pk.task(tmp_path / "rows.yaml"), pk.task(path, id="ticket"), pk.task(ROWS, id="ticket")):
        rows = task.labeled_rows()
        assert {str(row.inputs["text"]): row.row_id for row in rows} == own
        assert "ticket" not in rows[0].inputs
    for role in ("label", "text"):  # a column can have two roles
        assert {row.row_id for row in pk.task(ROWS, id=role, inputs=["text"]).labeled_rows()} == {row[role] for row in ROWS}
    with refused(TaskError, "unknown-name", kind="column", name="tickets"):
        pk.task(ROWS, id="tickets")
    with refused(InputError, "option-needs-data-file", option="id"):
        pk.task("sentiment", id="ticket")


def test_flips_have_the_own_ids(tmp_path: Path) -> None:
    done = run(tmp_path, "batch", id_column="ticket")
    (_, other) = compare(done, f"{done.path}:{done.results[1].align}").branches
    own = dict(zip(done.ids, (row.row_id for row in done.evaluated), strict=True))
    assert other.flips
    assert all(flip.row_id == own[flip.id] for flip in other.flips)
    words = ["compare", str(done.path), f"{done.path}:{done.results[1].align}", "--flips"]
    shown = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert all(f"  {flip.row_id}  gold" in shown for flip in other.flips)


def test_runs_are_compared_as_objects_folders_and_branches(tmp_path: Path) -> None:
    done = run(tmp_path, "batch")
    branch = f"{done.path}:batch"
    expected = compare(str(done.path), branch).to_json()
    assert compare(done, branch).to_json() == compare(done.path, branch).to_json() == expected
    assert compare(pk.Run.load(done.path), branch).to_json() == expected
    assert compare(done, f"{done.path}:majority").branches[1].accuracy.value == pytest.approx(20 / 30)
    with refused(InputError, "too-few-runs"):
        compare(done)
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer({"no": "no", "yes": "yes"}))
    with refused(InputError, "conflicting-options", options=("plain",)):
        compare(done, branch, plain=predictor)  # type: ignore[call-overload]
    with refused(InputError, "conflicting-options", options=(str(done.path),)):
        compare(pk.task("sentiment"), done, plain=predictor)  # type: ignore[call-overload]
