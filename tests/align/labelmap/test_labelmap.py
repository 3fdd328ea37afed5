"""Label maps: their laws, numbers worked by hand, and computations that share nothing with them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from promptkit.align.labelmap import LABEL_MAPPINGS, Bayesian, BayesianPlus, Frequency, Iterative, LabelMap, Random, Semantic
from promptkit.align.labelmap.base import Sources
from promptkit.align.labelmap.bayesian import bayesian_weights
from promptkit.align.labelmap.injective import assign_greedily
from promptkit.align.labelmap.mapping import frequencies, soft_frequencies
from promptkit.core.errors import InputError
from tests.support.errors import refused

EVERY = [
    *(make() for make in (Random, Frequency, Iterative, Bayesian, BayesianPlus, Semantic)),
    *(
        Bayesian(lap=0),
        BayesianPlus(lap=0, alpha=3),
        Frequency(per_label=2),
        Random(per_label=2, seed=1),
        Semantic(per_label=2),
    ),
]
every = pytest.mark.parametrize("technique", EVERY, ids=repr)
one_to_one = pytest.mark.parametrize("technique", [Random(), Frequency(), Iterative(), Semantic()], ids=repr)


def make_sources(generator: np.random.Generator, labels: int, sources: int, rows: int):
    """Log-probabilities of any kind, -inf among them, for labels of which some have no row."""
    logprobs = np.log(generator.dirichlet(np.full(sources, 0.2), size=rows) + generator.choice([0, 1e-9], size=(rows, 1)))
    given = Sources(
        names=tuple(f"s{i}" for i in range(sources)),
        labels=tuple(f"t{i}" for i in range(labels)),
        logprobs=logprobs,
        name_vectors=generator.normal(size=(sources, 4)),
        label_vectors=generator.normal(size=(labels, 4)),
    )
    return given, generator.choice(generator.permutation(labels)[: generator.integers(1, labels + 1)], size=rows)


@st.composite
def cases(draw):
    """2 to 12 labels, enough source classes for two each, and 1 to 20 rows."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = int(generator.integers(2, 13))
    with np.errstate(divide="ignore"):
        return make_sources(generator, labels, 2 * labels + int(generator.integers(0, 9)), int(generator.integers(1, 21)))


# ---- laws of every map ------------------------------------------------------------------------------


@every
@given(case=cases())
def test_columns_sum_to_1_and_nothing_is_without_a_number_whatever_class_is_missing(technique, case):
    sources, gold = case
    found = technique.map(sources, gold)
    np.testing.assert_allclose(found.weights.sum(0), 1)
    assert (found.weights >= 0).all()
    for over in ("probabilities", "logprobs"):
        scores = LabelMap(sources=found.sources, labels=found.labels, weights=found.weights, over=over)(sources.logprobs)
        assert scores.shape == (len(gold), len(sources.labels))
        assert np.isfinite(scores).all()


@one_to_one
@given(case=cases())
def test_a_map_that_is_one_to_one_gives_each_label_a_source_class_of_its_own(technique, case):
    weights = technique.weights(*case)
    assert set(np.unique(weights)) == {0, 1}
    assert (weights.sum(0) == 1).all()
    assert (weights.sum(1) <= 1).all()


@pytest.mark.parametrize("technique", [Random(per_label=2), Frequency(per_label=2), Semantic(per_label=2)], ids=repr)
@given(case=cases())
def test_many_to_one_gives_each_label_so_many_and_none_of_them_twice(technique, case):
    weights = technique.weights(*case)
    assert ((weights > 0).sum(0) == 2).all()
    assert ((weights > 0).sum(1) <= 1).all()


