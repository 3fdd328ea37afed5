"""Accuracy against labeled rows per class, from one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.cli.main import main
from promptkit.core.errors import InputError, RunError
from promptkit.studies.learning_curve import LearningCurve
from tests.models.vision.tiny import convolutional
from tests.support import probe_runs
from tests.support.errors import refused
from tests.support.image_files import squares

SPELLINGS = [f"{name}:per_class=8:tokens=20" for name in ("blm+", "knn", "full")] + ["contextual"]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> pk.Task:
    return probe_runs.write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def finished(task: pk.Task, tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return probe_runs.run(task, tmp_path_factory.mktemp("runs"), SPELLINGS)


@pytest.fixture(scope="module")
def curve(finished: pk.Run, task: pk.Task) -> LearningCurve:
    return pk.learning_curve(finished.path, per_class=[1, 2, 8, 1000], draws=3, task=task)


def test_every_aligner_with_labeled_rows_has_a_point_for_each_number(curve: LearningCurve) -> None:
    assert [*curve.curves] == ["blm+:tokens=20", "knn:tokens=20", "full:tokens=20"]
    assert curve.per_class == (1, 2, 8)  # the run has not stored 1000 rows
    assert curve.stored >= 8
    for points in curve.curves.values():
        assert len(points) == 3
        assert all(point is None or 0 <= point.low <= point.value <= point.high <= 1 for point in points)


def test_an_aligner_that_needs_more_rows_has_a_gap(finished: pk.Run) -> None:
    knn = pk.learning_curve(finished.path, calibrate="knn:tokens=20", per_class=[1, 2], draws=2).curves["knn:tokens=20"]
    assert knn[0] is None  # three neighbors vote, and there are two rows
    assert knn[1] is not None


def test_with_the_rows_of_the_run_the_accuracy_is_that_of_the_run(finished: pk.Run) -> None:
    curve = pk.learning_curve(finished.path, calibrate="blm+:tokens=20", per_class=[8], draws=1)
    (point,) = curve.curves["blm+:tokens=20"]
    assert point is not None
    assert point.value == pytest.approx(finished.results[0].correct.mean())


def test_the_same_run_gives_the_same_curve_and_draws_differ(finished: pk.Run, task: pk.Task, curve: LearningCurve) -> None:
    assert pk.learning_curve(finished.path, per_class=[1, 2, 8], draws=3, task=task) == curve
    values = [pk.learning_curve(finished.path, calibrate="full:tokens=20", per_class=[1], draws=n).curves for n in (1, 2, 3, 4)]
    assert len({str(value) for value in values}) > 1


def test_baselines_use_no_label_map(curve: LearningCurve, finished: pk.Run) -> None:
    assert [*curve.baselines] == ["verbalizer, no labeled rows", "regression on TF-IDF, no model"]
    assert len({str(point) for point in curve.baselines["verbalizer, no labeled rows"]}) == 1
    assert [*pk.learning_curve(finished.path, per_class=[1]).baselines] == ["verbalizer, no labeled rows"]


def test_tables_plots_and_json_have_the_same_values(curve: LearningCurve) -> None:
    printed = json.loads(json.dumps(curve.to_json()))
    table = {name: cells for name, *cells in curve.table().rows}
    (axes, *_) = curve.plot().axes
    for (name, points), container in zip(curve.curves.items(), axes.containers, strict=True):
        values = [point.value for point in points if point is not None]
        assert [*container[0].get_ydata()] == values
        assert [point["value"] for point in printed["curves"][name] if point] == values
        assert table[name] == list(points)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "8"]


def test_images_are_compared_with_a_regression_on_pixels(tmp_path: Path) -> None:
    images, labels = squares(160)
    task = pk.image_task(images, labels, label_names=["left", "right"], name="squares")
    chain: list[Any] = [pk.Classes(["left", "right"]), pk.labelmap.Full(per_class=6)]
    run = pk.evaluate(pk.Predictor(convolutional(), pk.ImageProcessor(), chain), task, limit=20, out=tmp_path, cache=False)
    curve = pk.learning_curve(run.path, per_class=[1, 4], draws=2, task=task)
    assert [*curve.baselines] == ["regression on pixels, no model"]  # the classes alone predict nothing
    assert all(point is not None for point in curve.curves["full"])


def test_runs_without_learned_aligners_or_rows_and_changed_data_are_refused(
    finished: pk.Run, task: pk.Task, tmp_path: Path
) -> None:
    with refused(InputError, "no-learned-aligner", folder=str(finished.path)):
        pk.learning_curve(finished.path, calibrate="linear")
    with refused(InputError, "too-few-labeled-rows", needed=1000):
        pk.learning_curve(finished.path, per_class=[1000])
    with refused(RunError, "data-changed", task="sentiment"):
        pk.learning_curve(finished.path, per_class=[1], task=pk.task("sentiment"))


def test_the_command_prints_json_or_a_table_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["promptkit", *words])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    options = ("--labelmap", "blm+", "--per-class", "6", "--limit", "10", "--out", str(tmp_path), "--json")
    run = json.loads(typed("eval", "sentiment", "--model", "fake", "--shots", "0", *options))["run"]
    figure = tmp_path / "curve.png"
    printed = json.loads(typed("curve", run, "--per-class", "4,1", "--draws", "2", "--plot", str(figure), "--json"))
    assert printed["per_class"] == [1, 4]
    assert [*printed["baselines"]] == ["verbalizer, no labeled rows", "regression on TF-IDF, no model"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "1 per class" in typed("curve", run, "--calibrate", "all", "--per-class", "1")
    monkeypatch.setattr("sys.argv", ["promptkit", "curve", run, "--per-class", "0"])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 1
    assert np.isfinite(printed["curves"]["blm+"][0]["value"])
