"""HotFlip: the loss does not increase, and only the best allowed tokens are tried."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from tests.support.objectives import QuadraticObjective, initial_state, steps


@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 5))
def test_hotflip_does_not_increase_the_loss(seed: int, candidates: int, length: int) -> None:
    table = np.random.default_rng(seed).normal(size=(length, 12))
    state, objective = initial_state(np.zeros(length)), QuadraticObjective(0, table)
    losses = steps(pk.HotFlip(candidates=candidates), state, objective, 3 * length, seed=seed)
    losses.append(objective._loss(state.parameters["x"].numpy()))
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def test_hotflip_visits_every_position_once_a_sweep_and_tries_the_best_tokens() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 5] = np.inf  # not allowed
    state, objective = initial_state(np.zeros(4)), QuadraticObjective(0, table)
    step, places = pk.HotFlip(candidates=3).begin(state, 0), []
    for _ in range(8):
        before = state.parameters["x"].numpy().astype(int)
        objective.tried.clear()
        step(objective, {})
        state.step += 1
        (place,) = {int(np.flatnonzero(item != before)[0]) for item in objective.tried}
        places.append(place)
        others = [token for token in np.argsort(table[place]) if token != before[place]]
        assert [int(item[place]) for item in objective.tried] == others[:3]
    assert sorted(places[:4]) == sorted(places[4:]) == [0, 1, 2, 3]


def test_hotflip_tries_only_allowed_tokens() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 2:] = np.inf
    state, objective = initial_state(np.zeros(4)), QuadraticObjective(0, table)
    steps(pk.HotFlip(candidates=100), state, objective, 8)
    assert {int(token) for item in objective.tried for token in item} <= {0, 1}
    table[:, 1] = np.inf
    steps(pk.HotFlip(), initial_state(np.zeros(4)), QuadraticObjective(0, table), 4)  # no candidates
