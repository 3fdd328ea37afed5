"""The configuration of tuning: budgets, rows, test rows and spaces from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.budget import read_budgets
from promptkit.config.tune import TuneConfig
from promptkit.core.errors import InputError, PromptkitError, TaskError
from promptkit.tuning.budget import Budget
from promptkit.tuning.space import Space
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
