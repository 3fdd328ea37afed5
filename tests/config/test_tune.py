"""The configuration of tuning: budgets, rows, test rows and spaces from files."""

from __future__ import annotations

import inspect
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.budget import read_budgets
from promptkit.config.tune import TuneConfig
from promptkit.core.errors import InputError, PromptkitError, TaskError
from promptkit.tasks.options import DataOptions
from promptkit.tasks.sampling import by_hash
from promptkit.tuning.budget import Budget
from promptkit.tuning.diagnosis import row_names
from promptkit.tuning.result import Tuned
from promptkit.tuning.rows import row_numbers
from promptkit.tuning.space import Space, default_space
from promptkit.tuning.tune import tune_space
from promptkit.tuning.tuning import Tuning
from tests.support import tiny
from tests.support.errors import refused


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    file = tmp_path / "tickets.csv"
    lines = [f"words of ticket {number},{'ab'[number % 2]}" for number in range(40)]
    file.write_text("\n".join(["text,queue", *lines]))
    return file


def space_of(file: Path, text: str, **options: object) -> Space:
    (file.parent / "space.yaml").write_text(text)
    values = {
        "task": str(file),
        "label_column": "queue",
        "model": ["fake"],
        "space": str(file.parent / "space.yaml"),
        **options,
    }
    config = TuneConfig(**values)
    task = config.load_task()
    return config.build_space(task, config.labeled_rows(task))


def names(space: Space) -> list[str]:
    return [prompt.name for prompt in space.prompts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", [Budget(600)]),
        ("90s", [Budget(90)]),
        ("1.5h", [Budget(5400)]),
        ("2 minutes", [Budget(120)]),
        ("500 requests", [Budget(500, "requests")]),
        ("200k tokens", [Budget(200_000, "tokens")]),
        ("1M tokens", [Budget(1_000_000, "tokens")]),
        ("1m, 500 requests", [Budget(60), Budget(500, "requests")]),
    ],
)
def test_a_budget_is_a_time_or_a_count(text: str, expected: list[Budget]) -> None:
    assert read_budgets(text) == tuple(expected)


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5m", "0s", "10k", "5k m", "10m, 5m", "3 rows", "1e3 tokens"])
def test_any_other_budget_is_refused(text: str) -> None:
    with refused(InputError, "invalid-budget", option="budget"):
        TuneConfig(task="sentiment", budget=text)


def test_requests_are_not_limited_twice() -> None:
    with refused(InputError, "conflicting-options"):
        TuneConfig(task="sentiment", budget="500 requests", max_requests=3).budgets  # noqa: B018


def test_the_command_repeats_the_configuration(tickets: Path) -> None:
    config = TuneConfig(task=str(tickets), model=["fake", "fake:b"], budget="90s", seed=3)
    assert config.to_command() == f"promptkit tune {tickets} --model fake --model fake:b --budget 90s --seed 3"
    assert TuneConfig(task="sentiment").to_command(out="x") == "promptkit tune sentiment --out x"


def test_the_test_rows_are_those_of_a_file(tickets: Path) -> None:
    (tickets.parent / "new.csv").write_text("text,queue\nnew words,a\nother words,b\n")
    config = TuneConfig(task=str(tickets), label_column="queue", test=str(tickets.parent / "new.csv"))
    task = config.load_task()
    rows = config.labeled_rows(task)
    tested = config.test_task(task, rows)
    assert tested is not None
    assert [row.texts["text"] for row in tested.rows(task.spec.split)] == ["new words", "other words"]
    assert len(rows) == 40


def test_the_test_rows_are_those_of_a_split() -> None:
    config = TuneConfig(task="sentiment", test="test", limit=20)
    task = config.load_task()
    tested = config.test_task(task, config.labeled_rows(task))
    assert tested is not None
    assert [*tested.rows("test")] == [*task.rows("test")]


def test_the_metric_must_exist_and_apply(tickets: Path) -> None:
    def requested(metric: str) -> object:
        config = TuneConfig(task=str(tickets), label_column="queue", metric=metric)
        return config.requested_metric(config.load_task())

    assert requested("macro_f1") == "macro_f1"
    with refused(InputError, "unknown-name", kind="metric"):
        requested("acuracy")
    with refused(InputError, "metric-not-applicable", metric="rougeL"):
        requested("rougeL")


