"""The figures of a study against independent computations: pandas, textbook formulas, simulations of known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.metrics.intervals import Estimate, mean_of, resamples
from promptkit.models.registry import load
from promptkit.studies.measures import interval
from promptkit.studies.variance import RESIDUAL, components, mean_squares, moments
from tests.support.errors import refused

SELECT = {"random": pk.demos.Random, "balanced": pk.demos.Balanced}
WORDS = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})


def build(demos: str, k: int, seed: int) -> list[pk.Predictor]:
    prompt = pk.Prompt("sentiment/review", demos=SELECT[demos](k=k, seed=seed))
    chains: list[list[Any]] = [[], [pk.calibrate.Contextual()]]
    return [pk.Predictor(load("fake"), prompt, [WORDS, *chain]) for chain in chains]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    grid = {"demos": ["random", "balanced"], "k": [0, 2, 4], "seed": range(3)}
    return pk.study(build, pk.task("sentiment"), limit=30, out=tmp_path_factory.mktemp("runs"), cache=False, **grid)


# ---- tables against pandas --------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "ece", "brier"])
def test_a_table_shows_means(study: pk.Study, metric: str) -> None:
    table = study.table(rows=["demos", "align"], columns="k", metric=metric)
    expected = study.to_pandas().groupby(["demos", "align", "k"])[metric].mean()
    assert table.columns == ("demos", "align", "k=0", "k=2", "k=4")
    assert "mean over seed (3)" in table.caption
    for demos, align, *means in table.rows:
        for k, item in zip((0, 2, 4), means, strict=True):
            assert isinstance(item, Estimate)
            assert item.value == pytest.approx(expected[demos, align, k], abs=1e-5)
            assert item.low <= item.value <= item.high


def test_a_single_run_keeps_its_interval(study: pk.Study) -> None:
    (line,) = study.where(k=0, demos="random", align="verbalizer").table(rows="demos").rows
    assert line[1] == Estimate(**study.cells[0].result.metrics["accuracy"])


def test_a_comparison_is_the_mean_of_paired_differences(study: pk.Study) -> None:
    items = study.to_pandas(items=True)
    wide = items.set_index(["k", "seed", "align", "id", "demos"])["correct"].unstack("demos")
    expected = (wide["balanced"].astype(float) - wide["random"].astype(float)).groupby("k").mean()
    table = study.compare(on="demos", to="random", by="k")
    assert [line[:2] for line in table.rows] == [("balanced", k) for k in (0, 2, 4)]
    for line in table.rows:
        assert line[3].value == pytest.approx(expected[line[1]])
    assert table.rows[0][3:] == (Estimate(value=0.0, low=0.0, high=0.0), 1.0, 1.0)  # without demonstrations they are one run


def test_best_equals_pandas(study: pk.Study) -> None:
    frame = study.where(align="contextual").to_pandas()
    groups = frame.groupby(["demos", "k"])["accuracy"]
    for demos, k, count, mean, worst, best, new, optimism, which in study.where(align="contextual").best().rows:
        group = groups.get_group((demos, k))
        assert (count, worst, best) == (3, pytest.approx(group.min(), abs=1e-6), pytest.approx(group.max(), abs=1e-6))
        assert mean == pytest.approx(group.mean(), abs=1e-6)
        assert which == f"seed={frame.loc[group.idxmax(), 'seed']}"
        assert isinstance(new, Estimate)
        assert optimism == pytest.approx(best - new.value)
        assert abs(optimism) < 0.01 if k == 0 else -0.01 < optimism < 0.2  # without demonstrations all seeds are equal


def test_the_frame_of_items_has_every_prediction(study: pk.Study) -> None:
    items = study.to_pandas(items=True)
    assert len(items) == len(study.cells) * study.n
    assert ((items["gold"] == items["prediction"]) == items["correct"]).all()
    pd.testing.assert_series_equal(
        items.groupby(["demos", "k", "seed", "align"])["correct"].mean().rename("accuracy"),
        study.to_pandas().groupby(["demos", "k", "seed", "align"])["accuracy"].mean(),
        atol=1e-6,
    )


def test_generated_texts_have_separate_metrics(tmp_path: Path) -> None:
    def write(k: int, seed: int) -> pk.Predictor:
        prompt = pk.Prompt("facts/capital", demos=pk.demos.Random(k=k, seed=seed))
        return pk.Predictor(load("fake"), prompt, pk.extract.FirstLine(max_tokens=3))

    runs = pk.study(write, pk.task("capitals"), limit=6, out=tmp_path, k=[0, 1], seed=range(2))
    assert runs.table(rows="k").columns == ("k", "exact_match")
    actual = runs.to_pandas().groupby("k")["no_answer"].mean()
    assert [line[1].value for line in runs.table(rows="k", metric="no_answer").rows] == pytest.approx([*actual])
    with refused(TaskError, "no-fixed-labels", task="capitals"):
        runs.baselines()


@pytest.mark.parametrize(
    ("query", "kind", "name", "close"),
    [
        (lambda s: s.where(k=3), "value of k in the study", "3", []),
        (lambda s: s.where(kk=3), "dimension of the study", "kk", ["k"]),
        (lambda s: s.table(rows="demo"), "dimension of the study", "demo", ["demos"]),
        (lambda s: s.table(metric="acuracy"), "metric of the study", "acuracy", ["accuracy"]),
        (lambda s: s.compare(on="demos", to="randum"), "value of demos in the study", "randum", ["random"]),
        (lambda s: s.compare(on="demos", to="random", by="x"), "dimension of the study", "x", []),
        (lambda s: s.best(over="seeds"), "dimension of the study", "seeds", ["seed"]),
        (lambda s: s.plot(x="q"), "dimension of the study", "q", []),
    ],
)
def test_unknown_values_dimensions_and_metrics_are_refused(
    study: pk.Study, query: Any, kind: str, name: str, close: list[str]
) -> None:
    with refused(InputError, "unknown-name", kind=kind, name=name, close=close):
        query(study)


def test_a_plot_needs_a_numeric_dimension(study: pk.Study) -> None:
    with refused(InputError, "no-numeric-dimension", dimensions=("demos", "k", "seed", "align")):
        study.where(k=0).plot()


# ---- variance components ----------------------------------------------------------------------

shapes = st.lists(st.integers(2, 4), min_size=2, max_size=4)


@given(shapes, st.integers(0, 2**32 - 1))
def test_mean_squares_sum_to_the_variance_and_ignore_the_order_of_levels(shape: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 2, shape).astype(float)
    table = mean_squares(values)
    degrees = {axes: np.prod([shape[axis] - 1 for axis in axes]) for axes in table}
    assert sum(table[axes] * degrees[axes] for axes in table) == pytest.approx(values.size * values.var())
    moved = values[np.ix_(*(generator.permutation(size) for size in shape))]
    assert mean_squares(moved) == pytest.approx(table)


def test_two_factors_equal_the_textbook_formulas() -> None:
    values = np.random.default_rng(1).normal(size=(4, 9))
    seeds, items = values.shape
    seed_square, item_square = items * values.mean(1).var(ddof=1), seeds * values.mean(0).var(ddof=1)
    left = values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean()
    interaction = (left**2).sum() / ((seeds - 1) * (items - 1))
    actual = {part.name: part.variance for part in components(values, ["seed", "items"])}
    expected = {
        "seed": (seed_square - interaction) / items,
        "items": (item_square - interaction) / seeds,
        RESIDUAL: interaction,
    }
    assert actual == pytest.approx(expected)


def test_estimates_of_known_components_are_unbiased() -> None:
    """Simulates three crossed factors with an effect of known variance for every set of them."""
    shape, generator, count = (4, 3, 6), np.random.default_rng(2), 3000
    truth = {(0,): 0.5, (1,): 0.3, (2,): 1.0, (0, 1): 0.0, (0, 2): 0.4, (1, 2): 0.2, (0, 1, 2): 0.6}
    actual = []
    for _ in range(count):
        values = np.zeros(shape)
        for axes, variance in truth.items():
            size = [shape[axis] if axis in axes else 1 for axis in range(3)]
            values = values + generator.normal(0, variance**0.5, size)
        actual.append([*moments(mean_squares(values), shape).values()])
    errors = np.std(actual, axis=0) / count**0.5
    assert (np.abs(np.mean(actual, axis=0) - [*truth.values()]) < 4 * errors).all()


def test_components_of_binary_answers_equal_their_known_values() -> None:
    """Seeds shift the probability of all items: the variance of p_s = 0.5 +- 0.2 is 0.04, and the rest is noise."""
    generator = np.random.default_rng(3)
    shares = []
    for _ in range(200):
        chance = 0.5 + 0.2 * generator.choice([-1, 1], size=(5, 1))
        values = (generator.random((5, 200)) < chance).astype(float)
        shares.append([part.variance for part in components(values, ["seed", "items"])])
    seed, items, residual = np.mean(shares, axis=0)
    assert seed == pytest.approx(0.04, abs=0.004)
    assert items == pytest.approx(0.0, abs=0.002)
    assert residual == pytest.approx(0.25 - 0.04, abs=0.004)


def test_variance_needs_every_combination_and_names_the_dimensions(study: pk.Study) -> None:
    table = study.where(align="contextual", k=[2, 4]).variance()
    assert [line[0] for line in table.rows] == [
        *("demos", "k", "seed", "items", "demos × k", "demos × seed", "demos × items", "k × seed", "k × items", "seed × items"),
        RESIDUAL,
    ]
    assert sum(line[2] for line in table.rows) == pytest.approx(1)
    assert study.where(seed=0, k=2, demos="random").variance().rows[-1][0] == RESIDUAL
    every = len(study.cells)
    with refused(InputError, "missing-combinations", combinations=every, evaluated=every - 1):
        replace(study, cells=study.cells[1:]).variance()


# ---- intervals --------------------------------------------------------------------------------------


def test_the_variance_of_a_proportion_equals_two_crossed_factors() -> None:
    generator = np.random.default_rng(4)
    correct = (generator.normal(1, 1, 300) + generator.normal(0, 0.4, (6, 1)) + generator.normal(0, 0.5, (6, 300)) > 0) * 1.0
    actual = interval(np.array([mean_of(row)(resamples(300)) for row in correct]), 300, (0, 1))
    squares = mean_squares(correct)
    variance = (squares[0,] + squares[1,] - squares[0, 1]) / correct.size
    degrees = variance**2 / ((squares[0,] / correct.size) ** 2 / 5 + (squares[1,] / correct.size) ** 2 / 299)
    half = t.ppf(0.975, degrees) * variance**0.5
    assert (actual.value - actual.low, actual.high - actual.value) == pytest.approx((half, half), rel=0.06)


@pytest.mark.parametrize(("seeds", "seed_effect", "interaction"), [(5, 0.3, 0.5), (5, 0.0, 0.5), (3, 0.3, 0.3), (5, 0.6, 0.5)])
def test_the_interval_has_its_nominal_coverage(seeds: int, seed_effect: float, interaction: float) -> None:
    """An item is correct if the sum of item, seed and interaction effects, all normal, is above 0."""
    generator, covered, rounds, items = np.random.default_rng(5), 0, 200, 150
    truth = norm.cdf(1 / np.sqrt(1 + seed_effect**2 + interaction**2))
    for _ in range(rounds):
        latent = 1 + generator.normal(0, 1, items) + generator.normal(0, seed_effect, (seeds, 1))
        correct = (latent + generator.normal(0, interaction, (seeds, items)) > 0) * 1.0
        actual = interval(correct @ resamples(items).T / items, items, (0, 1))
        covered += actual.low <= truth <= actual.high
    assert 0.88 <= covered / rounds <= 0.995


def test_equal_seeds_do_not_change_the_interval() -> None:
    values = mean_of((np.random.default_rng(6).random(200) < 0.7) * 1.0)(resamples(200))
    one, five = interval(values[None], 200, (0, 1)), interval(np.tile(values, (5, 1)), 200, (0, 1))
    assert one == five
