from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate import demos
from promptkit.manipulate.order.fixed import ORDERS, Given, Interleaved, NearestFirst, NearestLast, Shuffled
from promptkit.manipulate.prompt import Prompt
from tests.support.errors import refused


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(9)


def arranged(order, rows):
    arrange = order.bind(SimpleNamespace(labels=("negative", "positive")))
    (shown,) = arrange([Example(id="q", inputs={"text": "?"})], [tuple(rows)])
    return shown


orders = st.randoms(use_true_random=False)
sizes = st.integers(0, 9)
seeds = st.integers(0, 50)


@given(order=orders, size=sizes, seed=seeds)
def test_a_shuffle_is_a_permutation_independent_of_the_selector_s_order(rows, order, size, seed):
    mixed = rows[:size]
    order.shuffle(mixed)
    shown = arranged(Shuffled(seed=seed), mixed)
    assert sorted(row.id for row in shown) == sorted(row.id for row in mixed)
    assert shown == arranged(Shuffled(seed=seed), rows[:size])


def test_every_row_occurs_at_every_position(rows):
    places = Counter(
        (row.id, place) for seed in range(400) for place, row in enumerate(arranged(Shuffled(seed=seed), rows[:4]))
    )
    assert len(places) == 16
    assert all(60 < count < 140 for count in places.values())  # 100 expected, standard deviation about 9


def test_overlapping_sets_are_shuffled_independently(rows):
    def first_two(seed, others):
        return [row.id for row in arranged(Shuffled(seed=seed), [*rows[:2], *others]) if row in rows[:2]]

    assert any(first_two(seed, rows[2:4]) != first_two(seed, rows[4:6]) for seed in range(20))


@given(order=orders)
def test_given_keeps_the_selector_s_order(rows, order):
    mixed = list(rows)
    order.shuffle(mixed)
    assert arranged(Given(), mixed) == tuple(mixed)


@given(order=orders, size=sizes)
def test_the_first_ranked_row_is_nearest_to_the_query_or_farthest_from_it(rows, order, size):
    mixed = list(rows)
    order.shuffle(mixed)
    assert arranged(NearestFirst(), mixed[:size]) == tuple(mixed[:size])
    assert arranged(NearestLast(), mixed[:size]) == tuple(reversed(mixed[:size]))


@pytest.mark.parametrize("order", [NearestFirst(), NearestLast()])
def test_unranked_demonstrations_are_refused_by_orders_by_rank(order):
    for unranked in (demos.Random(4), demos.Balanced(4), demos.VoteK(4), demos.Diverse(4)):
        with refused(InputError, "order-needs-ranking", order=order.name, demos=unranked.name):
            Prompt("sentiment/review", demos=unranked, order=order)
    for ranked in (demos.BM25(4), demos.Similar(4), demos.MMR(4), demos.DPP(4), demos.Zero(), demos.Random(0)):
        Prompt("sentiment/review", demos=ranked, order=order)


def by_label(spelling):
    return [LabeledExample(id=f"{n}", inputs={"text": f"{n}"}, label=label) for n, label in enumerate(spelling)]


@pytest.mark.parametrize(
    ("chosen", "shown"), [("aabbcc", "abcabc"), ("cccbba", "cbcbca"), ("abbb", "bbab"), ("bbba", "bbba"), ("", "")]
)
def test_classes_are_interleaved_backward_from_the_last(context, chosen, shown):
    arrange = Interleaved().bind(context(words=("a", "b", "c")))
    (rows,) = arrange([Example(id="q", inputs={})], [tuple(by_label(chosen))])
    assert "".join(row.label for row in rows) == shown


@given(spelling=st.text("abc", max_size=12))
def test_interleaving_keeps_the_order_within_classes_and_the_last_row(context, spelling):
    chosen = by_label(spelling)
    arrange = Interleaved().bind(context(words=("a", "b", "c")))
    (rows,) = arrange([Example(id="q", inputs={})], [tuple(chosen)])
    assert rows[-1:] == tuple(chosen[-1:])
    for label in "abc":
        assert [row for row in rows if row.label == label] == [row for row in chosen if row.label == label]
    fewest = min(map(spelling.count, "abc"))
    tail = [row.label for row in rows[len(rows) - 3 * fewest :]]
    assert all({*tail[i : i + 3]} == {*"abc"} for i in range(0, 3 * fewest, 3))


def test_interleaving_needs_labels(context):
    with refused(TaskError, "no-fixed-labels", order="interleaved"):
        Interleaved().bind(context())


@pytest.mark.parametrize("order", [Given, Shuffled, NearestLast, NearestFirst])
def test_an_order_does_not_modify_its_arguments(rows, order):
    before = list(rows)
    arranged(order(), rows)
    assert rows == before


def test_the_spelling_of_an_order_is_its_name():
    by_model = {"globale", "locale", "least-entropy"}
    assert {"given", "shuffled", "nearest-last", "nearest-first", "interleaved"} | by_model == ORDERS.keys()
    assert all(order.name == spelling for spelling, order in ORDERS.items())


def test_default_order_depends_on_whether_demonstrations_are_ranked():
    ranked, drawn = (Prompt("sentiment/review", demos=chosen) for chosen in (demos.BM25(k=2), demos.Random(k=2)))
    assert ranked.resolved_order == NearestLast()
    assert drawn.resolved_order == Given()
    assert ranked.settings() == replace(ranked, order=NearestLast()).settings()
