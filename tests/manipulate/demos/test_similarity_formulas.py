"""Each similarity selector against an independent computation."""

from collections import Counter
from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from promptkit.core.examples import Example
from promptkit.manipulate.demos import BM25, DPP, MMR, Diverse, Similar, VoteK
from promptkit.manipulate.demos.votek import Votes, neighbor_graph
from tests.support.similarity import SIMILARITY_SELECTORS, UNSEEN, WORDS, ids, labeled, seeds


def test_all_similarity_selectors_are_tested():
    assert {selector.name for selector in SIMILARITY_SELECTORS} == {"bm25", "similar", "mmr", "dpp", "votek", "diverse"}


@given(seed=seeds, k=st.integers(1, 12))
def test_similar_rows_are_the_nearest_neighbors_of_scikit_learn(random_pool, seed, k):
    pool, query, chosen = random_pool(Similar(k, encoder="placed"), seed)
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
    (chosen,) = bind_selector(BM25(len(names)), labeled(names))([query_row])
    assert ids(chosen) == sorted(names, key=lambda name: (-round(scores[name], 5), name))


@given(seed=seeds, k=st.integers(1, 8), relevance=st.sampled_from([0.0, 0.3, 0.5, 1.0]), candidates=st.integers(1, 12))
def test_mmr_selects_by_its_formula(random_pool, seed, k, relevance, candidates):
    pool, query, chosen = random_pool(MMR(k, encoder="placed", relevance=relevance, candidates=candidates), seed)
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
    pool, query, chosen = random_pool(DPP(k, encoder="placed", candidates=candidates), seed, width=width)
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
    assert votes.gains().tolist() == [1, 1, 1, 5, 1, 1]  # tenths
    votes.take(0)  # 2 points to both, and 0 has no vote, so 1 has lost it
    assert votes.gains().tolist() == [1, 0, 10, 31, 10, 10]  # hundredths


def test_vote_k_counts_votes_with_large_discounts():
    """All rows point to one another, so that after a hundred selections each vote counts 10^-100."""
    size = 103
    votes = Votes(np.array([[u for u in range(size) if u != v] for v in range(size)]))
    for place in range(100):
        votes.take(place)
    assert votes.gains().tolist() == [3.0] * 100 + [2.0] * 3
    for place in range(100, size):
        votes.take(place)
    assert votes.gains().tolist() == [0.0] * size


@example(seed=34199, k=7, neighbors=10)
@given(seed=seeds, k=st.integers(1, 8), neighbors=st.integers(1, 14))
def test_vote_k_selects_by_its_formula(random_pool, seed, k, neighbors):
    pool, _, chosen = random_pool(VoteK(k, encoder="placed", neighbors=neighbors), seed)
    cosines = np.round(pool @ pool.T, 5)
    points = [sorted({*range(12)} - {v}, key=lambda u: (-cosines[v, u], u))[:neighbors] for v in range(12)]
    assert neighbor_graph(pool.astype(np.float32), neighbors).tolist() == points
    taken = []
    while len(taken) < k:
        score = {
            u: sum(10 ** (k - len({*points[v]} & {*taken})) for v in range(12) if v not in taken and u in points[v])
            for u in range(12)
            if u not in taken
        }
        taken.append(min(score, key=lambda u: (-score[u], u)))
    assert chosen == taken


@settings(max_examples=20)
@given(seed=seeds, k=st.integers(1, 6))
def test_diverse_rows_are_the_nearest_to_the_centroids_of_k_means(random_pool, seed, k):
    pool, _, chosen = random_pool(Diverse(k, encoder="placed", seed=3), seed)
    fitted = KMeans(k, n_init=10, random_state=3).fit(pool.astype(np.float32))
    distances = np.round(fitted.transform(pool.astype(np.float32)), 5)
    members = [np.flatnonzero(fitted.labels_ == cluster) for cluster in range(k)]
    assert {*chosen} == {min(rows, key=lambda i: (distances[i, cluster], i)) for cluster, rows in enumerate(members)}
    sizes = [Counter(fitted.labels_)[fitted.labels_[number]] for number in chosen]
    assert all(one >= other for one, other in pairwise(sizes))


def test_diverse_rows_come_from_every_cluster(bind_selector):
    places = {"x": (9.0, 0.0), "y": (0.0, 9.0), "z": (-9.0, -9.0)}
    vectors = {f"{heap}{n}": np.array(place) + n / 10 for heap, place in places.items() for n in range(-2, 3)}
    (chosen,) = bind_selector(Diverse(3, encoder="placed"), labeled(vectors), vectors)([UNSEEN])
    assert {row.id[0] for row in chosen} == {"x", "y", "z"}
