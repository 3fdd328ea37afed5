"""Tests of successive halving against exhaustive scoring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.searches.halving import FEWEST, By, CandidateScore, halve, sizes, sort_key

counts = st.integers(1, 70)
texts = st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=40, unique=True)


@given(candidates=counts, rows=st.integers(1, 300))
def test_rungs_grow_to_all_rows_with_at_most_one_per_halving(candidates: int, rows: int) -> None:
    rung_sizes = sizes(candidates, rows)
    assert rung_sizes == sorted(set(rung_sizes))
    assert rung_sizes[-1] == rows
    assert rung_sizes[0] >= min(rows, FEWEST)
    assert 2 ** len(rung_sizes) <= max(2, 2 * candidates)
    assert all(later <= 2 * sooner + 1 for sooner, later in pairwise(rung_sizes))


def test_sizes_computed_by_hand() -> None:
    assert sizes(32, 100) == [8, 12, 25, 50, 100]
    assert sizes(1, 100) == sizes(2, 100) == [100]
    assert sizes(3, 100) == [50, 100]
    assert sizes(32, 10) == [8, 10]
    assert sizes(32, 5) == [5]


@given(names=texts, rows=st.integers(1, 200), by=st.sampled_from(["metric", "logprob"]), data=st.data())
def test_the_best_candidate_is_found_if_candidates_are_nested(names: list[str], rows: int, by: By, data: st.DataObject) -> None:
    hardness = data.draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows))
    skill = {text: data.draw(st.integers(0, 10)) for text in names}

    def score(candidates: Sequence[str], count: int) -> list[CandidateScore]:
        rights = [sum(hard < skill[text] for hard in hardness[:count]) for text in candidates]
        return [CandidateScore(right / count, float(skill[text])) for text, right in zip(candidates, rights, strict=True)]

    every = dict(zip(names, score(names, rows), strict=True))
    assert halve(names, rows, score, by=by)[-1].best == min(names, key=lambda text: sort_key(text, every[text], by))


@given(names=texts, rows=st.integers(1, 100), order=st.randoms(use_true_random=False), data=st.data())
def test_candidates_of_a_rung_have_the_same_rows_and_the_better_half_is_kept(
    names: list[str], rows: int, order: object, data: st.DataObject
) -> None:
    right = {text: data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)) for text in names}
    calls: list[tuple[frozenset[str], int]] = []

    def score(candidates: Sequence[str], count: int) -> list[CandidateScore]:
        calls.append((frozenset(candidates), count))
        return [CandidateScore(sum(right[text][:count]) / count, 0.0) for text in candidates]

    rungs = halve(names, rows, score)
    assert calls == [(frozenset(rung.standings), rung.rows) for rung in rungs]
    for rung, later in pairwise(rungs):
        kept = list(later.standings)
        assert len(kept) == (len(rung.standings) + 1) // 2
        worst = max(sort_key(text, rung.standings[text], "metric") for text in kept)
        assert all(sort_key(text, rung.standings[text], "metric") > worst for text in rung.standings.keys() - kept)
    order.shuffle(names)
    again = halve(names, rows, score)
    assert [list(rung.standings.items()) for rung in again] == [list(rung.standings.items()) for rung in rungs]


@pytest.mark.parametrize(
    ("by", "order"), [("metric", ["cc", "b", "a", "aa", "bb", "dd"]), ("logprob", ["dd", "cc", "b", "a", "aa", "bb"])]
)
def test_ties_are_broken_by_the_other_score_then_length_then_text(by: By, order: list[str]) -> None:
    scores = {
        "dd": CandidateScore(0.4, -0.5),
        "bb": CandidateScore(0.5, -2.0),
        "aa": CandidateScore(0.5, -2.00001),  # equal after rounding
        "a": CandidateScore(0.5, -2.0),
        "b": CandidateScore(0.5, -1.9),
        "cc": CandidateScore(0.6, -1.8),
    }
    (rung,) = halve(list(scores), 8, lambda texts, _: [scores[text] for text in texts], by=by)
    assert list(rung.standings) == order
