"""SPSA and CMA-ES: unbiased estimates and convergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from tests.support.objectives import QuadraticObjective, initial_state, steps

# ---- SPSA ---------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.floats(0.01, 2))
@settings(max_examples=5, deadline=None)
def test_spsa_estimates_the_gradient_without_bias(seed: int, perturbation: float) -> None:
    """On a quadratic the two-sided difference is exact, and only the signs are random."""
    begin, target = np.array([[1.0, -2.0], [2.0, 0.5]]), np.array([[0.5, 1.0], [2.0, -1.0]])
    state, scale, rate, count = initial_state(begin), math.sqrt(np.mean(begin**2)), 0.1, 1000
    steps(pk.Spsa(perturbation=perturbation, averaged=count), state, QuadraticObjective(target), 1, rate, seed)
    gradient = (begin - target) * scale
    estimated = -(state.parameters["x"].numpy() - begin) / scale / rate
    assert estimated == pytest.approx(gradient, abs=6 * np.linalg.norm(gradient) / math.sqrt(count))


@given(st.integers(0, 20))
def test_one_spsa_estimate_is_the_slope_along_its_signs(seed: int) -> None:
    begin, target = np.array([3.0, -1.0, 2.0]), np.array([0.0, 1.0, 5.0])
    state, objective, scale = initial_state(begin), QuadraticObjective(target), math.sqrt(14 / 3)
    steps(pk.Spsa(), state, objective, 1, 0.1, seed)
    signs = (objective.tried[0] - begin) / (0.1 * scale)
    assert np.abs(signs) == pytest.approx(np.ones(3), abs=1e-5)
    assert objective.tried[1] == pytest.approx(2 * begin - objective.tried[0], abs=1e-5)
    slope = float((begin - target) @ signs) * scale
    assert state.parameters["x"].numpy() == pytest.approx(begin - 0.1 * scale * slope * signs, abs=1e-4)


def test_spsa_converges_to_the_optimum() -> None:
    state, target = initial_state(np.ones(6)), np.arange(6.0) / 5
    steps(pk.Spsa(averaged=2), state, QuadraticObjective(target), 200, 0.1)
    assert state.parameters["x"].numpy() == pytest.approx(target, abs=0.05)


# ---- CMA-ES -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_cma_es_finds_the_optimum_of_its_subspace_and_stays_in_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    begin, target = chance.normal(size=(6, 5)), chance.normal(size=(6, 5))
    state, objective = initial_state(begin), QuadraticObjective(target)
    steps(pk.CmaEs(subspace=4, sigma=0.5), state, objective, 90, seed=seed)
    moved = np.array([item - begin for item in objective.tried]).reshape(-1, 30)
    sizes, basis = np.linalg.svd(moved[:50])[1:]
    assert (sizes > 1e-4).sum() == 4
    optimum = begin.ravel() + basis[:4].T @ (basis[:4] @ (target - begin).ravel())
    assert state.parameters["x"].numpy().ravel() == pytest.approx(optimum, abs=0.02)


def test_the_first_population_deviates_by_the_scale_of_the_parameters() -> None:
    begin = np.full((20, 30), 7.0)
    objective = QuadraticObjective(begin)
    steps(pk.CmaEs(subspace=40, population=30), initial_state(begin), objective, 1)
    lengths = [np.sqrt(np.mean((item - begin) ** 2)) for item in objective.tried]
    assert np.mean(lengths) == pytest.approx(7, rel=0.1)
    assert len(objective.tried) == 30
