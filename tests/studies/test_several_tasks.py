"""Studies over several tasks and models: macro averages, paired tests within tasks, and one model in memory at a time."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from scipy.stats import t

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.cli import main as cli
from promptkit.config.study import StudyConfig
from promptkit.core.errors import InputError, RunError, TaskError
from promptkit.metrics.intervals import Estimate, mean_of, resamples
from promptkit.metrics.paired_tests import holm
from promptkit.models.fake import FakeModel
from promptkit.studies import measures
from promptkit.studies.measures import moments
from promptkit.studies.tables import MACRO
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}


class LoggedModel(FakeModel):
    """Records which models have answered requests, and which were closed."""

    log: ClassVar[list[str]] = []

    def answer(self, requests: Any, done: Any = frozenset()) -> Any:
        self.log.append(self.name)
        return super().answer(requests, done)

    def close(self) -> None:
        self.log.append(f"close {self.name}")
        super().close()


def model_of(name: str) -> LoggedModel:
    return LoggedModel(name.removeprefix("fake:"), FakeModel.Settings(batch_tokens=3000))


def other_task() -> pk.Task:
    rows = [{"text": f"note {i} {i * 7 % 13}", "label": list(WORDS)[i % 2]} for i in range(60)]
    return pk.task(rows, name="notes", train=[{**row, "text": f"train {row['text']}"} for row in rows])


def build(task: pk.Task, model: str = "fake:one", k: int = 1, seed: int = 0) -> pk.Predictor:
    template = "sentiment/review" if task.name == "sentiment" else task.spec.template
    return pk.Predictor(model_of(model), pk.Prompt(template, demos=pk.demos.random(k=k, seed=seed)), WORDS)


def run_study(out: Path, **grid: Any) -> pk.Study:
    return pk.study(build, limit=20, out=out, task=[pk.task("sentiment"), other_task()], **grid)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    return run_study(tmp_path_factory.mktemp("runs"), model=["fake:one", "fake:two", "fake:three"], seed=range(3))


# ---- means ------------------------------------------------------------------------------------------


def test_a_table_has_a_column_for_each_task_and_their_macro_average(study: pk.Study) -> None:
    table = study.table()
    frame = study.to_pandas().groupby(["model", "task"])["accuracy"].mean()
    assert table.columns == ("model", "sentiment", "notes", MACRO)
    for model, *means in table.rows:
        expected = [frame[model, "sentiment"], frame[model, "notes"]]
        assert [each.value for each in means] == pytest.approx([*expected, np.mean(expected)], abs=1e-6)
    assert "each with equal weight" in table.caption
    assert [row[1] for row in study.table(rows="model").rows] == [row[-1] for row in table.rows]
    assert "task (2, each with equal weight)" in study.table(rows="model").caption


def test_tasks_of_different_sizes_have_equal_weight(tmp_path: Path) -> None:
    small = pk.task([{"text": f"word {i}", "label": list(WORDS)[i % 2]} for i in range(8)], name="small")
    study = pk.study(build, limit=40, out=tmp_path, folds=1, allow_seen=True, task=[other_task(), small], k=[0])
    shares = [cell.result.correct.mean() for cell in study.cells]
    sizes = [len(cell.result.correct) for cell in study.cells]
    ((_, *means),) = study.table().rows
    assert len(set(sizes)) == 2
    assert means[-1].value == pytest.approx(np.mean(shares))
    assert study.items == dict(zip(["notes", "small"], sizes, strict=True))
    assert study.n == sum(sizes)


def test_the_variance_of_a_macro_average_is_that_of_independent_means() -> None:
    """The coverage of the interval of a mean over three tasks of different sizes and accuracies, with two seeds each."""
    generator, covered, rounds = np.random.default_rng(0), 0, 300
    sizes, chances = (40, 80, 160), (0.5, 0.7, 0.85)
    for _ in range(rounds):
        means = []
        for size, chance in zip(sizes, chances, strict=True):
            correct = (generator.random((2, size)) < chance) * 1.0
            means.append(moments(correct @ resamples(size).T / size, size))
        actual = measures._macro(means).estimate((0, 1))
        covered += actual.low <= np.mean(chances) <= actual.high
    assert 0.91 <= covered / rounds <= 0.995


def test_a_task_without_a_cell_leaves_the_macro_average_empty(tmp_path: Path) -> None:
    def sometimes(task: pk.Task, k: int) -> pk.Predictor:
        return build(task, k=-1 if task.name == "notes" and k else k)

    study = pk.study(sometimes, limit=8, out=tmp_path, task=[pk.task("sentiment"), other_task()], k=[0, 2])
    zero, two = study.table().rows
    assert all(isinstance(each, Estimate) for each in (*zero[1:], two[1]))
    assert two[2:] == (None, None)
    assert study.table(rows="k").rows[1][1] is None


def test_tasks_with_different_metrics_are_averaged_by_their_main_metric(tmp_path: Path) -> None:
    def write(task: pk.Task, seed: int) -> pk.Predictor:
        if task.name == "sentiment":
            return build(task, seed=seed)
        prompt = pk.Prompt("facts/capital", demos=pk.demos.random(k=1, seed=seed))
        return pk.Predictor(model_of("fake:one"), prompt, pk.extract.first_line(max_tokens=3))

    study = pk.study(write, limit=6, out=tmp_path, task=["sentiment", "capitals"], seed=[0, 1])
    table = study.table()
    assert table.rows[0][0] == "main metric"
    assert "accuracy (sentiment), exact_match (capitals)" in table.caption
    with refused(InputError, "unknown-name", kind="metric of the study", name="accuracy", close=[]):
        study.table(metric="accuracy")
    assert study.where(task="sentiment").table().rows[0][0] == "accuracy"


@pytest.mark.parametrize("method", [lambda s: s.variance(), lambda s: s.best(over="task"), lambda s: s.task])
def test_what_needs_one_task_is_refused_for_several(study: pk.Study, method: Any) -> None:
    with refused(InputError, "several-tasks", tasks=("sentiment", "notes")):
        method(study)
    method(study.where(task="notes"))


# ---- comparisons ------------------------------------------------------------------------------------


def test_differences_within_a_task_equal_those_of_compare(study: pk.Study) -> None:
    part = study.where(seed=1)
    table = part.compare(on="model", to="fake:one", by="task")
    runs = {(cell.values["model"], cell.task): str(cell.run.path) for cell in part.cells}
    for line in table.records():
        pair = compare_runs([runs["fake:one", str(line["task"])], runs[line["model"], str(line["task"])]])
        assert line["p"] == pair.branches[1].p
        assert line["difference"].value == pytest.approx(pair.branches[1].difference.value)  # type: ignore[union-attr]
    assert [line["p Holm"] for line in table.records()] == pytest.approx(holm([line["p"] for line in table.records()]))  # type: ignore[misc]
    assert len(table.rows) == 4
    assert "McNemar" in table.caption
    assert "4 comparisons" in table.caption
    assert table.to_json()[0].keys() == {"model", "task", "accuracy", "difference", "p", "p Holm"}


def test_seeds_that_change_nothing_are_tested_as_one_run(tmp_path: Path) -> None:
    study = run_study(tmp_path, model=["fake:one", "fake:two"], seed=range(3), k=[0])
    alone = study.where(seed=0).compare(on="model", to="fake:one", by="task")
    assert study.compare(on="model", to="fake:one", by="task").rows[0][-2:] == alone.rows[0][-2:]


def test_differences_over_tasks_are_means_of_differences_within_tasks(study: pk.Study) -> None:
    within = study.compare(on="model", to="fake:two", by="task").records()
    for line in study.compare(on="model", to="fake:two").records():
        values = [each["difference"].value for each in within if each["model"] == line["model"]]  # type: ignore[union-attr]
        assert line["difference"].value == pytest.approx(np.mean(values))  # type: ignore[union-attr]


def test_every_cell_is_compared_with_the_best(study: pk.Study) -> None:
    means = {row[0]: row[-1].value for row in study.table().rows}
    best = max(means, key=means.__getitem__)
    table = study.compare()
    assert {row[0] for row in table.rows} == means.keys() - {best}
    assert f"from {best}, the best" in table.caption
    lowest = study.compare(metric="brier")
    brier = {row[0]: row[-1].value for row in study.table(metric="brier").rows}
    assert f"from {min(brier, key=brier.__getitem__)}, the best" in lowest.caption


def test_a_reference_cell_has_a_value_of_each_dimension(tmp_path: Path) -> None:
    study = run_study(tmp_path, model=["fake:one", "fake:two"], k=[0, 1])
    table = study.compare(on=["model", "k"], to={"model": "fake:two", "k": 0})
    assert [row[:2] for row in table.rows] == [("fake:one", 0), ("fake:one", 1), ("fake:two", 1)]
    with refused(InputError, "incomplete-reference", missing=("k",)):
        study.compare(on=["model", "k"], to={"model": "fake:two"})
    with refused(InputError, "conflicting-options", options=("k",)):
        study.compare(on="k", to={"k": 0}, by="k")
    with refused(RunError, "different-tasks", tasks=("sentiment", "notes")):
        study.compare(on="task", to="notes")
    with refused(InputError, "nothing-to-compare", dimensions=("task", "model", "k")):
        study.where(model="fake:one", k=0).compare()


def test_the_p_value_is_below_5_percent_if_the_interval_excludes_0(study: pk.Study) -> None:
    for metric in ("accuracy", "brier", "ece", "macro_f1"):
        for line in study.compare(metric=metric, by="task").records():
            low, high = line["difference"].low, line["difference"].high  # type: ignore[union-attr]
            assert (line["p"] < 0.05) == (not low <= 0 <= high)  # type: ignore[operator]


def test_the_test_over_rows_and_seeds_has_its_nominal_size() -> None:
    """Two equally good predictors, whose seeds differ: the share of p-values below 0.1."""
    generator, rejected, rounds, rows = np.random.default_rng(2), 0, 300, 100
    for _ in range(rounds):
        chance = 0.6 + generator.normal(0, 0.05, (2, 4, 1))
        first, other = (generator.random((2, 4, rows)) < chance) * 1.0
        values = np.array([mean_of(a - b)(resamples(rows)) for a, b in zip(first, other, strict=True)])
        rejected += moments(values, rows).test(rows).p < 0.1
    assert 0.02 <= rejected / rounds <= 0.15
    mean = measures.Mean(value=0.1, variance=0.002, degrees=7.0)
    assert mean.test(50).p == pytest.approx(2 * t.sf(0.1 / 0.002**0.5, 7))


# ---- models and tasks as dimensions -----------------------------------------------------------------


def test_runs_are_grouped_by_model_and_other_models_are_closed(tmp_path: Path) -> None:
    LoggedModel.log.clear()
    study = run_study(tmp_path, seed=range(2), model=["fake:one", "fake:two"])
    assert list(dict.fromkeys(LoggedModel.log)) == ["fake:one", "close fake:one", "fake:two", "close fake:two"]
    assert LoggedModel.log == sorted(LoggedModel.log, key=list(dict.fromkeys(LoggedModel.log)).index)
    assert [cell.values["model"] for cell in study.cells] == ["fake:one", "fake:two"] * 4
    LoggedModel.log.clear()
    assert str(run_study(tmp_path, seed=range(2), model=["fake:one", "fake:two"])) == str(study)
    assert not {"fake:one", "fake:two"} & {*LoggedModel.log}


def test_a_study_has_its_task_once(tmp_path: Path) -> None:
    with refused(InputError, "missing-task"):
        pk.study(build, out=tmp_path, k=[0])
    with refused(InputError, "duplicate-task"):
        pk.study(build, pk.task("sentiment"), out=tmp_path, task=["sentiment"])
    with refused(InputError, "duplicate-value", dimension="task", value="sentiment"):
        pk.study(build, out=tmp_path, task=["sentiment", pk.task("sentiment")])
    with refused(InputError, "unknown-name", name="task"):
        pk.study(lambda k: None, out=tmp_path, task=["sentiment"], k=[0])


def test_baselines_belong_to_their_task(study: pk.Study) -> None:
    both = study.baselines()
    alone = {name: study.where(task=name).baselines().baselines for name in ("sentiment", "notes")}
    assert {(each.task, each.name): each.to_json() for each in both.baselines} == {
        (task, each.name): each.to_json() for task, baselines in alone.items() for each in baselines
    }
    assert both.table().columns == ("baseline", "task", "k", "accuracy", "model - baseline")
    majority = next(row for row in study.table(baselines=both).rows if row[0] == "majority of the pool")
    shares = [baselines[0].estimate for baselines in alone.values()]
    assert majority[1:3] == tuple(shares)
    assert majority[3].value == pytest.approx(np.mean([each.value for each in shares]))


# ---- from a file ------------------------------------------------------------------------------------


def write_study(folder: Path, **spec: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"limit": 8, **spec}, sort_keys=False))
    rows = [{"text": f"text {i}", "label": ["no", "yes"][i % 2]} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["promptkit", *shlex.split(words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code


def test_a_file_lists_tasks_and_models_and_prints_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = write_study(
        tmp_path,
        task=["sentiment", "rows.jsonl"],
        model=["fake", "fake:other"],
        baselines=[],
        compare={"to": {"model": "fake"}, "by": "task"},
        grid={"shots": [0, 2], "seed": [0, 1]},
    )
    command(monkeypatch, f"study {path} --out {tmp_path / 'runs'} --json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["dimensions"] == {
        "task": ["sentiment", "rows"],
        "model": ["fake", "fake:other"],
        "shots": [0, 2],
        "seed": [0, 1],
    }
    assert [each["task"] for each in printed["tasks"]] == ["sentiment", "rows"]
    assert [(row["model"], row["task"]) for row in printed["comparison"]] == [
        ("fake:other", "sentiment"),
        ("fake:other", "rows"),
    ]
    assert {row["task"] for row in printed["baselines"]} == {"sentiment", "rows"}
    command(monkeypatch, f"study {path} --out {tmp_path / 'runs'}")
    text = capsys.readouterr().out
    assert "p Holm: adjusted for 2 comparisons" in text
    values = {"task": "rows", "model": "fake", "shots": 2, "seed": 1}
    run = next(cell["run"] for cell in printed["cells"] if cell["values"] == values)
    options = f"--model fake --shots 2 --seed 1 --limit 8 --out {tmp_path / 'runs'} --json --no-baselines"
    command(monkeypatch, f"eval {tmp_path / 'rows.jsonl'} {options}")
    assert json.loads(capsys.readouterr().out)["run"] == run


@pytest.mark.parametrize(
    ("spec", "error", "code", "name"),
    [
        ({"task": ["sentiment"], "grid": {"task": ["sentiment"]}}, None, "duplicate-option", "task"),
        ({"grid": {"shots": [0]}}, None, "missing-option", "task"),
        ({"task": "sentiment", "grid": {"shots": [0]}, "compare": {"to": {"shot": 0}}}, InputError, "unknown-name", "shot"),
        ({"task": "sentiment", "grid": {"shots": [0]}, "compare": {"by": "model"}}, InputError, "unknown-name", "model"),
        ({"task": ["sentiment", "sentimant"], "grid": {"shots": [0]}}, None, "unknown-name", "sentimant"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, spec: dict[str, Any], error: Any, code: str, name: str) -> None:
    path = write_study(tmp_path, model="fake", **spec)
    with pytest.raises(pk.PromptkitError) as raised:
        StudyConfig.from_yaml(path).run(out=tmp_path / "runs")
    assert raised.value.code == code
    assert name in str(raised.value)
    assert "study.yaml" in str(raised.value)
    assert error is None or isinstance(raised.value, error)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_of_the_comparison_is_named_with_those_it_has(tmp_path: Path) -> None:
    path = write_study(tmp_path, task="sentiment", grid={"shots": [0, 1]}, compare={"too": {"shots": 0}})
    with refused(TaskError, "unknown-name", place="compare.too", close=["to"]):
        pk.StudyConfig.from_yaml(path)