@every
@given(case=cases(), random=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(technique, case, random):
    sources, gold = case
    order = random.sample(range(len(gold)), len(gold))
    moved = Sources(
        names=sources.names,
        labels=sources.labels,
        logprobs=sources.logprobs[order],
        name_vectors=sources.name_vectors,
        label_vectors=sources.label_vectors,
    )
    np.testing.assert_allclose(technique.weights(moved, gold[order]), technique.weights(sources, gold), atol=1e-12)


@pytest.mark.parametrize("technique", [Bayesian(), BayesianPlus(), Bayesian(lap=0), Semantic(), Random()], ids=repr)
@given(case=cases(), random=st.randoms(use_true_random=False))
def test_permuting_the_labels_permutes_the_columns(technique, case, random):
    sources, gold = case
    order = random.sample(range(len(sources.labels)), len(sources.labels))
    place = {old: new for new, old in enumerate(order)}
    moved = Sources(
        names=sources.names,
        labels=tuple(sources.labels[old] for old in order),
        logprobs=sources.logprobs,
        name_vectors=sources.name_vectors,
        label_vectors=sources.label_vectors[order],
    )
    permuted = technique.weights(moved, np.array([place[label] for label in gold]))
    np.testing.assert_allclose(permuted, technique.weights(sources, gold)[:, order], atol=1e-12)


def test_a_thousand_labels_are_mapped():
    generator = np.random.default_rng(0)
    with np.errstate(divide="ignore"):
        sources, gold = make_sources(generator, 1000, 1200, 300)
    for technique in (Bayesian(), BayesianPlus(), Frequency()):
        assert np.isfinite(technique.map(sources, gold)(sources.logprobs)).all()


# ---- frequencies and the greedy choice ---------------------------------------------------------------


def test_frequencies_count_the_likeliest_source_class_of_each_label():
    logprobs = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.2, 0.2, 0.6]])
    gold = np.array([0, 0, 0, 1])
    np.testing.assert_array_equal(frequencies(logprobs, gold, 2), [[2, 0], [1, 0], [0, 1]])
    soft = [[1.1, 0], [0.8, 0], [0, 0.6]]
    np.testing.assert_allclose(soft_frequencies(logprobs, gold, 2, 1), soft)
    np.testing.assert_allclose(soft_frequencies(logprobs, gold, 2, 3), [[1.2, 0.2], [1.3, 0.2], [0.5, 0.6]])


@given(case=cases())
def test_soft_frequencies_of_all_source_classes_hold_every_row_once(case):
    sources, gold = case
    counts = soft_frequencies(sources.logprobs, gold, len(sources.labels), len(sources.names))
    np.testing.assert_allclose(counts.sum(0), np.bincount(gold, minlength=len(sources.labels)))


