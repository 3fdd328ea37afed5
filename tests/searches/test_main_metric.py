"""Searches choose an instruction by the main metric, in its direction."""

from __future__ import annotations

import pytest

from promptkit.metrics.table import METRICS, estimate
from tests.support.obedient import SKILL, search


@pytest.mark.usefixtures("search_folder")
@pytest.mark.parametrize("name", ["macro_f1", "brier", "ece"])
def test_an_instruction_is_chosen_by_the_main_metric(name: str) -> None:
    found = search("labels", method="list", instructions=list(SKILL), metrics=name)
    last, choose = found.rungs[-1], max if METRICS[name].higher_is_better else min
    assert last.standings[found.instruction].metric == choose(score.metric for score in last.standings.values())
    assert found.metric.name == name == found.comparison.main_metric
    run = found.comparison.runs[-1]
    assert found.held_out.value == pytest.approx(estimate(METRICS[name], run.results[-1].metric_input).value)
    assert found.corrected.own == pytest.approx(last.standings[found.instruction].metric)
    sign = 1 if METRICS[name].higher_is_better else -1
    assert found.optimism == pytest.approx(sign * (found.corrected.own - found.corrected.estimate.value))
    assert f"{METRICS[name].title} per rung" in found.table().caption
    assert found.to_json()["metric"] == name
