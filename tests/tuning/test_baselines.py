"""Baselines of nearest rows and of a sentence encoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest

import promptkit as pk
from promptkit.classical.baseline import predicted
from promptkit.classical.table import baselines_for
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.models.registry import load
from promptkit.studies.baselines import baselines
from promptkit.tasks.sampling import by_hash
from promptkit.tuning.baselines import NEIGHBORS, NeighborVote, baseline_named, encoder_baseline, free_baselines
from tests.support.errors import refused

TASK = pk.task("sentiment")
ROWS = by_hash(TASK.pool(), 60)
ITEMS = [row.unlabeled() for row in by_hash(TASK.rows("test"), 20)]


def test_the_neighbors_vote_as_in_a_study() -> None:
    task = TASK.with_parts(pool=1.0)
    scores = NeighborVote().predict(task.pool(), [row.unlabeled() for row in by_hash(task.rows("test"), 20)], task.labels)
    study = {each.name: each for each in baselines(task, pk.demos.BM25(k=NEIGHBORS), limit=20).baselines}
    assert [*map(predicted, scores)] == [*study["vote of bm25"].predictions]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:3]])
def test_the_probabilities_of_the_neighbors_sum_to_1(rows: Sequence[LabeledExample]) -> None:
    for scores in NeighborVote().predict(rows, ITEMS, TASK.labels):
        assert math.fsum(map(math.exp, scores.values())) == pytest.approx(1)
        assert scores.keys() == {*TASK.labels}


def test_an_encoder_with_a_regression_learns_labels() -> None:
    regression = encoder_baseline(load("fake"))
    scores = regression.predict(ROWS, [row.unlabeled() for row in ROWS], TASK.labels)
    right = sum(predicted(each) == row.label for each, row in zip(scores, ROWS, strict=True))
    assert right > max(Counter(row.label for row in ROWS).values())
    for each in scores:
        assert math.fsum(map(math.exp, each.values())) == pytest.approx(1)


def test_the_free_baselines_are_those_of_an_evaluation_and_the_neighbors() -> None:
    names = [each.name for each in free_baselines(TASK)]
    assert names == [*(each.name for each in baselines_for(TASK.spec)), "neighbors"]


def test_a_baseline_is_found_by_its_name() -> None:
    for each in (*free_baselines(TASK), encoder_baseline(load("fake"))):
        again = baseline_named(each.name)
        assert again.name == each.name
        assert again.predict(ROWS, ITEMS, TASK.labels) == each.predict(ROWS, ITEMS, TASK.labels)
    with refused(InputError, "unknown-name", name="tfid"):
        baseline_named("tfid")
