"""The tests that a race drops candidates by, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_rel

from promptkit.tuning.rules import BASELINE, Rules, sign_test, t_test

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40)
"""For each row: whether the leader is right, whether the candidate is, and how often the row is drawn."""


@given(ANSWERS)
def test_the_sign_test_equals_scipy(rows: list[tuple[bool, bool, int]]) -> None:
    leader, candidate, drawn = np.array(rows, float).T
    p, gap = sign_test((leader - candidate)[None], drawn[None], 0.1)
    won, lost = drawn[candidate > leader].sum(), drawn[leader > candidate].sum()
    assert p[0, 0] == pytest.approx(binomtest(int(won), int(won + lost)).pvalue if won + lost else 1)
    table = np.array([won, lost, drawn.sum() - won - lost, 0]) + 0.5
    share = table / table.sum()
    difference = share[1] - share[0]
    error = np.sqrt((share[0] + share[1] - difference**2) / table.sum())  # Wald's interval with half a row in each cell
    assert gap[0, 0] == pytest.approx(difference + norm.ppf(0.95) * error)


@given(st.integers(0, 10**6), st.integers(3, 30))
def test_the_t_test_equals_scipy(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    leader, candidate = generator.normal(size=(2, count))
    drawn = np.bincount(generator.integers(0, count, count), minlength=count)
    assume(np.count_nonzero(drawn) > 1)
    p, gap = t_test((leader - candidate)[None], drawn[None].astype(float), 0.1)
    expected = ttest_rel(np.repeat(leader, drawn), np.repeat(candidate, drawn))
    assert p[0, 0] == pytest.approx(expected.pvalue)
    assert gap[0, 0] == pytest.approx(expected.confidence_interval(0.9).high)


def test_equal_values_do_not_differ_and_constant_differences_do() -> None:
    differences = np.array([[0.0] * 9, [0.1] * 9])
    p, gap = t_test(differences, np.ones((1, 9)), 0.1)
    assert p[0].tolist() == [1, 0]
    assert gap[0].tolist() == [0, pytest.approx(0.1)]


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.booleans())
def test_resamples_are_compared_like_their_rows(seed: int, is_share: bool) -> None:
    """The comparison of many resamples at once equals that of the rows of each resample, written out."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(5, 20)) + generator.normal(size=(5, 1))
    values = (values > 0) * 1.0 if is_share else values
    weights = generator.multinomial(20, np.full(20, 1 / 20), size=4).astype(float)
    rules = Rules(prompts=np.array([BASELINE, 0, 0, 1, 2]), tokens=np.arange(5.0), alpha=0.1, tolerance=0.02)
    left = np.ones((4, 5), bool)
    together = rules.standings(values, weights, left)
    for number, drawn in enumerate(weights):
        rows = np.repeat(values, drawn.astype(int), axis=1)
        alone = rules.standings(rows, np.ones((1, 20)), left[:1])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[number], other[0], atol=1e-9)
        assert (rules.remaining(together, left)[number] == rules.remaining(alone, left[:1])[0]).all()
        assert (rules.best_prompts(together, left, 2)[number] == rules.best_prompts(alone, left[:1], 2)[0]).all()


def test_only_the_best_prompts_remain() -> None:
    rules = Rules(prompts=np.array([BASELINE, 0, 0, 1, 2]), tokens=np.zeros(5), alpha=0.1, tolerance=0.02)
    values = np.repeat(np.array([[0.0], [0.3], [0.9], [0.5], [0.7]]), 4, axis=1)
    standings = rules.standings(values, np.ones((1, 4)), np.ones((1, 5), bool))
    assert rules.best_prompts(standings, np.ones((1, 5), bool), 1)[0].tolist() == [True, True, True, False, False]
    assert rules.best_prompts(standings, np.ones((1, 5), bool), 2)[0].tolist() == [True, True, True, False, True]


def test_a_candidate_without_scores_neither_leads_nor_is_tested() -> None:
    rules = Rules(prompts=np.array([0, 0, 1, 2]), tokens=np.zeros(4), alpha=0.1, tolerance=0.02)
    values = np.vstack([np.full(40, np.nan), np.zeros(40), np.ones(40), np.full(40, np.nan)])
    left = np.ones((1, 4), bool)
    standings = rules.standings(values, np.ones((1, 40)), left)
    assert standings.leader[0] == 2
    assert not rules.behind(standings)[0, [0, 3]].any()
    assert rules.cheapest(standings)[0] == 2