def test_unsuitable_rows_are_refused_before_a_model_is_found(tickets: Path) -> None:
    tickets.write_text(tickets.read_text() + "\nan odd ticket,c")
    with refused(TaskError, "label-with-one-row", labels=("c",)):
        TuneConfig(task=str(tickets), label_column="queue", model=["./nothing"]).plan()


def test_a_space_is_a_grid(tickets: Path) -> None:
    space = space_of(tickets, "grid: {shots: [2, 4], demos: [random, bm25]}")
    assert names(space) == ["random, k=2", "bm25, k=2", "random, k=4", "bm25, k=4"]
    assert all(len(prompt.chains) > 5 for prompt in space.prompts)


def test_a_space_can_name_its_alignments(tickets: Path) -> None:
    space = space_of(tickets, "shots: 0\ncalibrate: [batch, contextual]\ngrid: {instruction: ['', Choose.]}")
    assert names(space) == ["0 shots, no instruction", "0 shots, instruction 'Choose.'"]
    for prompt in space.prompts:
        assert [chain.name for chain in prompt.chains] == ["verbalizer", "batch", "contextual"]


def test_a_space_can_name_models(tickets: Path) -> None:
    space = space_of(tickets, "model: [fake:a, fake:b]\nshots: 0")
    assert names(space) == ["fake:a · 0 shots", "fake:b · 0 shots"]
    assert names(space_of(tickets, "shots: 0", model=["fake:a", "fake:b"])) == names(space)


def test_a_space_can_extend_the_default_one(tickets: Path) -> None:
    alone, both = space_of(tickets, "default: true"), space_of(tickets, "default: true\nshots: 3\ndemos: random")
    assert names(both)[0] == "random, k=3"
    assert names(both)[1:] == names(alone)


def test_a_space_trains_learned_prompts(tickets: Path, tmp_path: Path) -> None:
    model = str(tiny.save(tmp_path / "model", "llama"))
    text = "grid: {shots: [0, 2]}\nlearned: ['soft:length=2', steering]\ntraining: {steps: 5, batch_size: 4}"
    space = space_of(tickets, text, model=[model])
    assert names(space) == ["0 shots", "balanced, k=2"]
    assert [prompt.name for prompt in space.learned] == ["0 shots + soft:length=2", "0 shots + steering"]
    for prompt in space.learned:
        assert prompt.training is not None
        assert (prompt.training.steps, prompt.training.batch_size) == (5, 4)
    without = space_of(tickets, text)
    assert without.learned == ()
    assert any("no gradients" in note for note in without.notes)


@pytest.mark.parametrize(
    ("text", "type_", "code"),
    [
        ("task: sentiment\nshots: 0", TaskError, "option-of-the-command"),
        ("metric: accuracy\nshots: 0", TaskError, "option-of-the-command"),
        ("grid: {shot: [1]}", InputError, "unknown-name"),
        ("grid: {shots: [2]}\nshots: 3", TaskError, "duplicate-option"),
        ("grid: {demos: [nearest]}", InputError, "unknown-name"),
        ("shots: 0\ncalibrate: [knn]", InputError, "alignment-left-out"),
        ("{}", TaskError, "no-values"),
        ("training: {steps: 5}", TaskError, "no-values"),
        ("shots: 0\ntraining: {step: 5}", TaskError, "unknown-name"),
    ],
)
def test_an_invalid_space_is_refused(tickets: Path, text: str, type_: type[PromptkitError], code: str) -> None:
    with refused(type_, code):
        space_of(tickets, text)


def test_equal_prompts_are_tried_once(tickets: Path) -> None:
    space = space_of(tickets, "grid: {shots: [0, 2], demos: [random, bm25]}")
    assert names(space) == ["0 shots", "random, k=2", "bm25, k=2"]


