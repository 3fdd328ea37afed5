"""Tests of similarity selectors: each against an independent computation, and properties of all of them."""

from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.requests import ReadOutput
from promptkit.manipulate.demos import SELECTORS, bm25, diverse, dpp, mmr, similar, votek
from promptkit.manipulate.demos.ranking import EmbeddingSelector, SimilaritySelector
from promptkit.manipulate.demos.votek import Votes, neighbor_graph
from promptkit.models.registry import load
from tests.support.errors import refused

WORDS = ["the", "a", "cat", "Dog", "dog", "ran", "7", "é"]
LABELS = ("negative", "neutral", "positive")
SIMILARITY_SELECTORS = [selector for selector in SELECTORS.values() if issubclass(selector, SimilaritySelector)]
NESTED = [bm25, similar, mmr, dpp, votek]
PER_ROW = [bm25, similar, mmr, dpp]
EMBEDDING = [similar, mmr, dpp]
UNSEEN = Example(id="stranger", inputs={"text": "in no pool: a number 7"})

every_selector = pytest.mark.parametrize("selector", SIMILARITY_SELECTORS, ids=lambda selector: selector.name)
seeds = st.integers(0, 10**6)
counts = st.integers(0, 9)


def test_all_similarity_selectors_are_tested():
    assert {selector.name for selector in SIMILARITY_SELECTORS} == {"bm25", "similar", "mmr", "dpp", "votek", "diverse"}


@dataclass(frozen=True)
class FixedEncoder:
    """An encoder with a given vector for each text."""

    vectors: dict[str, np.ndarray]

    @property
    def card(self):
        return replace(load("fake").card, d_model=len(next(iter(self.vectors.values()))))

    def __call__(self, requests):
        texts = [bytes(request.input.ids[1:]).decode() for request in requests]
        return [ReadOutput(hidden=as_array(self.vectors[text])) for text in texts]


def labeled(names, labels=LABELS):
    return [LabeledExample(id=n, inputs={"text": n}, label=labels[i % len(labels)]) for i, n in enumerate(names)]


@pytest.fixture(scope="module")
def pool(make_rows):
    return make_rows(14, LABELS)


@pytest.fixture(scope="module")
def bind_selector(context):
    """Binds a selector to a pool, optionally with given vectors."""

    def make(selector, pool, vectors=None, labels=LABELS):
        setup = context(pool, labels)
        if vectors is not None:
            others = {"placed": FixedEncoder(vectors)}
            setup = replace(setup, bind_context=replace(setup.bind_context, other_models=others))
        return selector.bind(setup)

    return make


@pytest.fixture(scope="module")
def random_pool(bind_selector):
    """Returns random vectors of 12 pool rows and a query, and the indices of the rows selected for it."""

    def draw(selector, seed, size=12, width=5):
        generator = np.random.default_rng(seed)
        names = [f"{number:02}" for number in range(size)]
        vectors = {name: generator.normal(size=width) + 3 for name in [*names, "query"]}
        vectors = {name: vector.astype(np.float32) for name, vector in vectors.items()}
        centered = np.array([*vectors.values()], dtype=np.float64)
        centered -= centered[:-1].mean(0)
        centered /= np.linalg.norm(centered, axis=1, keepdims=True)
        query = Example(id="query", inputs={"text": "query"})
        (chosen,) = bind_selector(selector, labeled(names), vectors)([query])
        return centered[:-1], centered[-1], [int(row.id) for row in chosen]

    return draw


def ids(rows):
    return [row.id for row in rows]


def build(selector, k, **keywords):
    known = {field.name for field in fields(selector)}
    return selector(k=k, **{name: value for name, value in keywords.items() if name in known})


# ---- independent computations -------------------------------------------------------------------------


@given(seed=seeds, k=st.integers(1, 12))
def test_similar_rows_are_the_nearest_neighbors_of_scikit_learn(random_pool, seed, k):
    pool, query, chosen = random_pool(similar(k, encoder="placed"), seed)
    assert chosen == NearestNeighbors(n_neighbors=k, metric="cosine").fit(pool).kneighbors(query[None])[1][0].tolist()


