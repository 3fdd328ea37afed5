"""The main metric of a task decides and is shown wherever one figure is: alignments, studies, learning curves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.metrics.brier import Brier
from promptkit.metrics.intervals import resamples
from promptkit.metrics.mae import MAE
from promptkit.metrics.selection import corrected_best_statistic
from promptkit.metrics.table import METRICS, difference
from promptkit.runs.recorded import record_metrics
from promptkit.searches.scorer import as_shares
from tests.support import probe_runs

WORDS = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})


# ---- alignments of a finished run -------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=2))
    model = pk.load("fake")
    branches = [pk.Predictor(model, prompt, [WORDS, *chain]) for chain in ([], [pk.calibrate.Contextual()])]
    return pk.evaluate(branches, pk.task("sentiment"), limit=40, out=tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "brier", "f1@positive"])
def test_alignments_differ_in_the_metric_that_was_requested(finished: pk.Run, name: str, tmp_path: Path) -> None:
    folder = tmp_path / finished.path.name
    shutil.copytree(finished.path, folder)
    record_metrics(folder, [name])
    actual = align(folder, "contextual,batch:estimate_on=test")
    table = actual.table()
    first = actual.results[0]
    metric = first.chosen[name]
    assert next(iter(first.metrics)) == name == actual.to_json()["main_metric"]
    assert table.columns[:3] == ("alignment", metric.title, "difference")
    assert ("lower is better" in table.caption) is (name == "brier")
    for result, shown in zip(actual.results[1:], actual.differences[1:], strict=True):
        assert shown == difference(metric, result.metric_input, first.metric_input)


# ---- scores of a search ------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=2), st.floats(0, 2), min_size=1, max_size=5), st.sampled_from([Brier(), MAE()]))
def test_figures_become_shares_in_the_same_order(figures: dict[str, float], metric: Brier | MAE) -> None:
    shares = as_shares(figures, metric)
    assert all(0 <= share <= 1 for share in shares.values())
    names = list(figures)
    for one in names:
        for other in names:
            assert not (figures[one] < figures[other] and shares[one] < shares[other])  # lower is better


# ---- the best of several options ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    def build(k: int, seed: int) -> pk.Predictor:
        return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.Random(k=k, seed=seed)), WORDS)

    return pk.study(
        build, pk.task("sentiment"), limit=30, out=tmp_path_factory.mktemp("runs"), cache=False, k=[0, 2], seed=range(3)
    )


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "ece", "brier"])
def test_the_best_option_has_the_best_value_of_the_metric(study: pk.Study, name: str) -> None:
    higher = METRICS[name].higher_is_better
    frame = study.to_pandas().groupby("k")[name]
    table = study.best(metric=name)
    assert name in table.caption
    assert ("lower is better" in table.caption) is not higher
    for k, count, mean, worst, best, _, _, which in table.rows:
        values = frame.get_group(k)
        low, high = values.min(), values.max()
        assert (count, mean) == (3, pytest.approx(values.mean(), abs=1e-5))
        assert (worst, best) == pytest.approx((low, high) if higher else (high, low), abs=1e-5)
        chosen = study.to_pandas().loc[values.idxmax() if higher else values.idxmin(), "seed"]
        assert which == f"seed={chosen}" or low == high


def test_the_corrected_best_of_a_metric_is_that_of_the_metric_on_rows_that_were_not_drawn() -> None:
    items, generator = 20, np.random.default_rng(3)
    gold = generator.integers(0, 2, items)
    options = [np.where(generator.random(items) < 0.6, gold, 1 - gold) for _ in range(3)]
    inputs = [pk.metrics.MetricInput.of_scores(gold, np.log(np.eye(2)[each] * 0.8 + 0.1)) for each in options]
    statistics = [METRICS["macro_f1"].values(each) for each in inputs]
    assert all(callable(each) for each in statistics)

    def f1(option: np.ndarray, rows: np.ndarray) -> float:
        labels = sorted(set(gold[rows]))
        return float(f1_score(gold[rows], option[rows], labels=labels, average="macro"))

    scores = []
    for weights in resamples(items)[1:].astype(int):
        drawn, outside = np.repeat(np.arange(items), weights), np.flatnonzero(weights == 0)
        best = int(np.argmax(np.round([f1(option, drawn) for option in options], 9)))
        scores.append(f1(options[best], outside))
    found = corrected_best_statistic(statistics, items)  # type: ignore[arg-type]
    assert found.estimate.value == pytest.approx(np.mean(scores), abs=1e-9)
    assert found.own == pytest.approx(max(f1(option, np.arange(items)) for option in options))


def test_the_lowest_of_equal_options_is_expected_to_be_higher_on_new_rows() -> None:
    inputs = np.random.default_rng(4).random((6, 50))
    statistics = [lambda weights, row=row: weights @ row / len(row) for row in inputs]
    low, high = (corrected_best_statistic(statistics, 50, higher_is_better=higher) for higher in (False, True))
    assert low.optimism < 0
    assert high.optimism > 0


# ---- learning curves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["macro_f1", "brier"])
def test_a_learning_curve_shows_the_main_metric(name: str, tmp_path: Path) -> None:
    task = probe_runs.write_task(tmp_path / "task")
    run = probe_runs.run(task, tmp_path / "runs", ["blm+:per_class=8:tokens=20"])
    record_metrics(run.path, [name])
    curve = pk.learning_curve(run.path, per_class=[2, 8], draws=1, task=task)
    metric = METRICS[name]
    (points,) = curve.curves.values()
    assert points[1] is not None
    assert points[1].value == pytest.approx(run.results[0].metrics[name]["value"], abs=1e-5)
    alone = curve.baselines["verbalizer, no labeled rows"][0]
    assert alone is not None
    assert metric.bounds[0] <= alone.low <= alone.value <= alone.high <= metric.bounds[1]
    assert curve.to_json()["metric"] == name
    assert metric.title in curve.table().caption
    assert curve.plot().axes[0].get_ylabel() == metric.title


def test_the_control_of_a_task_with_values_has_their_errors(tmp_path: Path) -> None:
    task = probe_runs.write_task(tmp_path / "task")
    path = tmp_path / "task" / "task.yaml"
    path.write_text(path.read_text()[:-1] + ', "values": {"no": 0, "yes": 4}, "metrics": ["mae"]}')
    task = pk.task(path)
    model = pk.load("fake")
    words = pk.Verbalizer(probe_runs.WORDS, values={"no": 0, "yes": 4})
    predictor = pk.Predictor(model, pk.Prompt("sentiment/review"), [words, pk.labelmap.Full(per_class=4, tokens=20)])
    run = pk.evaluate(predictor, task, limit=12, out=tmp_path / "runs", cache=False)
    curve = pk.learning_curve(run.path, per_class=[2], draws=2, task=task)
    assert curve.metric.name == "mae"
    control = curve.baselines["regression on TF-IDF, no model"][0]
    assert control is not None
    assert (4 * control.value * 12) % 4 == pytest.approx(0)  # each wrong row is off by 4
