"""Simulated races of candidates of known accuracy: a few of `benchmarks/tune_simulation`, and its committed figures."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from tests.support.paths import ROOT
from tests.tuning.simulation import HERE, TABLES, Setting, replicate

RESULTS = json.loads((HERE / "results.json").read_text("utf-8"))
KNOWN = [each for each in RESULTS["settings"] if each["spread"]]
AT_CHANCE = [each for each in RESULTS["settings"] if not each["spread"]]


@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_the_estimate_is_about_right_and_the_choice_about_as_good_as_that_of_all(spread: float) -> None:
    races = [replicate(Setting(24, 0.65, spread, 0.5), seed) for seed in range(30)]
    mean = {name: fmean(each[name] for each in races) for name in races[0]}
    assert mean["cost"] <= 0.5
    assert abs(mean["bias"]) < 0.04
    assert mean["bias"] < mean["own_bias"]
    assert mean["covered"] > 0.8
    assert mean["difference_covered"] > 0.8
    assert mean["regret"] < mean["regret_of_all"] + 0.03


def test_at_chance_hardly_anything_beats_the_baseline() -> None:
    races = [replicate(Setting(24, 0.5, 0.0, 0.5), seed) for seed in range(30)]
    assert sum(each["beats_baseline"] for each in races) <= 4


def test_the_committed_figures_hold_what_is_promised() -> None:
    assert RESULTS["replicates"] == 200
    assert {each["candidates"] for each in KNOWN} == {24, 60}
    for each in KNOWN:
        assert abs(each["bias"]) <= 0.015
        assert each["covered"] >= 0.93
        if each["budget"]:
            assert each["cost"] <= 0.5
            assert each["regret"] <= each["regret_of_all"] + 0.005
    assert AT_CHANCE
    assert all(each["beats_baseline"] <= 0.05 for each in AT_CHANCE)


def test_the_readme_shows_the_committed_figures() -> None:
    text = (ROOT / "benchmarks" / "tune_simulation" / "README.md").read_text("utf-8")
    for name, table in TABLES.items():
        section = text.split(f"<!-- begin {name} -->")[1].split(f"<!-- end {name} -->")[0]
        assert section.strip().splitlines() == list(table(RESULTS["settings"]))