@given(st.integers(1, 4), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_the_greedy_choice_is_the_first_of_all_by_its_sorted_entries(labels, more, seed):
    """Of all injections, the greedy one has the lexicographically greatest list of entries in descending order."""
    scores = np.random.default_rng(seed).permutation(labels * (labels + more)).reshape(labels + more, labels)
    ways = permutations(range(labels + more), labels)
    best = max(ways, key=lambda way: sorted((scores[s, t] for t, s in enumerate(way)), reverse=True))
    np.testing.assert_array_equal(assign_greedily(scores).argmax(0), best)


def test_frequency_takes_the_most_frequent_pair_first_and_iterative_is_the_same_without_a_program():
    # F = [[3, 2], [0, 1], [0, 0]]: label 0 takes source class 0, and label 1 the next of its own
    rows = [([0.8, 0.1, 0.1], 0)] * 3 + [([0.7, 0.2, 0.1], 1)] * 2 + [([0.1, 0.8, 0.1], 1)]
    logprobs = np.log([row for row, _ in rows])
    sources = Sources(
        names=("a", "b", "c"),
        labels=("x", "y"),
        logprobs=logprobs,
        name_vectors=np.empty((3, 0)),
        label_vectors=np.empty((2, 0)),
    )
    gold = np.array([label for _, label in rows])
    np.testing.assert_array_equal(Frequency().weights(sources, gold), [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(Iterative().weights(sources, gold), Frequency().weights(sources, gold))
    assert Frequency().map(sources, gold).table() == {"x": {"a": 1.0}, "y": {"b": 1.0}}


def test_too_few_source_classes_are_refused():
    with refused(InputError, "too-few-source-classes", labels=3, needed=6, given=5):
        assign_greedily(np.zeros((5, 3)), per_label=2)


# ---- Bayesian ---------------------------------------------------------------------------------------


def test_bayesian_weights_are_those_worked_by_hand():
    """F = [[3, 1], [0, 2], [0, 0]], lap = 1: [[3/5, 1/5], [0, 2/3], [0, 0]]; columns sum to 3/5 and 13/15."""
    counts = np.array([[3, 1], [0, 2], [0, 0]], float)
    np.testing.assert_allclose(bayesian_weights(counts, 1), [[1, 3 / 13], [0, 10 / 13], [0, 0]])
    # lap = 0: [[3/4, 1/4], [0, 1], [0, 0]]; columns sum to 3/4 and 5/4
    np.testing.assert_allclose(bayesian_weights(counts, 0), [[1, 1 / 5], [0, 4 / 5], [0, 0]])


def test_a_label_without_rows_has_every_source_class_alike():
    np.testing.assert_allclose(bayesian_weights(np.array([[2.0, 0], [1, 0]]), 1)[:, 1], [0.5, 0.5])


@pytest.mark.parametrize(
    ("labels", "alpha", "k"), [(2, 0.15, 1), (6, 0.15, 1), (20, 0.15, 3), (77, 0.15, 11), (6, 1.0, 6), (6, 1e308, 200)]
)
def test_the_top_k_of_blm_plus_is_a_share_of_the_labels_and_at_least_1(labels, alpha, k):
    generator = np.random.default_rng(0)
    logprobs = np.log(generator.dirichlet(np.ones(200), size=1))
    sources = Sources(
        names=tuple(map(str, range(200))),
        labels=tuple(map(str, range(labels))),
        logprobs=logprobs,
        name_vectors=np.empty((200, 0)),
        label_vectors=np.empty((labels, 0)),
    )
    counts = BayesianPlus(alpha=alpha).counts(sources, np.array([0]))
    assert np.count_nonzero(counts) == k
    np.testing.assert_allclose(sorted(counts[:, 0])[-k:], sorted(np.exp(logprobs[0]))[-k:])


@pytest.mark.parametrize(("kind", "wrong"), [(Bayesian, {"lap": -1}), (BayesianPlus, {"alpha": 0}), (Frequency, {"manual": 2})])
def test_a_value_that_a_map_cannot_have_is_refused(kind, wrong):
    with refused(InputError, "out-of-range", aligner=kind.name, **wrong):
        kind(**wrong)


# ---- random and semantic ----------------------------------------------------------------------------


@given(case=cases())
def test_random_depends_on_seed_and_names_alone(case):
    sources, gold = case
    one = Random(seed=3).weights(sources, gold)
    other = Sources(
        names=sources.names[::-1],
        labels=sources.labels,
        logprobs=np.zeros((1, len(sources.names))),
        name_vectors=sources.name_vectors,
        label_vectors=sources.label_vectors,
    )
    np.testing.assert_array_equal(Random(seed=3).weights(other, np.array([0]))[::-1], one)
    assert any((Random(seed=seed).weights(sources, gold) != one).any() for seed in range(20))


def test_semantic_takes_the_nearest_names():
    names = {"bad": [1, 0.1], "the": [-1, -1], "good": [0.1, 1]}
    sources = Sources(
        names=tuple(names),
        labels=("positive", "negative"),
        logprobs=np.zeros((0, 3)),
        name_vectors=np.array([*names.values()]),
        label_vectors=np.array([[0, 1], [1, 0.0]]),
    )
    found = Semantic().map(sources, np.array([], int))
    assert found.table() == {"positive": {"good": 1.0}, "negative": {"bad": 1.0}}


# ---- what a map makes of outputs ---------------------------------------------------------------------


@given(case=cases())
def test_scores_are_the_logarithm_of_weighted_probabilities(case):
    sources, gold = case
    found = Bayesian().map(sources, gold)
    expected = logsumexp(np.maximum(sources.logprobs, -700)[:, :, None], axis=1, b=found.weights)
    np.testing.assert_allclose(found(sources.logprobs), np.maximum(expected, -700), atol=1e-6)


def test_the_manual_verbalizer_alone_is_left_at_its_whole_share_and_none_of_it_at_no_share():
    generator = np.random.default_rng(0)
    sources, gold = make_sources(generator, 3, 8, 10)
    manual = np.log(generator.dirichlet(np.ones(3), size=10))
    for technique, expected in (
        (Bayesian(manual=1.0), manual),
        (Bayesian(manual=0.0), Bayesian().map(sources, gold)(sources.logprobs)),
        (Bayesian(manual=1.0, over="logprobs"), manual),
    ):
        scores = technique.map(sources, gold)(technique.with_manual(sources.logprobs, manual))
        np.testing.assert_allclose(scores, expected)


def test_shrinkage_mixes_the_two_in_probabilities():
    generator = np.random.default_rng(1)
    sources, gold = make_sources(generator, 3, 8, 10)
    manual = np.log(generator.dirichlet(np.ones(3), size=10))
    technique = BayesianPlus(manual=0.3)
    scores = technique.map(sources, gold)(technique.with_manual(sources.logprobs, manual))
    own = np.exp(np.maximum(sources.logprobs, -700)) @ BayesianPlus().weights(sources, gold)
    np.testing.assert_allclose(np.exp(scores), 0.7 * own + 0.3 * np.exp(manual))


def test_a_map_says_which_source_classes_mean_which_label():
    found = LabelMap(sources=("a", "b", "c"), labels=("x", "no"), weights=np.array([[0.2, 0], [0.7, 1], [0.1, 0]]))
    assert found.table(most=2) == {"x": {"b": 0.7, "a": 0.2}, "no": {"b": 1.0}}
    assert str(found) == "x   'b' 0.70, 'a' 0.20, 'c' 0.10\nno  'b' 1.00"


def test_every_map_has_a_name_of_its_own():
    assert [*LABEL_MAPPINGS] == ["random-map", "frequency", "iterative", "blm", "blm+", "semantic"]