def test_tuning_in_python_and_on_the_command_line_give_one_result(tickets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tickets.parent)
    (tickets.parent / "space.yaml").write_text("calibrate: [batch]\nshots: 0")
    words = ["tune", "tickets.csv", "--label-column", "queue", "--model", "fake", "--space", "space.yaml"]
    shown = CliRunner().invoke(app, [*words, "--budget", "500 requests", "--json"])
    assert shown.exit_code == 0, shown.output
    printed = json.loads(shown.stdout)
    tuned = pk.tune("tickets.csv", label="queue", model="fake", space="space.yaml", budget="500 requests", progress=False)
    assert tuned.path.samefile(printed["path"])
    assert (tuned.path / "predictor").is_dir()
    assert printed["winner"] == tuned.to_json()["winner"]


def test_the_command_shows_a_plan(tickets: Path) -> None:
    words = ["tune", str(tickets), "--label-column", "queue", "--model", "fake", "--plan", "--json"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    printed = json.loads(shown.stdout)
    assert {each["name"] for each in printed["prompts"]} >= {"0 shots", "balanced, k=4"}
    assert printed["rows"] == 40


def test_a_small_budget_is_refused_before_anything_is_asked(tickets: Path) -> None:
    config = TuneConfig(task=str(tickets), label_column="queue", model=["fake"], budget="5 requests")
    with refused(InputError, "budget-too-small", unit="requests"):
        config.run(out=tickets.parent / "tuned")
    assert not (tickets.parent / "tuned").exists()


def test_tune_takes_the_keywords_of_task() -> None:
    of_task = dict(inspect.signature(pk.task).parameters)
    of_tune = inspect.signature(pk.tune).parameters
    assert {name: (each.default, each.annotation) for name, each in of_task.items()} == {
        name: (of_tune[name].default, of_tune[name].annotation) for name in of_task
    }
    assert set(DataOptions.model_fields) <= set(TuneConfig.model_fields)


def test_data_in_memory_is_read_as_by_task(tmp_path: Path) -> None:
    rows = [{"nr": n, "text": f"item {n}", "size": "SL"[n % 2]} for n in range(40)]
    (tmp_path / "space.yaml").write_text("calibrate: []\nshots: 0")
    keywords: dict[str, Any] = {"label": "size", "labels": ["S", "M", "L"], "ordinal": True, "id": "nr", "name": "sizes"}
    settings: dict[str, Any] = {"model": "fake", "space": str(tmp_path / "space.yaml"), "progress": False}
    tuned = pk.tune(rows, **keywords, **settings, out=tmp_path / "a")
    again = pk.tune(pk.task(rows, **keywords), **settings, out=tmp_path / "b")
    assert tuned.path.name == again.path.name
    assert tuned.path.name.startswith("sizes-")
    with refused(InputError, "option-needs-data-file", option="labels"):
        pk.tune(pk.task("sentiment"), labels=["a", "b"], **settings)


def test_a_template_replaces_that_of_a_named_task(tmp_path: Path) -> None:
    text = "{% block input %}Review: {{ text }}\nTone:{% endblock %}{% block target %} {{ label }}{% endblock %}"
    (tmp_path / "space.yaml").write_text("shots: 0\ncalibrate: []")
    for space in ("default", str(tmp_path / "space.yaml")):
        config = TuneConfig(task="sentiment", template=text, model=["fake"], limit=20, space=space)
        task = config.load_task()
        rows = config.labeled_rows(task)
        prompt = (
            config.build_space(task, rows).prompts[0].predictor.bind(task.with_parts(pool=1.0)).encode([rows[0].unlabeled()])[0]
        )
        assert "".join(piece.text for piece in prompt.pieces).endswith("\nTone:")
    given = {"model": "fake", "limit": 20, "space": str(tmp_path / "space.yaml"), "out": tmp_path, "progress": False}
    assert pk.tune("sentiment", template=text, **given).path != pk.tune("sentiment", **given).path


def test_several_models_take_turns_and_are_named(tickets: Path) -> None:
    (tickets.parent / "space.yaml").write_text("calibrate: [batch]\ngrid: {shots: [0, 2]}")
    models = ["fake:a", "fake:b", "fake:a"]
    settings: dict[str, Any] = {"model": models, "label": "queue", "progress": False}
    tuned = pk.tune(tickets, space=str(tickets.parent / "space.yaml"), out=tickets.parent / "tuned", **settings)
    assert tuned.result.model == "fake:a, fake:b"
    assert {each.name for each in tuned.standings if not each.is_baseline} == {
        f"{model} · {k}{chain}"
        for model in ("fake:a", "fake:b")
        for k in ("0 shots", "balanced, k=2")
        for chain in ("", " · batch")
    }
    names = [
        prompt.name for prompt in default_space(pk.task(tickets, label="queue"), [pk.load("fake:a"), pk.load("fake:b")]).prompts
    ]
    assert names[:2] == ["fake:a · 0 shots", "fake:b · 0 shots"]
    assert [name.partition(" · ")[2] for name in names[::2]] == [name.partition(" · ")[2] for name in names[1::2]]


def test_a_predictor_of_several_models_has_the_one_that_won(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    rows = by_hash(task.rows("train"), 48)
    winners = set()
    for seed in range(4):
        space = default_space(task, [pk.load("fake:a"), pk.load("fake:b")]).cheapest()
        tuned = tune_space(Tuning(task=task, rows=rows, space=replace(space, baselines=()), seed=seed), out=tmp_path)
        assert isinstance(tuned.predictor, pk.Predictor)
        assert tuned.result.winner.startswith(f"{tuned.predictor.model.name} · ")
        winners.add(tuned.predictor.model.name)
    assert winners <= {"fake:a", "fake:b"}


def test_the_plan_gives_the_cost_of_each_model(tickets: Path) -> None:
    plan = TuneConfig(task=str(tickets), label_column="queue", model=["fake:a", "fake:b"]).plan()
    of_models = plan.to_json()["models"]
    assert isinstance(of_models, dict)
    assert list(of_models) == ["fake:a", "fake:b"]
    assert sum(each["requests"] for each in of_models.values()) == plan.total(plan.rows).requests
    assert {"all prompts of fake:a", "all prompts of fake:b"} <= {row[0] for row in plan.table().rows}


def test_metrics_are_also_found_as_papers_write_them(tickets: Path) -> None:
    config = TuneConfig(task=str(tickets), label_column="queue", metric="macro-f1")
    assert config.requested_metric(config.load_task()) == "macro_f1"


def test_the_command_of_a_result_gives_the_same_predictor_again(tickets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tickets.parent)
    (tickets.parent / "space.yaml").write_text("calibrate: [batch]\ngrid: {shots: [0, 2]}")
    settings: dict[str, Any] = {"label": "queue", "model": "fake", "space": "space.yaml", "progress": False}
    tuned = pk.tune("tickets.csv", **settings, budget="500 requests", limit=30)
    assert tuned.result.command in tuned.why()
    assert tuned.result.command in tuned.report(tickets.parent / "report.md").read_text("utf-8")
    words = [*shlex.split(tuned.result.command)[1:], "--out", "again", "--no-cache", "--json"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    again = Tuned.load(json.loads(shown.stdout)["path"])
    assert again.path.parent.name == "again"
    rows = [{"text": f"words of ticket {number}"} for number in range(40, 60)]
    assert again.predictor.predict_proba(rows).tolist() == tuned.predictor.predict_proba(rows).tolist()
    assert again.result == tuned.result.model_copy(update={"command": again.result.command})


def test_data_in_memory_has_no_command(tmp_path: Path) -> None:
    rows = [{"text": f"item {n}", "kind": "ab"[n % 2]} for n in range(24)]
    (tmp_path / "space.yaml").write_text("calibrate: []\nshots: 0")
    tuned = pk.tune(rows, label="kind", model="fake", space=str(tmp_path / "space.yaml"), out=tmp_path, progress=False)
    assert tuned.result.command == ""
    assert "promptkit tune" not in tuned.why()


def test_rows_are_named_by_their_number_in_the_file_or_by_their_own_id(tickets: Path) -> None:
    lines = tickets.read_text("utf-8").splitlines()
    tickets.write_text("\n".join([f"nr,{lines[0]}", *(f"T{n},{line}" for n, line in enumerate(lines[1:], start=1))]))
    for own in (None, "nr"):
        task = pk.task(tickets, label="queue", id=own, inputs=["text"])
        rows = by_hash(task.labeled_rows(), 10)
        names = row_names(rows, row_numbers(task))
        assert len({*names}) == 10
        for row, name in zip(rows, names, strict=True):
            number = int(row.texts["text"].rpartition(" ")[2]) + 1
            assert name == (f"T{number}" if own else f"row {number}")