def bm25_scores(texts, query):
    """Computes the BM25 score of each text in plain Python."""
    words = [text.lower().split() for text in texts]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for document in words:
        score = 0.0
        for word in query.lower().split():
            holding = sum(word in other for other in words)
            idf = log(1 + (len(words) - holding + 0.5) / (holding + 0.5))
            tf = document.count(word)
            score += idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * len(document) / mean))
        scores.append(score)
    return scores


texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=8)


@given(words=texts, query=st.lists(st.sampled_from([*WORDS, "unheard", "É"]), max_size=6))
def test_bm25_ranks_by_its_formula(bind_selector, words, query):
    names = sorted({" ".join(row) for row in words})
    scores = dict(zip(names, bm25_scores(names, " ".join(query)), strict=True))
    query_row = Example(id="query", inputs={"text": "?" + " ".join(query)})
    (chosen,) = bind_selector(bm25(len(names)), labeled(names))([query_row])
    assert ids(chosen) == sorted(names, key=lambda name: (-round(scores[name], 5), name))


@given(seed=seeds, k=st.integers(1, 8), relevance=st.sampled_from([0.0, 0.3, 0.5, 1.0]), candidates=st.integers(1, 12))
def test_mmr_selects_by_its_formula(random_pool, seed, k, relevance, candidates):
    pool, query, chosen = random_pool(mmr(k, encoder="placed", relevance=relevance, candidates=candidates), seed)
    nearest = np.argsort(-(pool @ query)).tolist()
    expected = nearest[:1]
    while len(expected) < min(k, candidates):
        left = [d for d in nearest[:candidates] if d not in expected]
        gain = {d: relevance * (pool[d] @ query) - (1 - relevance) * max(pool[d] @ pool[s] for s in expected) for d in left}
        expected.append(max(left, key=gain.__getitem__))
    assert chosen == [*expected, *(d for d in nearest if d not in expected)][:k]


@pytest.mark.parametrize("width", [2, 5])
@given(seed=seeds, k=st.integers(1, 10), candidates=st.integers(1, 12))
def test_dpp_maximizes_the_determinant_greedily(random_pool, seed, k, candidates, width):
    """With 2 dimensions the rank of the kernel is 3, so from the fourth row on the nearest rows are selected."""
    pool, query, chosen = random_pool(dpp(k, encoder="placed", candidates=candidates), seed, width=width)
    nearest = np.argsort(-(pool @ query)).tolist()
    quality = (1 + pool @ query) / 2
    r = np.array([exp((q - quality.max()) / 0.2) for q in quality])
    kernel = np.diag(r) @ ((1 + pool @ pool.T) / 2) @ np.diag(r)

    def determinant(rows):
        return np.linalg.det(kernel[np.ix_(rows, rows)]) if rows else 1.0

    expected = []
    while len(expected) < min(k, candidates):
        left = [d for d in nearest[:candidates] if d not in expected]
        best = max(left, key=lambda d: determinant([*expected, d]))
        if determinant([*expected, best]) < 1e-8 * kernel[best, best] * determinant(expected):
            break
        expected.append(best)
    assert chosen == [*expected, *(d for d in nearest if d not in expected)][:k]


def test_vote_k_equals_selection_by_hand():
    """0, 1, 2 point to 3 and to one another; 3 points to 0 and 1; 4 and 5 point to each other and to 3."""
    pointed = np.array([[1, 3], [2, 3], [0, 3], [0, 1], [5, 3], [4, 3]])
    votes = Votes(pointed)
    assert votes.gains().tolist() == [2, 2, 1, 5, 1, 1]
    votes.take(3)  # all others point to 3: their votes count a tenth, and 3 has no vote
    assert votes.gains() == pytest.approx([0.1, 0.1, 0.1, 0.5, 0.1, 0.1])
    votes.take(0)  # 2 points to both, and 0 has no vote, so 1 has lost it
    assert votes.gains() == pytest.approx([0.01, 0, 0.1, 0.31, 0.1, 0.1])


@given(seed=seeds, k=st.integers(1, 8), neighbors=st.integers(1, 14))
def test_vote_k_selects_by_its_formula(random_pool, seed, k, neighbors):
    pool, _, chosen = random_pool(votek(k, encoder="placed", neighbors=neighbors), seed)
    cosines = np.round(pool @ pool.T, 5)
    points = [sorted({*range(12)} - {v}, key=lambda u: (-cosines[v, u], u))[:neighbors] for v in range(12)]
    assert neighbor_graph(pool.astype(np.float32), neighbors).tolist() == points
    taken = []
    while len(taken) < k:
        score = {
            u: sum(10.0 ** -len({*points[v]} & {*taken}) for v in range(12) if v not in taken and u in points[v])
            for u in range(12)
            if u not in taken
        }
        taken.append(min(score, key=lambda u: (-round(score[u], 5), u)))
    assert chosen == taken


