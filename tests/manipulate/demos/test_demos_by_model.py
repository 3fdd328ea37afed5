"""Tests of selectors that query the model, against their formulas in NumPy with scripted outputs."""

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.demos import MDL, Influence, Random, RandomEach, Rerank
from promptkit.manipulate.demos.candidates import CANDIDATES
from promptkit.manipulate.prompting.context import MIN_SHARED
from promptkit.models.client import CachedModel
from tests.support.errors import refused

LABELS = ("negative", "positive")
ROWS = [Example(id=f"q{i}", inputs={"text": f"query {i}"}) for i in range(6)]
SELECTORS_WITH_QUERIES = [
    MDL(k=3, candidates=7, organizations=5),
    Influence(k=3, candidates=8, contexts=8, rows=9),
    Rerank(k=3, candidates=6, rows=2),
]
every_selector = pytest.mark.parametrize("selector", SELECTORS_WITH_QUERIES, ids=lambda selector: selector.name)
few_examples = hypothesis_settings(max_examples=12)


@pytest.fixture(scope="module")
def pool(make_rows):
    return make_rows(20)


@pytest.fixture(scope="module")
def dev(make_rows):
    return [replace(row, id=f"d{row.id}", inputs={"text": f"dev {row.inputs['text']}"}) for row in make_rows(12)]


def noise(prompt, word):
    """Returns a log-probability that depends only on the prompt and the word."""
    return -int.from_bytes(hashlib.blake2b(f"{prompt}\0{word}".encode(), digest_size=4).digest()) / 2**30


def ids(rows):
    return [row.id for row in rows]


@every_selector
@few_examples
@given(order=st.randoms(use_true_random=False))
def test_selection_is_independent_of_other_rows_and_of_the_order_of_the_pool(context, scripted, pool, dev, selector, order):
    mixed, mixed_dev = [*pool], [*dev]
    order.shuffle(mixed)
    order.shuffle(mixed_dev)
    choose = selector.bind(context(pool, LABELS, dev=dev, model=scripted(noise)))
    other = selector.bind(context(mixed, LABELS, dev=mixed_dev, model=scripted(noise)))
    rows = [*ROWS, pool[2], pool[7]]
    assert choose(rows) == [other([row])[0] for row in rows]


@every_selector
def test_the_label_of_the_row_is_not_used(context, scripted, pool, dev, selector):
    """A row gets the same demonstrations with any label and without one."""
    choose = selector.bind(context(pool, LABELS, dev=dev, model=scripted(noise)))
    labeled = [[LabeledExample(id=row.id, inputs=row.inputs, label=label) for row in ROWS] for label in LABELS]
    assert choose(ROWS) == choose(labeled[0]) == choose(labeled[1])


@every_selector
def test_neither_the_row_nor_one_with_equal_inputs_is_its_demonstration(context, scripted, pool, dev, selector):
    twins = [replace(row, id=f"{row.id}#2") for row in pool]
    choose = selector.bind(context([*pool, *twins], LABELS, dev=dev, model=scripted(noise)))
    for row, chosen in zip(pool, choose(pool), strict=True):
        texts = [item.inputs["text"] for item in chosen]
        assert len({*texts, row.inputs["text"]}) == 4


@every_selector
def test_queries_are_not_repeated(bind_context, scripted, pool, dev, selector):
    model = scripted(noise)
    apply = pk.Prompt("sentiment/review", demos=selector).bind(bind_context(pool, LABELS, dev=dev, model=model))
    apply(ROWS)
    queries = len(model.prompts)
    assert queries == len(set(model.prompts))
    apply(ROWS)
    apply([Example(id="N/A", inputs={"text": "N/A"})], context_of=[ROWS[0]])
    assert len(model.prompts) == queries


@every_selector
def test_generated_answers_and_missing_rows_are_refused(context, make_rows, pool, dev, selector):
    if selector.name != "influence":
        with refused(Unsupported, "needs-scored-answers", purpose=selector.name):
            selector.bind(context(pool, LABELS, dev=dev, reader=pk.extract.FirstLine()))(ROWS)
    if selector.name != "mdl":
        with refused(TaskError, "empty-part", part="dev", selector=selector.name):
            selector.bind(context(pool, LABELS))
    with refused(TaskError, "too-few-rows", rows=2):
        selector.bind(context(make_rows(2), LABELS, dev=dev))


@every_selector
def test_zero_demonstrations_need_no_query(context, scripted, pool, selector):
    model = scripted(noise)
    assert replace(selector, k=0).bind(context(pool, LABELS, model=model))(ROWS) == [()] * len(ROWS)
    assert model.prompts == []


