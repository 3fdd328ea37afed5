"""Notes on new rows that differ from labeled ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from promptkit.predictor.decide import drift
from promptkit.predictor.decide.drift import Drift
from tests.predictor.decide.rows import take, trec, two_labels


def test_rows_of_the_same_task_cause_a_note_in_at_most_1_percent_of_200_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "LEAST_DIFFERENCE", 0.0)  # the tests alone
    monkeypatch.setattr(drift, "PERMUTATIONS", 399)
    rows, generator, noted = trec(), np.random.default_rng(0), 0
    for _ in range(200):
        order = generator.permutation(len(rows))
        comparison = Drift(take(rows, order[:200]))
        comparison.add(rows.probabilities[order[200:800]])
        noted += bool(comparison.notes())
    assert noted <= binom.ppf(0.999, 200, 0.01)


def test_other_label_shares_are_noted() -> None:
    rows = trec()
    comparison = Drift(take(rows, np.arange(300)))
    new = rows.probabilities[300:]
    comparison.add(new[np.isin(new.argmax(1), (0, 1))])
    assert any("is predicted for" in note for note in comparison.notes())


def test_another_confidence_is_noted() -> None:
    rows = trec()
    comparison = Drift(take(rows, np.arange(300)))
    flatter = rows.probabilities[300:] ** 0.3
    comparison.add(flatter / flatter.sum(1, keepdims=True))
    (note,) = comparison.notes()
    assert "below" in note


def test_rows_without_an_answer_are_noted() -> None:
    comparison = Drift(two_labels([0.9] * 100, [True] * 100))
    comparison.add(np.vstack([np.full((50, 2), [0.9, 0.1]), np.zeros((50, 2))]))
    assert any("no label" in note for note in comparison.notes())


def test_small_differences_of_many_rows_are_not_noted() -> None:
    rows = two_labels([0.9] * 500 + [0.6] * 500, [True] * 1000)
    comparison = Drift(rows)
    comparison.add(np.tile([[0.9, 0.1]], (53_000, 1)))
    comparison.add(np.tile([[0.6, 0.4]], (47_000, 1)))
    assert comparison.notes() == ()


def test_rows_can_be_added_in_parts_and_none_are_no_drift() -> None:
    rows = trec()
    whole, parts = Drift(take(rows, np.arange(100))), Drift(take(rows, np.arange(100)))
    assert whole.notes() == ()
    whole.add(rows.probabilities[:900] ** 2)
    for start in range(0, 900, 100):
        parts.add(rows.probabilities[start : start + 100] ** 2)
    assert whole.notes() == parts.notes() != ()


def test_smaller_differences_from_folds_are_not_noted() -> None:
    held_out = two_labels([0.9] * 500 + [0.6] * 500, [True] * 1000)
    for rows, is_noted in ((held_out, True), (replace(held_out, folds=5), False)):
        comparison = Drift(rows)
        comparison.add(np.tile([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], (1000, 1)))
        assert bool(comparison.notes()) == is_noted


def test_a_comparison_can_be_continued_from_its_counts() -> None:
    rows = trec()
    whole, interrupted = Drift(rows), Drift(rows)
    whole.add(rows.probabilities[:900] ** 2)
    interrupted.add(rows.probabilities[:500] ** 2)
    continued = Drift(rows, interrupted.counts())
    continued.add(rows.probabilities[500:900] ** 2)
    assert continued.counts() == whole.counts()
    assert continued.notes() == whole.notes() != ()