@settings(max_examples=20)
@given(seed=seeds, k=st.integers(1, 6))
def test_diverse_rows_are_the_nearest_to_the_centroids_of_k_means(random_pool, seed, k):
    pool, _, chosen = random_pool(diverse(k, encoder="placed", seed=3), seed)
    fitted = KMeans(k, n_init=10, random_state=3).fit(pool.astype(np.float32))
    distances = np.round(fitted.transform(pool.astype(np.float32)), 5)
    members = [np.flatnonzero(fitted.labels_ == cluster) for cluster in range(k)]
    assert {*chosen} == {min(rows, key=lambda i: (distances[i, cluster], i)) for cluster, rows in enumerate(members)}
    sizes = [Counter(fitted.labels_)[fitted.labels_[number]] for number in chosen]
    assert all(one >= other for one, other in pairwise(sizes))


def test_diverse_rows_come_from_every_cluster(bind_selector):
    places = {"x": (9.0, 0.0), "y": (0.0, 9.0), "z": (-9.0, -9.0)}
    vectors = {f"{heap}{n}": np.array(place) + n / 10 for heap, place in places.items() for n in range(-2, 3)}
    (chosen,) = bind_selector(diverse(3, encoder="placed"), labeled(vectors), vectors)([UNSEEN])
    assert {row.id[0] for row in chosen} == {"x", "y", "z"}


# ---- properties -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("selector", [bm25, similar])
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


@pytest.mark.parametrize("selector", [*EMBEDDING, votek])
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
    assert ids(bind_selector(bm25(5), pool)([unheard])[0]) == sorted(ids(pool))[:5]


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


# ---- embedding and packing --------------------------------------------------------------------------


def test_embedded_texts_are_the_inputs_sorted_by_name(bind_selector):
    vectors = {"one\ntwo": np.array([1.0, 0.0]), "three\nfour": np.array([0.0, 1.0]), "five\nsix": np.array([0.2, 1.0])}
    rows = [
        LabeledExample(id=text, inputs=dict(zip("ba", text.split("\n")[::-1], strict=True)), label="neutral")
        for text in vectors
    ]
    assert ids(bind_selector(similar(1, encoder="placed"), rows, vectors)([rows[1]])[0]) == ["five\nsix"]


def test_long_and_empty_texts_are_embedded(context, make_card, make_rows):
    rows = [*make_rows(3), LabeledExample(id="empty", inputs={"text": ""}, label="negative")]
    rows.append(LabeledExample(id="long", inputs={"text": "x" * 500}, label="negative"))
    setup = context(rows, ("negative", "positive"), card=make_card(context_length=64))
    assert len(similar(5).bind(setup)([UNSEEN])[0]) == 5


def test_a_model_without_hidden_states_is_refused(context, pool):
    class Mute:
        card = load("fake").card

        def __call__(self, requests):
            raise Unsupported("The model vllm:demo gives no hidden states", code="no-hidden-states", model="vllm:demo")

    setup = context(pool, LABELS)
    setup = replace(setup, bind_context=replace(setup.bind_context, other_models={"mute": Mute()}))
    with refused(Unsupported, "no-hidden-states", model="vllm:demo"):
        similar(2, encoder="mute").bind(setup)


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
    (kept,) = bm25(3, budget=10**6).bind(setup)([UNSEEN])
    assert {*ids(kept)} == {"id000", "id001"}


# ---- refusals ---------------------------------------------------------------------------------------


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
    ("selector", "keywords"), [(mmr, {"relevance": 1.5}), (dpp, {"candidates": 0}), (votek, {"neighbors": 0})]
)
def test_a_keyword_out_of_range_is_refused(selector, keywords):
    with refused(InputError, "out-of-range", selector=selector.name, **keywords):
        selector(2, **keywords)


def test_a_keyword_of_the_wrong_type_is_refused():
    with refused(InputError, "invalid-value", keyword="k", value="'many'"):
        similar("many")