def test_rows_with_the_same_demonstrations_form_a_separate_round(context, scripted, pool):
    model = scripted(noise)
    setup = context(pool, LABELS, model=model)
    rows = [Example(id=f"r{i}", inputs={"text": f"row {i}"}) for i in range(MIN_SHARED)]
    contexts = [(row, (demo,)) for row in rows for demo in pool[:2]] + [(row, (pool[3],)) for row in rows[:2]]
    scores = setup.scores(contexts, "a test")
    assert model.rounds == [MIN_SHARED, MIN_SHARED, 2]
    assert scores == [setup.scores([context], "a test")[0] for context in contexts]


# ---- mdl --------------------------------------------------------------------------------------------


def entropies(model, context, row, ways):
    """Computes the entropies with NumPy from the scores of the decoded prompts."""
    prompts = [model.card.tokenizer.decode(context.layout(row, way).input.ids).removeprefix("<bos>") for way in ways]
    logprobs = np.array([[noise(prompt, f" {label}") for label in LABELS] for prompt in prompts])
    p = np.exp(logprobs) / np.exp(logprobs).sum(1, keepdims=True)
    return -(p * np.log(p)).sum(1)


@few_examples
@given(seed=st.integers(0, 99), k=st.integers(1, 4), candidates=st.integers(4, 9), organizations=st.integers(1, 6))
def test_mdl_shows_the_organization_with_the_lowest_entropy(context, scripted, pool, seed, k, candidates, organizations):
    selector = MDL(k=k, seed=seed, candidates=candidates, organizations=organizations)
    model = scripted(noise)
    setup = context(pool, LABELS, model=model)
    proposed = RandomEach(k=candidates, seed=seed).bind(setup)(ROWS)
    for row, ranked, chosen in zip(ROWS, proposed, selector.bind(setup)(ROWS), strict=True):
        ways = selector._organizations(row, ranked)
        assert ways[0] == ranked[:k]
        assert all(len(set(ids(way))) == k and {*ids(way)} <= {*ids(ranked)} for way in ways)
        assert chosen == ways[int(np.argmin(entropies(model, setup, row, ways).round(4)))]
    assert len(model.prompts) <= len(ROWS) * organizations


def test_mdl_with_one_organization_equals_its_selector_of_candidates(context, pool):
    setup = context(pool, LABELS)
    for by, selector in CANDIDATES.items():
        plain = selector(**{key: value for key, value in {"k": 4, "seed": 2}.items() if hasattr(selector, key)}).bind(setup)
        assert MDL(k=4, seed=2, candidates=4, organizations=1, by=by).bind(setup)(ROWS) == plain(ROWS)


def test_organizations_differ_between_rows(pool):
    first, other = (MDL(k=3)._organizations(row, tuple(pool[:9])) for row in ROWS[:2])
    assert first[0] == other[0]
    assert first[1:] != other[1:]
    assert len({tuple(ids(way)) for way in first}) > 5


def test_invalid_settings_of_model_based_selectors_are_refused():
    for selector in (MDL, Rerank):
        with refused(InputError, "unknown-name", kind="selector of candidates", name="mdl"):
            selector(by="mdl")
        with refused(InputError, "too-few-candidates", selector=selector.name, k=8, candidates=4):
            selector(k=8, candidates=4)
    with refused(InputError, "too-few-candidates", selector="influence", k=8, candidates=8):
        Influence(k=8, candidates=8)


# ---- influence --------------------------------------------------------------------------------------


def shown_numbers(prompt):
    """Returns the numbers of the pool rows shown in a prompt, and the number of the query."""
    *demonstrations, query = re.findall(r"Review: (?:dev )?review number (\d+)", prompt)
    return frozenset(map(int, demonstrations)), int(query)


@few_examples
@given(seed=st.integers(0, 99), k=st.integers(1, 5), helpful=st.sets(st.integers(0, 19)))
def test_influence_is_the_accuracy_with_a_row_minus_the_accuracy_without_it(context, scripted, pool, dev, seed, k, helpful):
    """The model is correct on a share of queries that grows with the number of helpful demonstrations."""

    def says(prompt, word):
        shown, query = shown_numbers(prompt)
        knows = (query * 7 + 3) % 12 < 3 + 2 * len(shown & helpful) + len(shown) % 2
        right = LABELS[query % 2]
        return float((word == f" {right}") is knows)

    model = scripted(says)
    selector = Influence(k=k, seed=seed, candidates=12, contexts=14, rows=12)
    setup = context(pool, LABELS, dev=dev, model=model)
    (chosen,) = selector.bind(setup)(ROWS[:1])
    contexts, right = {}, {}
    for prompt in model.prompts:
        shown, query = shown_numbers(prompt)
        scores = [says(prompt, f" {label}") for label in LABELS]
        order = tuple(re.findall(r"Review: review number (\d+)", prompt))
        contexts[order] = shown
        right.setdefault(order, []).append(int(np.argmax(scores)) == query % 2)
    tried = sorted(set().union(*contexts.values()))
    if len(contexts) < 14:  # equal contexts are queried once
        return
    contains = np.array([[row in shown for row in tried] for shown in contexts.values()])
    accuracy = np.array([np.mean(right[order]) for order in contexts])
    worth = [accuracy[column].mean() - accuracy[~column].mean() if 0 < column.sum() < 14 else 0.0 for column in contains.T]
    influences = selector._influences(setup, [pool[row] for row in tried])
    assert np.allclose([influences[pool[row].id] for row in tried], worth)
    shown = [worth[tried.index(int(row.id.removeprefix("id")))] for row in chosen]
    assert np.allclose(shown, sorted(worth, reverse=True)[:k], atol=1e-6)


