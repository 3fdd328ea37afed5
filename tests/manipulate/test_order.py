from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.manipulate.order import ORDERS, shuffled
from promptkit.manipulate.order import given as as_given
from promptkit.types import Example


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(9)


def arranged(order, rows):
    (shown,) = order.over(None)([Example(id="q", inputs={"text": "?"})], [tuple(rows)])
    return shown


orders = st.randoms(use_true_random=False)
sizes = st.integers(0, 9)
seeds = st.integers(0, 50)


@given(order=orders, size=sizes, seed=seeds)
def test_a_shuffle_is_a_permutation_and_independent_of_the_order_of_choice(rows, order, size, seed):
    mixed = rows[:size]
    order.shuffle(mixed)
    shown = arranged(shuffled(seed=seed), mixed)
    assert sorted(row.id for row in shown) == sorted(row.id for row in mixed)
    assert shown == arranged(shuffled(seed=seed), rows[:size])


def test_every_row_may_stand_at_every_place(rows):
    places = Counter(
        (row.id, place) for seed in range(400) for place, row in enumerate(arranged(shuffled(seed=seed), rows[:4]))
    )
    assert len(places) == 16
    assert all(60 < count < 140 for count in places.values())  # 100 expected, standard deviation about 9


def test_sets_that_share_rows_are_shuffled_apart_from_each_other(rows):
    def first_two(seed, others):
        return [row.id for row in arranged(shuffled(seed=seed), [*rows[:2], *others]) if row in rows[:2]]

    assert any(first_two(seed, rows[2:4]) != first_two(seed, rows[4:6]) for seed in range(20))


@given(order=orders)
def test_given_is_the_order_of_choice(rows, order):
    mixed = list(rows)
    order.shuffle(mixed)
    assert arranged(as_given(), mixed) == tuple(mixed)


@pytest.mark.parametrize("order", [as_given, shuffled])
def test_an_order_does_not_change_what_it_is_given(rows, order):
    before = list(rows)
    arranged(order(), rows)
    assert rows == before


def test_an_order_s_spelling_is_its_name():
    assert ORDERS.keys() == {"given", "shuffled", "globale", "locale", "mdl"}
    assert all(order.name == spelling for spelling, order in ORDERS.items())
