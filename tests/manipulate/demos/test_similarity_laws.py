"""Properties of all similarity selectors."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptkit.core.examples import Example
from promptkit.manipulate.demos import BM25, Similar, VoteK
from promptkit.manipulate.demos.ranking import EmbeddingSelector
from tests.support.similarity import EMBEDDING, LABELS, NESTED, PER_ROW, UNSEEN, build, counts, every_selector, ids, labeled


@every_selector
@settings(max_examples=20)
@given(order=st.randoms(use_true_random=False), k=counts, balanced=st.booleans())
def test_selection_depends_neither_on_the_order_of_the_pool_nor_on_other_rows(
    bind_selector, pool, selector, order, k, balanced
):
    mixed = list(pool)
    order.shuffle(mixed)
    setting = build(selector, k, balanced=balanced)
    rows = [UNSEEN, *pool[:4]]
    together = bind_selector(setting, pool)(rows)
    choose = bind_selector(setting, mixed)
    assert [choose([row])[0] for row in rows] == together
    assert choose(rows[::-1]) == together[::-1]


@every_selector
@settings(max_examples=20)
@given(k=st.integers(1, 9), index=st.integers(0, 13), copies=st.integers(0, 2), balanced=st.booleans())
def test_demonstrations_differ_from_the_row_and_from_each_other(bind_selector, pool, selector, k, index, copies, balanced):
    twins = [replace(row, id=f"{row.id}#{n}") for n in range(2, 2 + copies) for row in pool]
    query_row = Example(id="asked again", inputs=dict(pool[index].inputs))
    for chosen in bind_selector(build(selector, k, balanced=balanced), [*pool, *twins])([pool[index], query_row]):
        shown = [row.inputs["text"] for row in chosen]
        assert len(chosen) == len({*shown}) == k
        assert query_row.inputs["text"] not in shown


@every_selector
@pytest.mark.parametrize("balanced", [False, True])
def test_a_row_of_a_pool_of_k_rows_is_shown_all_others(bind_selector, pool, selector, balanced):
    (chosen,) = bind_selector(build(selector, 6, balanced=balanced), pool[:6])([pool[0]])
    assert {*ids(chosen)} == {*ids(pool[1:6])}


@pytest.mark.parametrize("selector", NESTED)
@settings(max_examples=20)
@given(k=counts, index=st.integers(-1, 13))
def test_k_demonstrations_are_a_prefix_of_a_larger_selection(bind_selector, pool, selector, k, index):
    row = UNSEEN if index < 0 else pool[index]
    smaller, larger = (bind_selector(selector(item), pool)([row])[0] for item in (k, k + 1))
    assert len(smaller) == k
    assert index >= 0 or smaller == larger[:k]
    assert {*ids(smaller)} <= {*ids(larger)}


@every_selector
@example(k=2, index=6, sizes=(6, 1, 3))  # the shown row is the only one of its class
@given(k=counts, index=st.integers(-1, 13), sizes=st.tuples(*[st.integers(1, 6)] * 3))
@settings(max_examples=20)
def test_balanced_classes_are_as_equal_as_their_sizes_allow(bind_selector, pool, selector, k, index, sizes):
    pool = [
        replace(row, label=label)
        for row, label in zip(
            pool, (label for label, size in zip(LABELS, sizes, strict=True) for _ in range(size)), strict=False
        )
    ]
    k = min(k, len(pool) - 1)
    row = UNSEEN if index < 0 or index >= len(pool) else pool[index]
    (chosen,) = bind_selector(build(selector, k, balanced=True), pool)([row])
    counts_by_label = Counter(item.label for item in chosen)
    left = Counter(item.label for item in pool if item is not row)
    assert sum(counts_by_label.values()) == k
    for one in LABELS:
        for other in LABELS:  # no class has two fewer than another and rows to spare
            assert counts_by_label[one] >= counts_by_label[other] - 1 or counts_by_label[one] == left[one]


@pytest.mark.parametrize("selector", [BM25, Similar])
@given(k=counts)
@settings(max_examples=10)
def test_balanced_demonstrations_are_the_first_of_the_ranking_within_the_quotas(bind_selector, pool, selector, k):
    (ranking,) = bind_selector(selector(len(pool)), pool)([UNSEEN])
    quota, extra = divmod(k, len(LABELS))
    expected, counts_by_label = [], Counter()
    for row in ranking:
        if counts_by_label[row.label] < quota or (counts_by_label[row.label] == quota and extra > 0):
            extra -= counts_by_label[row.label] == quota
            counts_by_label[row.label] += 1
            expected.append(row)
    assert [*bind_selector(selector(k, balanced=True), pool)([UNSEEN])[0]] == expected


@pytest.mark.parametrize("selector", [*EMBEDDING, VoteK])
def test_ties_up_to_rounding_are_broken_by_id(bind_selector, selector):
    """Uses vectors that are equal up to rounding, except one."""
    names = [f"{n:02}" for n in range(20)]
    vectors = {name: np.array([1, 1, 1 / 3]) + 1e-8 * np.sin(int(name)) for name in names} | {"far": np.array([-9, 0, 3.0])}
    vectors["query"] = vectors["00"]
    chosen = bind_selector(selector(5, encoder="placed"), labeled(vectors)[:-1], vectors)(
        [Example(id="q", inputs={"text": "query"})]
    )
    near = [name for name in ids(chosen[0]) if name != "far"]
    assert near == names[: len(near)]
    assert len(near) >= 4


def test_unknown_words_give_ties_broken_by_id(bind_selector, pool):
    unheard = Example(id="q", inputs={"text": "zzz"})
    assert ids(bind_selector(BM25(5), pool)([unheard])[0]) == sorted(ids(pool))[:5]


@pytest.mark.parametrize("selector", PER_ROW)
def test_many_rows_at_once_give_the_same_result_as_one_at_a_time(bind_selector, pool, selector):
    rows = [Example(id=f"q{n}", inputs={"text": f"query number {n} of {n % 7}"}) for n in range(150)]
    choose = bind_selector(selector(4), pool)
    assert choose(rows) == [choose([row])[0] for row in rows]


@every_selector
def test_k_of_zero_needs_no_embeddings(bind_selector, pool, selector):
    assert bind_selector(selector(0), pool, vectors={"": np.zeros(2)})([UNSEEN]) == [()]
    if issubclass(selector, EmbeddingSelector):
        assert (selector(encoder="demo").models, selector(0, encoder="demo").models) == (("demo",), ())
        assert selector().models == ()
