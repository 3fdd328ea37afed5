"""`--save` and `--predictor`: a predictor is saved with its estimate, and evaluated like the one that was saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.errors import InputError
from promptkit.predictor.predictor import Predictor
from tests.support.errors import refused
from tests.support.probe_runs import write_task
from tests.support.runs import lines

ROWS = [{"text": "a fine evening"}, {"text": "never again"}]


def run(*words: str) -> str:
    done = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def task(tmp_path: Path) -> str:
    write_task(tmp_path / "task")
    return str(tmp_path / "task" / "task.yaml")


def test_a_saved_predictor_has_the_estimate_of_its_evaluation(task: str, tmp_path: Path) -> None:
    folder = tmp_path / "predictor"
    options = {"task": task, "model": "fake", "shots": 2, "calibrate": ["linear:per_class=4"], "save": folder}
    evaluated = pk.EvalConfig(**options).run(out=tmp_path / "runs", cache=False)
    predictor = pk.Predictor.load(folder)
    assert predictor.estimate is not None
    assert predictor.out_of_fold is not None
    result = evaluated.results[1]
    assert predictor.name == result.align == "linear:per_class=4"
    assert predictor.estimate.rows == len(evaluated.ids) == len(predictor.out_of_fold)
    assert predictor.estimate.metrics["accuracy"].value == result.metrics["accuracy"]["value"]
    assert {"majority", "tfidf"} <= predictor.estimate.baselines.keys()
    assert predictor.out_of_fold.correct.mean() == pytest.approx(result.metrics["accuracy"]["value"], abs=1e-6)
    assert str(folder) in evaluated.notes[-1]
    assert str(tmp_path / "predictor") not in (folder / "predictor.json").read_text()


def test_saving_does_not_change_the_run(task: str, tmp_path: Path) -> None:
    options = {"task": task, "model": "fake", "shots": 2, "limit": 5}
    first = pk.EvalConfig(**options).run(out=tmp_path / "runs", cache=False)
    second = pk.EvalConfig(**options, save=tmp_path / "predictor").run(out=tmp_path / "runs", cache=False)
    assert second.path == first.path
    assert "save" not in json.loads((second.path / "options.json").read_text())


def test_the_command_line_saves_and_evaluates(task: str, tmp_path: Path) -> None:
    folder, out = str(tmp_path / "predictor"), ("--out", str(tmp_path / "runs"), "--no-cache", "--json")
    saved = json.loads(run("eval", task, "--model", "fake", "--shots", "2", "--limit", "6", "--save", folder, *out))
    again = json.loads(run("eval", task, "--predictor", folder, "--limit", "6", *out))
    assert again["results"] == saved["results"]
    other = json.loads(run("eval", task, "--predictor", folder, "--model", "fake", "--limit", "6", *out))
    assert other["run"] == again["run"]


def test_a_data_file_is_read_with_the_template_of_the_predictor(tmp_path: Path) -> None:
    template = "{% block input %}Ticket: {{ subject }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
    (tmp_path / "t.j2").write_text(template)
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, start in ((old, 0), (new, 100)):
        rows = [f"ticket {i},{('bug', 'idea')[i % 2]},{i}" for i in range(start, start + 30)]
        path.write_text("\n".join(["subject,kind,number", *rows, ""]))
    options = {"task": str(old), "template": str(tmp_path / "t.j2"), "label_column": "kind", "model": "fake", "shots": 2}
    pk.EvalConfig(**options, save=tmp_path / "p").run(out=tmp_path / "runs", cache=False)
    evaluated = pk.EvalConfig(task=str(new), label_column="kind", predictor=str(tmp_path / "p")).run(out=tmp_path / "runs")
    assert evaluated.seen_rows == 0
    assert {record["gold"] for record in lines(evaluated)} == {"bug", "idea"}


def test_training_returns_a_predictor_that_can_be_saved(task: str, tmp_path: Path) -> None:
    from tests.support.tiny import save

    model = str(save(tmp_path / "tiny", "gemma3"))
    words = ("train", task, "--model", model, "--manipulation", "soft:length=2", "--steps", "2", "--shots", "1")
    shown = run(
        *words, "--batch-size", "4", "--dev", "8", "--no-cache", "--out", str(tmp_path / "r"), "--save", f"{tmp_path}/p"
    )
    assert f"promptkit predict {tmp_path}/p" in shown
    predictor = Predictor.load(tmp_path / "p")
    assert [modifier.name for modifier in predictor.manipulate.modifiers] == ["soft"]
    assert len(predictor.predict(ROWS)) == 2
    assert len(predictor.fitted_on) > 1


def test_only_one_predictor_is_saved(task: str, tmp_path: Path) -> None:
    options = {"task": task, "model": "fake", "calibrate": ["batch", "contextual"], "save": tmp_path / "p"}
    with refused(InputError, "ambiguous-predictor", aligners=("batch", "contextual")):
        pk.EvalConfig(**options).run(out=tmp_path / "runs", cache=False)
    assert not (tmp_path / "runs").exists()


def test_after_folds_the_predictor_is_fitted_on_all_rows(task: str, tmp_path: Path) -> None:
    options = {"task": task, "model": "fake", "shots": 2, "demos": "bm25", "folds": 3}
    evaluated = pk.EvalConfig(**options, save=tmp_path / "p").run(out=tmp_path / "runs", cache=False)
    predictor = pk.Predictor.load(tmp_path / "p")
    assert predictor.estimate is not None
    assert predictor.out_of_fold is not None
    assert (predictor.estimate.folds, predictor.out_of_fold.folds) == (3, 3)
    stated = {name: figure.model_dump() for name, figure in predictor.estimate.metrics.items()}
    assert stated == dict(evaluated.results[0].metrics)  # with the variance between folds, as in the table
    assert "variance between these predictors" in (tmp_path / "p" / "README.md").read_text()
    rows = pk.task(task).labeled_rows()
    pool = [row for row in rows if row.content in predictor.fitted_on]
    assert len(evaluated.ids) == len(rows)
    assert len(pool) > len(pk.task(task).fold(1, 3).part("pool"))
    assert "3 folds" in (tmp_path / "p" / "README.md").read_text()


@pytest.mark.parametrize(
    ("option", "value"), [("multi_label", True), ("split_train", "pool=1"), ("metric", "brier"), ("baselines", False)]
)
def test_options_that_do_not_describe_a_predictor_are_combined_with_a_saved_one(option: str, value: object) -> None:
    config = pk.EvalConfig(task="sentiment", predictor="folder", **{option: value})
    config.check_no_other_options(config.changed())


@pytest.mark.parametrize(
    ("option", "value"),
    [("shots", 2), ("seed", 1), ("samples", 2), ("calibrate", "batch"), ("manipulation", ["place"]), ("save", "folder")],
)
def test_options_that_describe_a_predictor_are_refused_with_a_saved_one(option: str, value: object) -> None:
    config = pk.EvalConfig(task="sentiment", predictor="folder", **{option: value})
    with refused(InputError, "conflicting-options", options=("predictor", option)):
        config.check_no_other_options(config.changed())
