"""A single table of few rows is trained on completely; its rows are then not evaluated unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.config.evaluation import EvalConfig
from promptkit.config.train import TrainConfig
from promptkit.core.errors import InputError, TaskError
from promptkit.evaluation.preview import View, views
from tests.support.errors import refused

ROWS = [
    {"text": f"the screen is {word}, {n} times", "mood": mood}
    for n in range(25)
    for word, mood in (("bright", "good"), ("dark", "bad"))
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "screens.csv"
    path.write_text("text,mood\n" + "".join(f'"{row["text"]}",{row["mood"]}\n' for row in ROWS), encoding="utf-8")
    return path


def config(file: Path, **options: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "task": str(file),
        "model": "fake",
        "manipulation": ["soft:length=2"],
        "optimizer": "spsa",
        "steps": 1,
    }
    return TrainConfig(**{**given, "steps": 1, **options})


def test_training_uses_all_rows_and_evaluating_them_is_refused(file: Path, tmp_path: Path) -> None:
    result = config(file).run(out=tmp_path)
    assert sum(result.rows.values()) == len(ROWS)
    assert result.uses_all_rows
    assert any("folds=1" in note for note in result.notes)
    assert len(result.predictor.fitted_on) == len(ROWS)
    for folds in (None, 1, 5):
        with refused(TaskError, "seen-rows"):
            EvalConfig(task=str(file), model="fake", prompt=result.saved, folds=folds).run(out=tmp_path)
    shown = config(file).evaluation(result.saved, other_rows=True).to_command()
    assert shown.startswith("promptkit eval OTHER.csv")


def test_half_of_the_rows_can_be_held_out(file: Path, tmp_path: Path) -> None:
    held_out = config(file, folds=1)
    result = held_out.run(out=tmp_path)
    assert sum(result.rows.values()) < len(ROWS) / 1.5
    assert not result.uses_all_rows
    run = held_out.evaluation(result.saved).run(out=tmp_path)
    assert 10 < len(run.ids) < 40


def test_a_fold_can_be_trained_and_evaluated(file: Path, tmp_path: Path) -> None:
    fold = pk.task(file).fold(1, 5)
    predictor = pk.Predictor(
        pk.load("fake"), [pk.Prompt(fold.spec.template or ""), pk.SoftPrompt(2)], pk.Verbalizer({"good": "good", "bad": "bad"})
    )
    trained = pk.train(predictor, fold, steps=1, optimizer=pk.Spsa(), out=tmp_path).predictor
    assert len(pk.evaluate(trained, fold, out=tmp_path).ids) == len(fold.rows("test"))


def test_more_folds_are_refused(file: Path) -> None:
    with refused(InputError, "out-of-range", folds=5):
        config(file, folds=5).build()


def test_a_preview_shows_the_prompts_of_the_run(file: Path, tmp_path: Path) -> None:
    task = pk.task(file)
    predictor = pk.Predictor(
        pk.load("fake"),
        pk.Prompt(task.spec.template or "", demos=pk.demos.random(k=3)),
        pk.Verbalizer({"good": "good", "bad": "bad"}),
    )
    run = pk.evaluate(predictor, task, limit=12, out=tmp_path)
    shown = [view for view in views(predictor, task, split="test", n=12) if isinstance(view, View)]
    assert [view.example.id for view in shown] == [*run.ids]
    records = map(json.loads, (run.path / "samples.jsonl").read_text(encoding="utf-8").splitlines())
    demos = {record["id"]: record["demos"] for record in records}
    assert {view.example.id: [*view.rendered.demos] for view in shown} == demos
