"""Conformal sets of labels."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.core.errors import InputError
from promptkit.predictor.decide.label_sets import conformal
from promptkit.predictor.out_of_fold import OutOfFold
from tests.predictor.decide.rows import take, trec, two_labels
from tests.support.errors import refused


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_sets_contain_the_right_label_as_often_as_stated_over_200_splits_of_a_real_task(level: float) -> None:
    rows, generator, covered, sizes = trec(), np.random.default_rng(0), [], []
    for _ in range(200):
        order = generator.permutation(len(rows))
        new = take(rows, order[100:])
        members = conformal(take(rows, order[:100]), level).members(new.probabilities)
        covered.append(members[np.arange(len(new)), new.gold].mean())
        sizes.append(members.sum(1).mean())
    tolerance = 3 * np.std(covered) / np.sqrt(200)
    assert np.mean(covered) >= level - tolerance
    assert level < 0.8 or np.mean(covered) <= level + 1 / 101 + 0.01 + tolerance  # ties and labels that are always included
    assert 1 <= np.mean(sizes) < len(rows.labels)


def test_the_quantile_is_that_of_finite_samples() -> None:
    """With n = 9 and the level 0.9 the rank is 9: the smallest probability of a right label; with n = 19 the second."""
    for count, expected in [(9, 0.0), (19, 1.0)]:
        gold_probabilities = (np.arange(count) + 1) / 100
        rows = OutOfFold(
            labels=("a", "b"),
            gold=np.zeros(count, int),
            probabilities=np.stack([gold_probabilities, 1 - gold_probabilities], 1),
        )
        assert conformal(rows, 0.9).least == gold_probabilities[int(expected)]


def test_a_level_is_not_rounded_in_binary() -> None:
    rows = two_labels((np.arange(99) / 100 + 0.01).tolist(), [True] * 99)
    assert conformal(rows, 0.07).least == pytest.approx(0.93)  # 100 * 0.07 is 7.000000000000001 in binary


def test_no_set_is_empty_and_a_row_without_an_answer_has_all_labels() -> None:
    sets = conformal(two_labels([0.9] * 20, [True] * 20), 0.9)
    assert sets.members(np.array([[0.95, 0.05], [0.6, 0.4], [0.0, 0.0]])).tolist() == [
        [True, False],
        [True, False],
        [True, True],
    ]


def test_labeled_rows_without_an_answer_count_as_covered() -> None:
    assert conformal(two_labels([0.9] * 20 + [0.0] * 5, [True] * 25), 0.9).least == 0.9


def test_too_few_rows_are_refused_with_the_number_that_suffices() -> None:
    with refused(InputError, "too-few-rows", rows=8, needed=9):
        conformal(two_labels([0.9] * 8, [True] * 8), 0.9)
    assert conformal(two_labels([0.9] * 9, [True] * 9), 0.9).least == 0.9


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_a_level_is_between_0_and_1(level: float) -> None:
    with refused(InputError, "invalid-value", name="sets"):
        conformal(trec(), level)
