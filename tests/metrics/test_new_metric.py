"""A new metric is one file: tables, JSON, studies and comparisons have it without another change."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.analysis.realign import align
from promptkit.core.errors import InputError
from promptkit.metrics import METRICS, Metric, MetricInput, register
from promptkit.metrics.accuracy import Accuracy
from promptkit.metrics.table import difference, estimate
from tests.support.errors import refused
from tests.support.tables import isolate

NAME, TITLE = "surprisal", "surprisal"
METRIC = Path(__file__).parents[1] / "extensions" / "plugins" / "surprisal.py"
WORDS = {"negative": "Negative", "positive": "Positive"}


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """A folder with an installed package, whose only module is the metric."""
    folder = tmp_path / "site"
    (folder / "surprisal-1.0.dist-info").mkdir(parents=True)
    (folder / "surprisal.py").write_bytes(METRIC.read_bytes())
    (folder / "surprisal-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: surprisal\nVersion: 1.0\n")
    (folder / "surprisal-1.0.dist-info" / "entry_points.txt").write_text(
        "[promptkit.metrics]\nsurprisal = surprisal:Surprisal\n"
    )
    return folder


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """Registers the metric, and removes it after the test."""
    isolate(monkeypatch, METRICS)
    register(runpy.run_path(str(METRIC))["Surprisal"])
    return METRICS[NAME]


def branches(model: str = "fake") -> list[pk.Predictor]:
    prompt, labels, loaded = pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS), pk.load(model)
    return [pk.Predictor(loaded, prompt, [labels, *chain]) for chain in ([], [pk.calibrate.Batch(rows=8)])]


def surprisals(result: Any, gold: Any, labels: Any) -> Any:
    normalized = result.logprobs - np.logaddexp.reduce(result.logprobs, axis=1, keepdims=True)
    return np.array([-row[labels.index(label)] for row, label in zip(normalized, gold, strict=True)])


def is_shown(text: str) -> bool:
    """Whether a table has the title of the metric, which may be on two lines."""
    return all(word in text.split() for word in TITLE.split())


def test_a_registered_metric_is_in_the_table_and_the_json_of_a_run(tmp_path: Path, registered: Metric) -> None:
    run = pk.evaluate(branches(), pk.task("sentiment"), limit=20, out=tmp_path)
    assert is_shown(str(run))
    for result, printed in zip(run.results, json.loads(json.dumps(run.to_json()))["results"], strict=True):
        actual = printed["metrics"][NAME]
        assert actual["value"] == pytest.approx(surprisals(result, run.gold, run.labels).mean(), abs=1e-6)
        assert actual["low"] < actual["value"] < actual["high"]
        assert f"{actual['value']:.3f}" in str(run)
        assert list(printed["metrics"]) == ["accuracy", "macro_f1", "ece", "brier", NAME]
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["results"][1]["metrics"][NAME] == run.results[1].metrics[NAME]


def test_a_registered_metric_is_in_comparisons(tmp_path: Path, registered: Metric) -> None:
    one, other = (pk.evaluate(branches(model), pk.task("sentiment"), limit=20, out=tmp_path) for model in ("fake", "fake:b"))
    expected = [surprisals(run.results[index], run.gold, run.labels) for run, index in ((one, 0), (other, 1))]
    by_runs = compare_runs([str(one.path), f"{other.path}:batch:rows=8"])
    by_name = pk.compare(pk.task("sentiment"), limit=20, out=tmp_path, one=branches()[0], other=branches("fake:b")[1])
    for comparison in (by_runs, by_name):
        first, second = (branch["metrics"][NAME] for branch in json.loads(json.dumps(comparison.to_json()))["branches"])
        assert first["difference"] is None
        assert (first["value"]["value"], second["value"]["value"]) == pytest.approx([x.mean() for x in expected])
        assert second["difference"]["value"] == pytest.approx((expected[1] - expected[0]).mean())
        assert is_shown(str(comparison.metrics_table()))
        assert not comparison.branches[0].metrics[NAME].higher_is_better
        assert f"{second['difference']['value']:+.3f}" in str(comparison)


def test_a_registered_metric_is_in_studies_and_realigned_runs(tmp_path: Path, registered: Metric) -> None:
    def build(k: int, seed: int) -> pk.Predictor:
        return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.Random(k=k, seed=seed)), WORDS)

    study = pk.study(build, pk.task("sentiment"), limit=20, out=tmp_path, k=[0, 1], seed=range(2))
    expected = study.to_pandas().groupby("k")[NAME].mean()
    assert [line[1].value for line in study.table(rows="k", metric=NAME).rows] == pytest.approx([*expected], abs=1e-6)
    alignments = align(study.cells[0].run.path, "contextual,batch:estimate_on=test")
    assert is_shown(str(alignments))
    assert f"{alignments.results[1].metrics[NAME]['value']:.3f}" in str(alignments)


def test_an_installed_metric_is_in_the_output_of_the_commands(tmp_path: Path, extension: Path) -> None:
    def command(*words: str) -> str:
        path = f"sys.path.insert(0, {str(extension)!r})"
        code = f"import sys; {path}; sys.argv = ['promptkit', *sys.argv[1:]]; from promptkit.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    evaluation = ("eval", "sentiment", "--limit", "10", "--model")
    one = json.loads(command(*evaluation, "fake", "--json"))
    assert NAME in one["results"][0]["metrics"]
    assert is_shown(command(*evaluation, "fake"))
    other = json.loads(command(*evaluation, "fake:b", "--json"))
    compared = json.loads(command("compare", one["run"], other["run"], "--json"))
    assert [branch["metrics"][NAME]["value"]["value"] for branch in compared["branches"]] == pytest.approx(
        [run["results"][0]["metrics"][NAME]["value"] for run in (one, other)], abs=1e-6
    )
    assert is_shown(command("compare", one["run"], other["run"]))


def test_a_metric_applies_only_to_its_outputs(tmp_path: Path, registered: Metric) -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("facts/capital"), pk.extract.FirstLine(max_tokens=3))
    run = pk.evaluate(predictor, pk.task("capitals"), limit=6, out=tmp_path)
    assert list(run.results[0].metrics) == ["exact_match", "no_answer"]
    assert not is_shown(str(run))


def test_the_interval_of_a_difference_is_paired() -> None:
    generator = np.random.default_rng(0)
    gold, logprobs = generator.integers(0, 3, 300), generator.normal(size=(300, 3))
    one, other = (MetricInput.of_scores(gold, logprobs + shift * generator.normal(size=(300, 3))) for shift in (0, 0.05))
    for metric in (METRICS["ece"], METRICS["macro_f1"], METRICS["brier"], METRICS["accuracy"]):
        change = difference(metric, other, one)
        values = [estimate(metric, rows) for rows in (one, other)]
        assert change.value == pytest.approx(values[1].value - values[0].value)
        assert change.low <= change.value <= change.high
        assert change.high - change.low < values[0].high - values[0].low
        same = difference(metric, one, one)
        assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_class_without_the_attributes_of_a_metric_is_refused() -> None:
    with refused(InputError, "incomplete-class", kind="metric", name="Mine"):
        register(type("Mine", (), {"name": "mine"}))
    assert "mine" not in METRICS


@pytest.mark.parametrize(
    ("interval", "values"),
    [
        ("wilson", np.array([0.0, 1.5])),
        ("wilson", np.array([0.0, -0.5])),
        ("wilson", np.sum),
        ("bootstrap", np.array([0.0, np.nan])),
        ("bootstrap", np.array([0.0, np.inf])),
        ("bootstrap", np.zeros(3)),
        ("bootstrap", np.zeros((2, 1))),
        ("bootstrap", 0.5),
        ("bootstrap", lambda weights: np.full(len(weights), np.nan)),
    ],
)
def test_values_without_an_interval_are_refused(interval: str, values: Any) -> None:
    metric: Any = type("Mine", (Accuracy,), {"name": "mine", "interval": interval, "values": lambda self, rows: values})()
    with refused(InputError, "invalid-metric-values", metric="mine", rows=2):
        estimate(metric, MetricInput.of_scores(np.array([0, 1]), np.zeros((2, 2))))
