"""`promptkit eval --seeds`: one run for each seed, and means whose intervals contain the variance of rows and of seeds."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.cli import main as cli
from promptkit.config.evaluation import EvalConfig
from promptkit.config.seeds import read_seeds
from promptkit.core.errors import InputError
from promptkit.display.text_table import TERMINAL
from promptkit.metrics.intervals import mean_of, resamples, wilson
from promptkit.studies.measures import interval, mean
from promptkit.studies.seeds import SeedRuns
from promptkit.studies.variance import components
from tests.support.errors import refused

LIMIT = 30
OPTIONS: dict[str, Any] = {"task": "sentiment", "model": "fake", "shots": 2, "limit": LIMIT, "calibrate": ["contextual"]}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(out: Path) -> SeedRuns:
    return EvalConfig(**OPTIONS, seeds="0:4").run_seeds(out=out)


def test_seeds_are_written_as_a_range_or_a_list() -> None:
    assert read_seeds("0:5") == (0, 1, 2, 3, 4)
    assert read_seeds("0,3,7") == (0, 3, 7)
    assert EvalConfig(task="sentiment", seeds=range(3)).seed_values() == (0, 1, 2)
    assert EvalConfig(task="sentiment", seeds=[4, 2]).seed_values() == (4, 2)
    assert EvalConfig(task="sentiment").seed_values() == ()


def test_a_share_that_is_0_with_every_seed_has_an_interval(tmp_path: Path) -> None:
    runs = EvalConfig(task="capitals", model="fake", shots=2, limit=10, seeds="0:3").run_seeds(out=tmp_path)
    assert not any(cell.run.results[0].correct.any() for cell in runs.study.cells)
    assert mean(runs.study.cells, "exact_match") == wilson(0, 10)


@pytest.mark.parametrize("seeds", ["", "3", "0:1", "5:2", "a:b", "1,1", "0:5000", "0;1", []])
def test_invalid_seeds_are_refused(seeds: Any) -> None:
    with refused(InputError, "invalid-seeds", option="seeds"):
        EvalConfig(task="sentiment", seeds=seeds)


@pytest.mark.parametrize(
    ("option", "value"), [("save", "folder"), ("seed", 3), ("predictor", "folder")], ids=["save", "seed", "predictor"]
)
def test_options_of_one_run_are_refused(option: str, value: Any, tmp_path: Path) -> None:
    with refused(InputError, "conflicting-options", options=("seeds", option)):
        EvalConfig(task="sentiment", model="fake", seeds="0:2", **{option: value}).run_seeds(out=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_one_run_is_not_returned_for_several_seeds(tmp_path: Path) -> None:
    with refused(InputError, "several-seeds", seeds="0:2"):
        EvalConfig(task="sentiment", model="fake", seeds="0:2").run(out=tmp_path)


def test_each_seed_is_the_run_of_eval_with_that_seed(runs: SeedRuns, out: Path) -> None:
    assert len({run.path for run in runs.runs.values()}) == 4
    for seed, run in runs.runs.items():
        alone = EvalConfig(**OPTIONS, seed=seed).run(out=out)
        assert alone.path == run.path
        assert alone.resumed == LIMIT
        assert alone.notes == run.notes
        assert alone.baselines is not None
        assert run.baselines is not None
        assert [each.metrics for each in alone.baselines.results] == [each.metrics for each in run.baselines.results]


def test_the_means_and_the_spread_equal_those_of_the_runs(runs: SeedRuns) -> None:
    for position, (branch, metrics) in enumerate(runs.spreads().items()):
        results = [run.results[position] for run in runs.runs.values()]
        assert {result.align for result in results} == {branch}
        for name, spread in metrics.items():
            values = [result.metrics[name]["value"] for result in results]
            assert spread.values == tuple(values)
            assert spread.mean.value == pytest.approx(np.mean(values), abs=1e-5)
            assert spread.sd == pytest.approx(np.std(values, ddof=1))
        correct = np.array([result.correct for result in results])
        resampled = np.array([mean_of(row)(resamples(LIMIT)) for row in correct])
        assert metrics["accuracy"].mean == interval(resampled, LIMIT, (0, 1))
        parts = {part.name: part.share for part in components(correct, ["seed", "items"])}
        assert runs.variance_shares()[branch] == pytest.approx(parts)


def test_the_interval_is_wider_than_that_of_pooled_rows(runs: SeedRuns) -> None:
    """The rows of several seeds are the same ones, so they are no further evidence about new rows."""
    for spread in (metrics["accuracy"] for metrics in runs.spreads().values()):
        share, pooled = spread.mean.value, 4 * LIMIT
        assert spread.mean.high - spread.mean.low > 2 * 1.96 * (share * (1 - share) / pooled) ** 0.5


def test_tables_have_a_row_for_each_branch_and_each_seed(runs: SeedRuns) -> None:
    table, seeds = runs.table(), runs.seeds_table()
    assert table.columns[:5] == ("alignment", "accuracy", "sd", "lowest", "highest")
    assert [row[0] for row in table.rows][:2] == ["verbalizer", "contextual"]
    assert any(str(row[0]).startswith("no model: ") for row in table.rows)
    assert [row[0] for row in seeds.rows] == [0, 1, 2, 3]
    assert [row[-1] for row in seeds.rows] == [str(run.path) for run in runs.runs.values()]
    assert all(len(line) <= TERMINAL for line in f"{table}\n{seeds}".splitlines())
    assert any(note.startswith("variance of right and wrong answers, contextual: ") for note in runs.notes())


def test_seeds_that_change_nothing_are_noted(tmp_path: Path) -> None:
    runs = EvalConfig(task="sentiment", model="fake", shots=0, limit=8, seeds="0:3").run_seeds(out=tmp_path)
    assert len({run.path for run in runs.runs.values()}) == 1
    assert any("the seeds change nothing" in note for note in runs.notes())
    assert runs.spreads()["verbalizer"]["accuracy"].sd == 0


def test_sampled_texts_have_several_seeds(tmp_path: Path) -> None:
    options: dict[str, Any] = {"task": "capitals", "model": "fake", "shots": 1, "limit": 5, "samples": 3}
    runs = EvalConfig(**options, seeds="0,1").run_seeds(out=tmp_path)
    assert runs.table().columns[1] in ("exact match", "accuracy", "exact_match")
    assert len(runs.runs) == 2


def command(monkeypatch: pytest.MonkeyPatch, words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["promptkit", *shlex.split(words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_the_command_prints_tables_or_one_json_object(
    runs: SeedRuns, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = f"eval sentiment --model fake --shots 2 --limit {LIMIT} --calibrate contextual --seeds 0:4 --out {out}"
    assert command(monkeypatch, words) == 0
    text = capsys.readouterr().out
    assert str(runs.table()).splitlines()[0] in text
    assert f"{runs.runs[3].path.name}" in text.replace("\n", "")
    assert command(monkeypatch, f"{words} --json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seeds"] == [0, 1, 2, 3]
    assert [each["align"] for each in printed["results"]] == ["verbalizer", "contextual"]
    assert printed["results"][0]["metrics"]["accuracy"]["values"] == list(runs.spreads()["verbalizer"]["accuracy"].values)
    assert {run["run"] for run in printed["runs"].values()} == {str(run.path) for run in runs.runs.values()}


@pytest.mark.parametrize("other", ["--save folder", "--shard 1/2", "--plot p.png", "--seed 2"])
def test_the_command_refuses_options_of_one_run(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, f"eval sentiment --model fake --seeds 0:2 {other}") == 1
    assert "--seeds 0:2" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
