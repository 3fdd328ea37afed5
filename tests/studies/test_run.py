"""Studies on the fake engine: cells, requests to the model, and cells that fail."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.cli import main as cli
from promptkit.cli.evaluate import eval_
from promptkit.config.evaluation import EvalConfig
from promptkit.config.study import StudyConfig
from promptkit.core.errors import InputError, PromptkitError, RunError, TaskError
from promptkit.core.paths import STUDIES, folder
from promptkit.core.registry import build as registered
from promptkit.display.progress import Display
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.fake import FakeModel
from promptkit.studies.grid import cells, dimensions
from promptkit.studies.progress import LiveTable, RunsBar, StudyProgress
from tests.support.errors import refused

LIMIT = 12
WORDS = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})


class CountingModel(FakeModel):
    """Counts the requests that it answers."""

    queries = 0

    def answer(self, requests: Any, done: Any = frozenset()) -> Any:
        for indices, outputs in super().answer(requests, done):
            CountingModel.queries += len(indices)
            yield indices, outputs


def counting_model(name: str = "fake") -> CountingModel:
    return CountingModel(name, FakeModel.Settings(batch_tokens=3000))


MODEL = counting_model()


def build(demos: str = "random", k: int = 2, seed: int = 0, chain: tuple[Any, ...] = ()) -> pk.Predictor:
    chosen = registered("demonstration selector", pk.demos.SELECTORS, demos, k=k, seed=seed)
    return pk.Predictor(MODEL, pk.Prompt("sentiment/review", demos=chosen), [WORDS, *chain])


def build_pair(k: int) -> list[pk.Predictor]:
    return [build(k=k), build(k=k, chain=(pk.calibrate.Contextual(),))]


def run_study(out: Path, function: Any = build, **grid: Any) -> pk.Study:
    return pk.study(function, pk.task("sentiment"), limit=LIMIT, out=out, **grid)


@pytest.fixture(autouse=True)
def _reset_count() -> None:
    CountingModel.queries = 0


# ---- the grid ---------------------------------------------------------------------------------------


@given(st.dictionaries(st.text("abc", min_size=1), st.lists(st.integers(), min_size=1, max_size=3, unique=True), max_size=3))
def test_cells_are_the_product_of_the_values_in_order(grid: dict[str, list[int]]) -> None:
    expected = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    assert cells(dimensions({name: iter(values) for name, values in grid.items()})) == expected


def test_a_text_a_number_and_a_mapping_are_constants() -> None:
    grid = {"template": "{% block input %}", "k": 4, "set": {"dtype": "float32"}, "seed": range(2)}
    assert cells(dimensions(grid)) == [{**grid, "seed": 0}, {**grid, "seed": 1}]


def test_objects_are_named_by_their_spelling(tmp_path: Path) -> None:
    study = run_study(
        tmp_path,
        lambda demos: pk.Predictor(MODEL, pk.Prompt("sentiment/review", demos=demos), WORDS),
        demos=(pk.demos.Random(k=2), pk.demos.Balanced(k=2, seed=1)),
    )
    assert study.dimensions == {"demos": ("random:k=2", "balanced:k=2:seed=1")}


@pytest.mark.parametrize(
    ("function", "grid", "code", "fields"),
    [
        (build, {"k": []}, "no-values", {"dimension": "k"}),
        (build, {"k": [0, 2, 2]}, "duplicate-value", {"dimension": "k", "value": "2"}),
        (build, {"kk": [0]}, "unknown-name", {"kind": "argument of the function that builds predictors", "name": "kk"}),
        (build_pair, {}, "missing-argument", {"arguments": ("k",)}),
        ("build", {}, "not-a-function", {"value": "'build'"}),
        (lambda k: None, {"k": [1]}, "not-a-predictor", {"value": "None"}),
        (lambda k: [], {"k": [1]}, "not-a-predictor", {"value": "[]"}),
        (lambda align: [build(k=align)], {"align": [0]}, "reserved-dimension", {"dimension": "align"}),
    ],
)
def test_invalid_grids_are_refused(tmp_path: Path, function: Any, grid: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        run_study(tmp_path, function, **grid)


def test_a_study_fails_if_every_cell_fails(tmp_path: Path) -> None:
    with pytest.raises(PromptkitError) as first:
        evaluate(build(k=-1), pk.task("sentiment"), limit=LIMIT, out=tmp_path)
    with refused(RunError, "all-cells-failed", failures=2, reason=str(first.value)):
        run_study(tmp_path, k=[-1, -2])


# ---- requests to the model --------------------------------------------------------------------------


def test_equal_cells_share_a_run_and_equal_prompts_are_sent_once(tmp_path: Path) -> None:
    study = run_study(tmp_path, demos=["random", "balanced", "first"], k=[0, 2], seed=range(3))
    assert len(study.cells) == 18
    runs = {cell.run.path for cell in study.cells}
    assert len(runs) == len(list(tmp_path.glob("sentiment-*"))) == 1 + 3 + 3 + 1  # k=0; each seed of two selectors; first
    lines = [json.loads(line) for run in runs for line in (run / "samples.jsonl").read_text().splitlines()]
    prompts = {line["prompt_hash"] for line in lines}
    assert CountingModel.queries == len(prompts)


def test_a_repeated_study_sends_no_requests(tmp_path: Path, scores: Path) -> None:
    grid = {"demos": ["random", "balanced"], "k": [0, 2], "seed": range(2)}
    first = run_study(tmp_path, **grid)
    scores.unlink()
    CountingModel.queries = 0
    second = run_study(tmp_path, **grid)
    assert CountingModel.queries == 0
    assert str(second) == str(first)


class Recorder(Display[StudyProgress]):
    """Keeps the states of a study, and interrupts it at the first one with a property."""

    def __init__(self, is_last: Callable[[StudyProgress], bool] = lambda state: False) -> None:
        self.states: list[StudyProgress] = []
        self._is_last = is_last

    def __call__(self, state: StudyProgress) -> None:
        self.states.append(state)
        if self._is_last(state):
            raise KeyboardInterrupt


def test_an_interrupted_study_continues(tmp_path: Path, scores: Path) -> None:
    stop = Recorder(lambda state: state.done == 2 and state.rows[0] > 0)

    grid = {"k": [1, 2, 3, 4]}
    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path / "a", progress=stop, **grid)
    broken = CountingModel.queries
    assert 2 * LIMIT < broken < 3 * LIMIT
    scores.unlink()
    continued = run_study(tmp_path / "a", **grid)
    assert CountingModel.queries == 4 * LIMIT
    assert str(continued) == str(run_study(tmp_path / "b", **grid))


def test_equal_models_are_loaded_once(tmp_path: Path) -> None:
    models: list[Any] = []

    def build_anew(k: int) -> pk.Predictor:
        models.append(counting_model())
        models[-1].load = lambda model=models[-1]: loaded.append(model)
        return pk.Predictor(models[-1], pk.Prompt("sentiment/review", demos=pk.demos.Random(k=k)), WORDS)

    loaded: list[Any] = []
    run_study(tmp_path, build_anew, k=[0, 2, 4])
    assert len(models) == 3
    assert {id(model) for model in loaded} == {id(models[0])}


def test_predictors_that_share_a_pass_form_a_dimension(tmp_path: Path) -> None:
    study = run_study(tmp_path, build_pair, k=[1, 2])
    assert study.dimensions == {"k": (1, 2), "align": ("verbalizer", "contextual")}
    assert len(list(tmp_path.glob("sentiment-*"))) == 2
    for cell in study.cells:
        result = next(r for r in cell.run.results if r.align == cell.values["align"])
        assert cell.result is result
    single = run_study(tmp_path / "alone", k=[1, 2])
    assert [c.result.metrics for c in study.where(align="verbalizer").cells] == [c.result.metrics for c in single.cells]


def test_progress_reports_every_run_and_the_study_so_far(tmp_path: Path) -> None:
    recorder = Recorder()
    run_study(tmp_path, demos=["random", "first"], seed=[0, 1], progress=recorder)
    events = recorder.states
    assert {event.total for event in events} == {3}
    assert [len(m.study.cells) for m in events if m.study is not None and not m.rows[1]] == [1, 2, 4]
    assert events[-1].done == 3
    assert all(event.values and event.rows[0] <= event.rows[1] for event in events[:-1])


NOTEBOOK = """
import promptkit as pk
def build(k, seed):
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Random(k=k, seed=seed))
    return pk.Predictor(pk.load("fake"), prompt, {"negative": "Negative", "positive": "Positive"})
