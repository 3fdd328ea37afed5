from collections import Counter
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.demos import SELECTORS, Balanced, First, Random, RandomEach, VoteK, Zero
from tests.support.errors import refused

LABELS = ("negative", "neutral", "positive")
UNSEEN = Example(id="stranger", inputs={"text": "in no pool"})

random_selectors = pytest.mark.parametrize("selector", [Random, RandomEach, Balanced])
all_selectors = pytest.mark.parametrize("selector", [First, Random, RandomEach, Balanced])
shared_set_selectors = pytest.mark.parametrize("selector", [First, Random, Balanced, VoteK])

seeds = st.integers(0, 50)
counts = st.integers(0, 9)


@pytest.fixture(scope="module")
def pool(make_rows):
    return make_rows(30, LABELS)


def ids(rows):
    return [row.id for row in rows]


@pytest.fixture(scope="module")
def bind_selector(context):
    """Binds a selector to a pool."""

    def make(selector, pool, k=0, seed=0, labels=LABELS):
        known = {field.name for field in fields(selector)}
        keywords = {name: value for name, value in (("k", k), ("seed", seed)) if name in known}
        choose = selector(**keywords).bind(context(pool, labels))
        return lambda row: choose([row])[0]

    return make


@random_selectors
@given(order=st.randoms(use_true_random=False), k=counts, seed=seeds)
def test_random_demonstrations_do_not_depend_on_the_order_of_the_pool(bind_selector, pool, selector, order, k, seed):
    mixed = list(pool)
    order.shuffle(mixed)
    for row in (UNSEEN, pool[0], pool[17]):
        assert bind_selector(selector, mixed, k, seed)(row) == bind_selector(selector, pool, k, seed)(row)


@given(order=st.randoms(use_true_random=False), k=counts)
def test_the_first_demonstrations_are_the_first_rows_of_the_pool(bind_selector, pool, order, k):
    mixed = list(pool)
    order.shuffle(mixed)
    assert ids(bind_selector(First, mixed, k)(UNSEEN)) == ids(mixed[:k])


@all_selectors
@given(k=counts, seed=seeds, index=st.integers(-1, 29))
def test_k_demonstrations_are_among_the_k_plus_1_of_the_same_seed(bind_selector, pool, selector, k, seed, index):
    row = UNSEEN if index < 0 else pool[index]
    smaller, larger = bind_selector(selector, pool, k, seed)(row), bind_selector(selector, pool, k + 1, seed)(row)
    assert (len(smaller), len(larger)) == (k, k + 1)
    assert set(ids(smaller)) < set(ids(larger))


@all_selectors
@given(k=st.integers(1, 9), seed=seeds, index=st.integers(0, 29), copies=st.integers(0, 3))
def test_neither_the_row_nor_one_with_equal_inputs_is_its_demonstration(bind_selector, pool, selector, k, seed, index, copies):
    pool_row = pool[index]
    twins = [
        LabeledExample(id=f"{pool_row.id}#{n}", inputs=dict(pool_row.inputs), label=pool_row.label)
        for n in range(2, 2 + copies)
    ]
    query_row = Example(id="asked again", inputs=dict(pool_row.inputs))
    for row in (pool_row, query_row):
        chosen = bind_selector(selector, [*pool, *twins], k, seed)(row)
        assert len(chosen) == k
        assert pool_row.inputs not in [demonstration.inputs for demonstration in chosen]


@all_selectors
@given(k=st.integers(1, 9), seed=seeds)
def test_no_two_demonstrations_have_equal_inputs(bind_selector, pool, selector, k, seed):
    twins = [LabeledExample(id=f"{row.id}#2", inputs=row.inputs, label=row.label) for row in pool]
    texts = [row.inputs["text"] for row in bind_selector(selector, [*pool, *twins], k, seed)(UNSEEN)]
    assert len(set(texts)) == k


@shared_set_selectors
@given(k=counts, seed=seeds)
def test_a_shared_set_is_the_same_for_every_row_that_is_not_in_it(bind_selector, pool, selector, k, seed):
    choose = bind_selector(selector, pool, k, seed)
    usual = choose(UNSEEN)
    assert all(choose(row) == usual for row in pool if row not in usual)


@shared_set_selectors
@given(k=st.integers(1, 9), seed=seeds, data=st.data())
def test_a_row_in_a_shared_set_has_one_demonstration_replaced(bind_selector, pool, selector, k, seed, data):
    choose = bind_selector(selector, pool, k, seed)
    usual = choose(UNSEEN)
    pool_row = data.draw(st.sampled_from(usual))
    assert set(ids(usual)) - set(ids(choose(pool_row))) == {pool_row.id}
    assert len(set(ids(choose(pool_row))) - set(ids(usual))) == 1


@shared_set_selectors
def test_only_the_row_itself_is_replaced_in_a_shared_set(bind_selector, pool, selector):
    choose = bind_selector(selector, pool, 6)
    usual = choose(UNSEEN)
    for place, pool_row in enumerate(usual):
        assert [n for n, (one, other) in enumerate(zip(usual, choose(pool_row), strict=True)) if one != other] == [place]


