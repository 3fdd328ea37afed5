"""Similarity selectors: embedded texts, budgets and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.manipulate.demos import BM25, DPP, MMR, Similar, VoteK
from promptkit.models.registry import load
from tests.support.errors import refused
from tests.support.similarity import LABELS, UNSEEN, every_selector, ids

# ---- embedding and packing ----------------------------------------------------------------------------


def test_embedded_texts_are_the_inputs_sorted_by_name(bind_selector):
    vectors = {"one\ntwo": np.array([1.0, 0.0]), "three\nfour": np.array([0.0, 1.0]), "five\nsix": np.array([0.2, 1.0])}
    rows = [
        LabeledExample(id=text, inputs=dict(zip("ba", text.split("\n")[::-1], strict=True)), label="neutral")
        for text in vectors
    ]
    assert ids(bind_selector(Similar(1, encoder="placed"), rows, vectors)([rows[1]])[0]) == ["five\nsix"]


def test_long_and_empty_texts_are_embedded(context, make_card, make_rows):
    rows = [*make_rows(3), LabeledExample(id="empty", inputs={"text": ""}, label="negative")]
    rows.append(LabeledExample(id="long", inputs={"text": "x" * 500}, label="negative"))
    setup = context(rows, ("negative", "positive"), card=make_card(context_length=64))
    assert len(Similar(5).bind(setup)([UNSEEN])[0]) == 5


def test_a_model_without_hidden_states_is_refused(context, pool):
    class Mute:
        card = load("fake").card

        def __call__(self, requests):
            raise Unsupported("The model vllm:demo gives no hidden states", code="no-hidden-states", model="vllm:demo")

    setup = context(pool, LABELS)
    setup = replace(setup, bind_context=replace(setup.bind_context, other_models={"mute": Mute()}))
    with refused(Unsupported, "no-hidden-states", model="vllm:demo"):
        Similar(2, encoder="mute").bind(setup)


@every_selector
@given(budget=st.integers(0, 400))
@settings(max_examples=20)
def test_a_budget_keeps_the_demonstrations_that_fit_in_order(context, selector, budget):
    rows = [LabeledExample(id=f"{n:02}", inputs={"text": "word " * (1 + n % 5)}, label=LABELS[n % 3]) for n in range(5)]
    setup = context(rows, LABELS)
    (unlimited,) = selector(5).bind(setup)([UNSEEN])
    (kept,) = selector(5, budget=budget).bind(setup)([UNSEEN])

    def tokens(shown):
        return len(setup.layout(UNSEEN, tuple(shown)).input.ids)

    expected, room = [], budget
    for row in unlimited:
        if tokens([row]) - tokens([]) <= room:
            room -= tokens([row]) - tokens([])
            expected.append(row)
    assert [*kept] == expected
    assert tokens(kept) - tokens([]) <= budget


def test_a_demonstration_longer_than_the_context_fits_no_budget(context, make_card, make_rows):
    rows = [*make_rows(2), LabeledExample(id="long", inputs={"text": "review " * 400}, label="negative")]
    setup = context(rows, ("negative", "positive"), card=make_card(context_length=1000))
    (kept,) = BM25(3, budget=10**6).bind(setup)([UNSEEN])
    assert {*ids(kept)} == {"id000", "id001"}


# ---- refusals -----------------------------------------------------------------------------------------


@every_selector
def test_small_pools_missing_labels_and_negative_numbers_are_refused(bind_selector, pool, selector):
    with refused(TaskError, "too-few-rows", k=4, rows=3):
        bind_selector(selector(4), [*pool[:3], replace(pool[0], id="twin")])
    with refused(TaskError, "no-fixed-labels", keyword="balanced"):
        bind_selector(selector(2, balanced=True), pool, labels=())
    with refused(InputError, "out-of-range", k=-1):
        bind_selector(selector(-1), pool)
    with refused(InputError, "out-of-range", selector=selector.name, budget=-1):
        selector(2, budget=-1)


@pytest.mark.parametrize(
    ("selector", "keywords"), [(MMR, {"relevance": 1.5}), (DPP, {"candidates": 0}), (VoteK, {"neighbors": 0})]
)
def test_a_keyword_out_of_range_is_refused(selector, keywords):
    with refused(InputError, "out-of-range", selector=selector.name, **keywords):
        selector(2, **keywords)


def test_a_keyword_of_the_wrong_type_is_refused():
    with refused(InputError, "invalid-value", keyword="k", value="'many'"):
        Similar("many")
