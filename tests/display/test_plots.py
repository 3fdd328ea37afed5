"""Plots of studies: they show the values of the tables, are accessible, and have no side effects."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import promptkit as pk
from promptkit.core.distribution import install_command
from promptkit.core.errors import MissingPackage
from promptkit.display import plots
from promptkit.models.registry import load
from promptkit.studies.cells import StudiedTask
from tests.support.errors import refused

SELECT: dict[str, Any] = {
    "random": pk.demos.Random,
    "balanced": pk.demos.Balanced,
    "first": lambda k, seed: pk.demos.First(k=k),
}


def build(demos: str, k: int, seed: int) -> pk.Predictor:
    prompt = pk.Prompt("sentiment/review", demos=SELECT[demos](k=k, seed=seed))
    return pk.Predictor(load("fake"), prompt, {"negative": "Negative", "positive": "Positive"})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    grid = {"demos": [*SELECT], "k": [0, 2, 4], "seed": range(3)}
    return pk.study(build, pk.task("sentiment"), limit=20, out=tmp_path_factory.mktemp("runs"), cache=False, **grid)


def test_lines_show_the_values_of_the_table(study: pk.Study) -> None:
    (axes, *_) = study.plot(x="k", color="demos").axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "2", "4"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("k (demonstrations)", "accuracy (share of items)")
    rows = study.table(rows="demos", columns="k").rows
    for (name, *means), container in zip(rows, axes.containers, strict=True):
        line, _, (bars,) = container
        assert container.get_label() == name
        assert line.get_ydata() == pytest.approx([mean.value for mean in means])
        ends = [sorted(segment[:, 1]) for segment in bars.get_segments()]
        assert ends == pytest.approx(np.array([[mean.low, mean.high] for mean in means]))
    xs = np.array([container[0].get_xdata() for container in axes.containers])
    assert (np.diff(xs, axis=0) > 0).all(), "error bars overlap"


def test_baselines_are_separate_lines(study: pk.Study) -> None:
    baselines = study.baselines(pk.demos.Random(k=2), pk.demos.Random(k=4))
    (axes, *_) = study.plot(baselines=baselines).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["random", "balanced", "first", *dict.fromkeys(baseline.name for baseline in baselines.baselines)]
    drawn = {line.get_label(): line for line in axes.get_lines()}
    majority, vote = drawn["majority of the pool"], drawn["vote of random"]
    assert set(majority.get_ydata()) == {baselines.baselines[0].estimate.value}
    assert tuple(majority.get_xdata()[[0, -1]]) == axes.get_xlim()
    assert list(vote.get_xdata()) == [1, 2]
    assert vote.get_marker() != ""


def test_a_heat_map_shows_the_values_of_the_table(study: pk.Study) -> None:
    (axes, *_) = study.heatmap(rows="demos", columns="k").axes
    shown = [text.get_text() for text in axes.texts]
    means = [mean for line in study.table(rows="demos", columns="k").rows for mean in line[1:]]
    assert shown == [f"{mean.value:.3f}\n{mean.low:.2f}–{mean.high:.2f}" for mean in means]


def test_a_dot_plot_has_one_dot_per_seed(study: pk.Study) -> None:
    (axes, *_) = study.where(k=4).spread().axes
    dots = [line for line in axes.get_lines() if line.get_marker() not in ("", "None")]
    frame = study.where(k=4).to_pandas()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [*SELECT]
    for name, line in zip(SELECT, dots, strict=True):
        assert line.get_xdata() == pytest.approx(frame[frame["demos"] == name]["accuracy"].to_numpy(), abs=1e-6)
        assert len(set(line.get_ydata())) == 3


def test_missing_combinations_are_left_out(study: pk.Study) -> None:
    cells = tuple(cell for cell in study.cells if cell.values["k"] != 4 or cell.values["demos"] != "first")
    part = replace(study, cells=cells)
    assert [len(container[0].get_xdata()) for container in part.plot().axes[0].containers] == [3, 3, 2]
    assert part.heatmap("demos", "k").axes[0].texts[-1].get_text() == "–"
    assert len(part.spread().axes[0].get_yticklabels()) == 8


def luminance(color: str) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_lines_differ_without_color_and_colors_are_visible_on_white() -> None:
    assert len(set(plots.MARKERS)) == len(plots.COLORS) == 8
    assert all(1.05 / (luminance(color) + 0.05) > 2 for color in plots.COLORS)
    styles = [(plots.MARKERS[i % len(plots.MARKERS)], str(plots.DASHES[i % len(plots.DASHES)])) for i in range(16)]
    assert all(one != other for one, other in pairwise(styles))
    assert len(set(styles)) == 16


def test_a_study_has_a_notebook_representation(study: pk.Study) -> None:
    html = study._repr_html_()
    assert html.count("<table>") == 1
    assert "data:image/png;base64,iVBOR" in html
    assert study.plot()._repr_png_().startswith(b"\x89PNG")
    assert "<img" in study.where(k=2)._repr_html_()  # the spread
    assert "<img" not in study.where(k=2, seed=1)._repr_html_()
    markup = replace(study, tasks=(StudiedTask(name="x", split="<script>"),))
    assert "&lt;script&gt;" in markup._repr_html_()
    assert "<script>" not in markup._repr_html_()


def test_without_the_extra_plots_are_refused_and_the_table_is_shown(study: pk.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    calls = ((study.plot, "matplotlib"), (study.to_pandas, "pandas"), (study.table().to_pandas, "pandas"))
    for call, package in calls:
        with refused(MissingPackage, "missing-package", package=package, extra="studies") as raised:
            call()
        assert install_command("studies") in str(raised.value)
    assert "<table>" in study._repr_html_()


DRAW = """
import sys
from promptkit.metrics.intervals import Estimate
from promptkit.display import plots
point = Estimate(value=0.5, low=0.4, high=0.6)
series = [plots.Series(name=str(i), points=(point, None, point)) for i in range(12)]
figure = plots.lines(series, ticks="abc", x="x", y="y", legend="", title="", caption="")
plots.png(figure)
assert "matplotlib.pyplot" not in sys.modules
"""


def test_drawing_does_not_load_pyplot() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", DRAW], check=True)