runs = pk.study(build, pk.task("sentiment"), limit=8, k=[0, 2], seed=range(2))
runs
"""


def test_a_notebook_shows_a_bar_and_then_only_the_study(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    bar, shown = book.cells[0].outputs
    assert bar["data"] == {"text/html": "", "text/plain": ""}
    assert "<table>" in shown["data"]["text/html"]
    assert "accuracy" in shown["data"]["text/plain"]
    assert "data:image/png" in shown["data"]["text/html"]


@pytest.mark.parametrize("display", [LiveTable, RunsBar])
def test_displays_write_to_standard_error_only(tmp_path: Path, display: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with display() as progress:
        run_study(tmp_path, k=[0, 2], progress=progress)
    assert not capsys.readouterr().out


# ---- cells that fail --------------------------------------------------------------------------------


def test_a_failing_cell_is_reported_and_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        study = run_study(tmp_path, demos=["random", "nearest"], k=[2, 500], seed=[0, 1])
    assert [dict(cell.values) for cell in study.cells] == [{"demos": "random", "k": 2, "seed": seed} for seed in (0, 1)]
    assert len(study.failures) == 6
    assert caplog.messages == [study.failure_summary]
    reason = {(failure.values["demos"], failure.values["seed"]): failure.reason for failure in study.failures}
    assert study.failure_summary.startswith(
        f"6 cells of the study failed and are left out: demos=nearest, k=2, seed=0 and 3 more: {reason['nearest', 0]}"
    )
    assert f"demos=random, k=500, seed=0 and 1 more: {reason['random', 0]}" in study.failure_summary
    assert "nearest" in reason["nearest", 0]
    assert "500" in reason["random", 0]
    assert study.failure_summary in str(study)
    assert study.table(rows="demos", columns="k").rows[1] == ("nearest", None, None)


# ---- from a file ------------------------------------------------------------------------------------


def write_study(folder: Path, **spec: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"task": "sentiment", "model": "fake", "limit": LIMIT, **spec}, sort_keys=False))
    return path


def run_command(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr(sys, "argv", ["promptkit", *shlex.split(command)])
    try:
        cli.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


OF_ONE_PREDICTOR = {"save", "predictor", "seeds"}
"""Options of an evaluation that apply to one predictor, or that the grid of a study replaces."""


def test_a_study_file_has_every_option_of_eval_for_several_predictors() -> None:
    own = {"baselines"} | OF_ONE_PREDICTOR  # a study has its own baselines
    options = {name: info for name, info in EvalConfig.model_fields.items() if name not in own}
    assert own < EvalConfig.model_fields.keys()
    assert options.keys() == StudyConfig.model_fields.keys() - {"description", "baselines", "compare", "grid"}
    assert options.keys() == signature(eval_).parameters.keys() - own - {
        "shard",
        "no_cache",
        "out",
        "as_json",
        "plot",
        "by_label",
    }
    assert all(StudyConfig.model_fields[name].default == info.default for name, info in options.items() if name != "task")


@pytest.mark.parametrize("option", sorted(OF_ONE_PREDICTOR))
@pytest.mark.parametrize("in_grid", [False, True])
def test_a_study_file_refuses_options_that_apply_to_one_predictor(tmp_path: Path, option: str, in_grid: bool) -> None:
    grid = {"shots": [0, 4], **({option: ["folder"]} if in_grid else {})}
    path = write_study(tmp_path, grid=grid, **({} if in_grid else {option: "folder"}))
    with refused(InputError if in_grid else TaskError, "unknown-name", name=option):
        StudyConfig.from_yaml(path).run(out=tmp_path / "runs")
    if in_grid:
        with refused(InputError, "unknown-name", name=option):
            StudyConfig(task="sentiment", model="fake", grid=grid).run(out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_cell_of_a_study_file_equals_the_run_of_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    path = write_study(
        tmp_path,
        calibrate=[{"batch": {"rows": 4}}, "contextual"],
        instruction="Say which.",
        grid={"demos": ["random-each", {"balanced": {"k": 3}}], "shots": [2], "order": ["shuffled"], "seed": [1]},
    )
    study = StudyConfig.from_yaml(path).run(out=tmp_path / "runs")
    assert study.dimensions["align"] == ("verbalizer", "batch:rows=4", "contextual")
    for demos in ("random-each", "balanced:k=3"):
        run_command(
            monkeypatch,
            f"eval sentiment --model fake --limit {LIMIT} --demos {demos} --shots 2 --order shuffled --seed 1 --json "
            f"--calibrate batch:rows=4,contextual --instruction 'Say which.' --out {tmp_path / 'runs'}",
        )
        printed = json.loads(capsys.readouterr().out)
        assert printed["resumed"] == LIMIT
        assert {str(cell.run.path) for cell in study.where(demos=demos).cells} == {printed["run"]}


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": ["no", "yes"][i % 2]} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.j2").write_text("{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}")
    path = write_study(tmp_path, task="rows.jsonl", grid={"template": ["t.j2"], "shots": [0, 2]})
    study = StudyConfig.from_yaml(path).run(out=tmp_path / "runs")
    assert study.task.labels == ("no", "yes")
    assert len(study.cells) == 2


def test_the_command_prints_one_json_object_and_reports_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, baselines=["random"], grid={"shots": [2, 500], "seed": [0, 1]})
    code = run_command(monkeypatch, f"study {path} --json --out {tmp_path / 'runs'} --plot {tmp_path / 'plot.svg'}")
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert code == 1
    assert err.startswith("promptkit: ")
    assert "shots=500, seed=0 and 1 more: " in err
    assert printed["failures"][0]["reason"] in err
    assert [cell["values"] for cell in printed["cells"]] == [{"shots": 2, "seed": 0}, {"shots": 2, "seed": 1}]
    assert printed["tasks"] == [{"task": "sentiment", "split": "test", "n": LIMIT}]
    assert len(printed["failures"]) == 2
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_the_command_shows_a_table_with_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, baselines=["random", "balanced:k=2"], grid={"demos": ["random", "first"], "shots": [0, 2, 4]})
    assert run_command(monkeypatch, f"study {path} --out {tmp_path / 'runs'}") == 0
    shown = capsys.readouterr().out
    for name in ("shots=4", "first", "majority of the pool", "vote of random", "regression on balanced"):
        assert name in shown


@pytest.mark.parametrize("name", [path.stem for path in (folder("evals") / STUDIES).glob("*.yaml")])
def test_a_shipped_study_runs(name: str, tmp_path: Path) -> None:
    spec = StudyConfig.from_yaml(name)
    models = {"model": ["fake", "fake:other"][: len(spec.grid["model"])]} if "model" in spec.grid else {}
    quick = spec.model_copy(update={"model": "fake", "limit": 8, "grid": spec.grid | models, "compare": None})
    assert not quick.run(out=tmp_path).failures