def test_candidates_occur_in_contexts_equally_often(pool):
    selector = Influence(k=3, candidates=8, contexts=16)
    contexts = [selector._random_context(number, pool[:8]) for number in range(16)]
    times = [sum(row in context for context in contexts) for row in pool[:8]]
    assert all(len({*ids(context)}) == 3 for context in contexts)
    assert sum(times) == 48
    assert min(times) >= 3


def test_influence_on_generated_answers_counts_the_correct_ones(context, scripted, make_rows):
    rows = make_rows(9)
    dev = [LabeledExample(id=f"d{i}", inputs={"text": f"d{i}"}, label="yes", accepted=("yes", "Y")) for i in range(9)]

    def writes(prompt, verb):
        return ["y\n" if "review number 4" in prompt else "no\n"]

    setup = context(rows, dev=dev, model=scripted(writes=writes), reader=pk.extract.FirstLine(max_tokens=3))
    (chosen,) = Influence(k=1, candidates=9, contexts=18, rows=9).bind(setup)(ROWS[:1])
    assert ids(chosen) == ["id004"]


# ---- rerank -----------------------------------------------------------------------------------------


@few_examples
@given(seed=st.integers(0, 99), k=st.integers(1, 5), count=st.integers(1, 5))
def test_candidates_are_ranked_by_the_mean_gain_on_their_training_queries(context, scripted, pool, dev, seed, k, count):
    model = scripted(noise)
    setup = context(pool, LABELS, dev=dev, model=model)
    selector = Rerank(k=k, seed=seed, candidates=6, rows=count)
    proposed = RandomEach(k=6, seed=seed).bind(setup)(ROWS)
    near = RandomEach(k=count, seed=seed).bind(context(dev, LABELS))

    def logprob(row, demonstrations):
        prompt = model.card.tokenizer.decode(setup.layout(row, demonstrations).input.ids).removeprefix("<bos>")
        return noise(prompt, f" {row.label}")

    for candidates, chosen in zip(proposed, selector.bind(setup)(ROWS), strict=True):
        queries = near(candidates)
        gains = [
            np.mean([logprob(query, (row,)) - logprob(query, ()) for query in ranked])
            for row, ranked in zip(candidates, queries, strict=True)
        ]
        assert ids(chosen) == [candidates[i].id for i in np.argsort(-np.round(gains, 4), kind="stable")[:k]]


def test_a_dev_row_with_the_same_inputs_does_not_leak_its_answer(context, scripted, pool, dev):
    """Train and test may overlap; a dev row with the inputs of the test row is left out of the gains."""

    def chosen(label):
        twin = LabeledExample(id="twin", inputs=ROWS[0].inputs, label=label)
        setup = context(pool, LABELS, dev=[twin, *dev[:2]], model=scripted(noise))
        return [ids(rows) for rows in Rerank(k=4, candidates=10, rows=3).bind(setup)(ROWS[:2])]

    one, other = chosen("negative"), chosen("positive")
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_candidate_is_scored_once(context, scripted, pool, dev):
    model = scripted(noise)
    setup = context(pool, LABELS, dev=dev, model=model)
    choose = Rerank(k=2, candidates=20, rows=2, by="random").bind(setup)
    choose(ROWS[:1])
    queries = len(model.prompts)
    choose(ROWS)
    assert len(model.prompts) == queries


def test_the_selector_of_candidates_can_query_other_models(bind_context, scripted, pool, dev, monkeypatch):
    """Tests a selector of candidates that queries a sentence encoder."""

    class Encoded(Random):
        models = ("encoder",)

        def bind(self, context):
            assert context.other_models == {"encoder": ask}
            return super().bind(context)

    ask = CachedModel(scripted())
    monkeypatch.setitem(CANDIDATES, "random", Encoded)
    for selector in (MDL(k=2, candidates=4, by="random"), Rerank(k=2, candidates=4, by="random")):
        prompt = pk.Prompt("sentiment/review", demos=selector)
        assert prompt.models == ("encoder",)
        setup = bind_context(pool, LABELS, dev=dev, model=scripted(noise))
        prompt.bind(replace(setup, other_models={"encoder": ask}))(ROWS)