@given(k=st.integers(1, 9), seed=seeds)
def test_random_each_draws_separately_for_each_row(bind_selector, pool, k, seed):
    rows = [Example(id=f"query {n}", inputs={"text": f"query {n}"}) for n in range(8)]
    choose = bind_selector(RandomEach, pool, k, seed)
    chosen = {row.id: ids(choose(row)) for row in rows}
    assert len({tuple(demonstrations) for demonstrations in chosen.values()}) > 1
    assert {row.id: ids(bind_selector(RandomEach, pool, k, seed)(row)) for row in reversed(rows)} == chosen


@random_selectors
def test_a_different_seed_draws_different_demonstrations(bind_selector, pool, selector):
    sets = {frozenset(ids(bind_selector(selector, pool, 6, seed)(UNSEEN))) for seed in range(10)}
    assert len(sets) >= 9


@pytest.mark.parametrize("selector", [Random, RandomEach])
def test_every_row_of_the_pool_is_drawn_equally_often(bind_selector, make_rows, selector):
    pool = make_rows(12, LABELS)
    draws = Counter(row.id for seed in range(300) for row in bind_selector(selector, pool, 6, seed)(UNSEEN))
    expected = 300 * 6 / len(pool)  # standard deviation about 9
    assert all(abs(draws[row.id] - expected) < 45 for row in pool)


# ---- balanced ---------------------------------------------------------------------------------------


@given(k=st.integers(0, 12), seed=seeds, index=st.integers(-1, 29))
def test_balanced_classes_differ_by_one_demonstration_at_most(bind_selector, pool, k, seed, index):
    chosen = bind_selector(Balanced, pool, k, seed)(UNSEEN if index < 0 else pool[index])
    counts_by_label = Counter(row.label for row in chosen)
    assert len(chosen) == k
    assert max(counts_by_label[label] for label in LABELS) - min(counts_by_label[label] for label in LABELS) <= 1


def test_the_classes_that_get_the_remainder_are_random(bind_selector, pool):
    favoured = Counter(
        Counter(row.label for row in bind_selector(Balanced, pool, 4, seed)(UNSEEN)).most_common(1)[0][0] for seed in range(60)
    )
    assert all(favoured[label] >= 8 for label in LABELS)


def test_balanced_classes_are_shuffled(bind_selector, pool):
    first_shown = {bind_selector(Balanced, pool, 6, seed)(UNSEEN)[0].label for seed in range(20)}
    assert first_shown == set(LABELS)


@given(seed=seeds, k=st.integers(0, 9), order=st.permutations(LABELS))
def test_balanced_demonstrations_do_not_depend_on_the_declared_order_of_labels(bind_selector, pool, seed, k, order):
    assert bind_selector(Balanced, pool, k, seed, order)(UNSEEN) == bind_selector(Balanced, pool, k, seed)(UNSEEN)


@given(seed=seeds)
def test_balanced_demonstrations_of_an_imbalanced_pool(bind_selector, make_rows, seed):
    lopsided = [*make_rows(40, ("positive",)), LabeledExample(id="rare", inputs={"text": "rare"}, label="negative")]
    chosen = bind_selector(Balanced, lopsided, 2, seed, ("negative", "positive"))(UNSEEN)
    assert sorted(row.label for row in chosen) == ["negative", "positive"]


# ---- refusals ---------------------------------------------------------------------------------------


@all_selectors
def test_a_pool_with_fewer_rows_than_k_is_refused(bind_selector, pool, selector):
    with refused(TaskError, "too-few-rows", k=4, rows=3):
        bind_selector(selector, pool[:3], 4)


@all_selectors
def test_a_negative_number_of_demonstrations_is_refused(bind_selector, pool, selector):
    with refused(InputError, "out-of-range", k=-1):
        bind_selector(selector, pool, -1)


def test_a_class_with_too_few_rows_is_refused_by_name(bind_selector, pool):
    subset = [row for row in pool if row.label != "neutral"] + [row for row in pool if row.label == "neutral"][:1]
    with refused(TaskError, "too-few-rows-of-label", k=6, labels=("neutral",), rows=(1,)):
        bind_selector(Balanced, subset, 6)


@all_selectors
def test_a_pool_with_fewer_different_inputs_than_k_is_refused(bind_selector, pool, selector):
    twins = [LabeledExample(id=f"{row.id}#2", inputs=row.inputs, label=row.label) for row in pool[:6]]
    with refused(TaskError, "too-few-rows", k=12, rows=6):
        bind_selector(selector, [*pool[:6], *twins], 12)


@all_selectors
def test_a_row_of_a_pool_of_k_rows_is_shown_all_others(bind_selector, pool, selector):
    pool = pool[:6]
    assert set(ids(bind_selector(selector, pool, 6)(pool[0]))) == {row.id for row in pool[1:]}


def test_zero_demonstrations_are_shown_for_any_pool(bind_selector, pool):
    assert bind_selector(Zero, pool)(UNSEEN) == bind_selector(Zero, [])(UNSEEN) == ()


def test_the_spelling_of_a_selector_is_its_name():
    assert all(selector.name == spelling for spelling, selector in SELECTORS.items())
    assert {"zero", "first", "random", "random-each", "balanced"} <= SELECTORS.keys()
