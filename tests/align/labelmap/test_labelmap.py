"""Label mappings: general properties, values computed by hand, and independent computations."""

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

TECHNIQUES = [
    *(make() for make in (Random, Frequency, Iterative, Bayesian, BayesianPlus, Semantic)),
    *(
        Bayesian(lap=0),
        BayesianPlus(lap=0, alpha=3),
        Frequency(per_label=2),
        Random(per_label=2, seed=1),
        Semantic(per_label=2),
    ),
]
all_techniques = pytest.mark.parametrize("technique", TECHNIQUES, ids=repr)
one_to_one = pytest.mark.parametrize("technique", [Random(), Frequency(), Iterative(), Semantic()], ids=repr)


def make_sources(generator: np.random.Generator, labels: int, sources: int, rows: int):
    """Random log-probabilities, including -inf; some labels have no rows."""
    logprobs = np.log(generator.dirichlet(np.full(sources, 0.2), size=rows) + generator.choice([0, 1e-9], size=(rows, 1)))
    sources_of_rows = Sources(
        names=tuple(f"s{i}" for i in range(sources)),
        labels=tuple(f"t{i}" for i in range(labels)),
        logprobs=logprobs,
        name_vectors=generator.normal(size=(sources, 4)),
        label_vectors=generator.normal(size=(labels, 4)),
    )
    return sources_of_rows, generator.choice(generator.permutation(labels)[: generator.integers(1, labels + 1)], size=rows)


@st.composite
def cases(draw):
    """2 to 12 labels, at least two source classes for each label, and 1 to 20 rows."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = int(generator.integers(2, 13))
    with np.errstate(divide="ignore"):
        return make_sources(generator, labels, 2 * labels + int(generator.integers(0, 9)), int(generator.integers(1, 21)))


# ---- properties of all mappings ---------------------------------------------------------------------


@all_techniques
@given(case=cases())
def test_columns_sum_to_1_and_scores_are_finite(technique, case):
    sources, gold = case
    label_map = technique.map(sources, gold)
    np.testing.assert_allclose(label_map.weights.sum(0), 1)
    assert (label_map.weights >= 0).all()
    for over in ("probabilities", "logprobs"):
        scores = LabelMap(sources=label_map.sources, labels=label_map.labels, weights=label_map.weights, over=over)(
            sources.logprobs
        )
        assert scores.shape == (len(gold), len(sources.labels))
        assert np.isfinite(scores).all()


@one_to_one
@given(case=cases())
def test_one_to_one_mapping_is_injective(technique, case):
    weights = technique.weights(*case)
    assert set(np.unique(weights)) == {0, 1}
    assert (weights.sum(0) == 1).all()
    assert (weights.sum(1) <= 1).all()


@pytest.mark.parametrize("technique", [Random(per_label=2), Frequency(per_label=2), Semantic(per_label=2)], ids=repr)
@given(case=cases())
def test_many_to_one_mapping_assigns_source_classes_once(technique, case):
    weights = technique.weights(*case)
    assert ((weights > 0).sum(0) == 2).all()
    assert ((weights > 0).sum(1) <= 1).all()


@all_techniques
@given(case=cases(), random=st.randoms(use_true_random=False))
def test_weights_do_not_depend_on_row_order(technique, case, random):
    sources, gold = case
    order = random.sample(range(len(gold)), len(gold))
    reordered = Sources(
        names=sources.names,
        labels=sources.labels,
        logprobs=sources.logprobs[order],
        name_vectors=sources.name_vectors,
        label_vectors=sources.label_vectors,
    )
    np.testing.assert_allclose(technique.weights(reordered, gold[order]), technique.weights(sources, gold), atol=1e-12)


@pytest.mark.parametrize("technique", [Bayesian(), BayesianPlus(), Bayesian(lap=0), Semantic(), Random()], ids=repr)
@given(case=cases(), random=st.randoms(use_true_random=False))
def test_permuting_the_labels_permutes_the_columns(technique, case, random):
    sources, gold = case
    order = random.sample(range(len(sources.labels)), len(sources.labels))
    new_index = {old: new for new, old in enumerate(order)}
    reordered = Sources(
        names=sources.names,
        labels=tuple(sources.labels[old] for old in order),
        logprobs=sources.logprobs,
        name_vectors=sources.name_vectors,
        label_vectors=sources.label_vectors[order],
    )
    permuted = technique.weights(reordered, np.array([new_index[label] for label in gold]))
    np.testing.assert_allclose(permuted, technique.weights(sources, gold)[:, order], atol=1e-12)


def test_a_thousand_labels():
    generator = np.random.default_rng(0)
    with np.errstate(divide="ignore"):
        sources, gold = make_sources(generator, 1000, 1200, 300)
    for technique in (Bayesian(), BayesianPlus(), Frequency()):
        assert np.isfinite(technique.map(sources, gold)(sources.logprobs)).all()


# ---- frequencies and greedy assignment --------------------------------------------------------------


def test_frequencies_count_most_likely_source_classes():
    logprobs = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.2, 0.2, 0.6]])
    gold = np.array([0, 0, 0, 1])
    np.testing.assert_array_equal(frequencies(logprobs, gold, 2), [[2, 0], [1, 0], [0, 1]])
    soft = [[1.1, 0], [0.8, 0], [0, 0.6]]
    np.testing.assert_allclose(soft_frequencies(logprobs, gold, 2, 1), soft)
    np.testing.assert_allclose(soft_frequencies(logprobs, gold, 2, 3), [[1.2, 0.2], [1.3, 0.2], [0.5, 0.6]])


@given(case=cases())
def test_soft_frequencies_of_all_source_classes_sum_to_row_counts(case):
    sources, gold = case
    counts = soft_frequencies(sources.logprobs, gold, len(sources.labels), len(sources.names))
    np.testing.assert_allclose(counts.sum(0), np.bincount(gold, minlength=len(sources.labels)))


@given(st.integers(1, 4), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_greedy_assignment_is_lexicographically_greatest(labels, extra, seed):
    """Of all injective assignments, the greedy one has the lexicographically greatest list of entries in descending order."""
    scores = np.random.default_rng(seed).permutation(labels * (labels + extra)).reshape(labels + extra, labels)
    assignments = permutations(range(labels + extra), labels)
    best = max(assignments, key=lambda assignment: sorted((scores[s, t] for t, s in enumerate(assignment)), reverse=True))
    np.testing.assert_array_equal(assign_greedily(scores).argmax(0), best)


def test_frequency_assigns_most_frequent_pair_first_and_iterative_is_equal():
    # F = [[3, 2], [0, 1], [0, 0]]: label 0 takes source class 0, and label 1 its next most frequent one
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


def test_bayesian_weights_equal_values_computed_by_hand():
    """F = [[3, 1], [0, 2], [0, 0]], lap = 1: [[3/5, 1/5], [0, 2/3], [0, 0]]; columns sum to 3/5 and 13/15."""
    counts = np.array([[3, 1], [0, 2], [0, 0]], float)
    np.testing.assert_allclose(bayesian_weights(counts, 1), [[1, 3 / 13], [0, 10 / 13], [0, 0]])
    # lap = 0: [[3/4, 1/4], [0, 1], [0, 0]]; columns sum to 3/4 and 5/4
    np.testing.assert_allclose(bayesian_weights(counts, 0), [[1, 1 / 5], [0, 4 / 5], [0, 0]])


def test_label_without_rows_has_uniform_weights():
    np.testing.assert_allclose(bayesian_weights(np.array([[2.0, 0], [1, 0]]), 1)[:, 1], [0.5, 0.5])


@pytest.mark.parametrize(
    ("labels", "alpha", "k"), [(2, 0.15, 1), (6, 0.15, 1), (20, 0.15, 3), (77, 0.15, 11), (6, 1.0, 6), (6, 1e308, 200)]
)
def test_top_k_of_blm_plus(labels, alpha, k):
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


@pytest.mark.parametrize(
    ("technique", "settings"), [(Bayesian, {"lap": -1}), (BayesianPlus, {"alpha": 0}), (Frequency, {"manual": 2})]
)
def test_invalid_settings_are_refused(technique, settings):
    with refused(InputError, "out-of-range", aligner=technique.name, **settings):
        technique(**settings)


# ---- random and semantic ----------------------------------------------------------------------------


@given(case=cases())
def test_random_mapping_depends_only_on_seed_and_names(case):
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


def test_semantic_mapping_chooses_most_similar_names():
    names = {"bad": [1, 0.1], "the": [-1, -1], "good": [0.1, 1]}
    sources = Sources(
        names=tuple(names),
        labels=("positive", "negative"),
        logprobs=np.zeros((0, 3)),
        name_vectors=np.array([*names.values()]),
        label_vectors=np.array([[0, 1], [1, 0.0]]),
    )
    label_map = Semantic().map(sources, np.array([], int))
    assert label_map.table() == {"positive": {"good": 1.0}, "negative": {"bad": 1.0}}


# ---- label maps -------------------------------------------------------------------------------------


@given(case=cases())
def test_scores_are_the_logarithm_of_weighted_probabilities(case):
    sources, gold = case
    label_map = Bayesian().map(sources, gold)
    weighted = logsumexp(np.maximum(sources.logprobs, -700)[:, :, None], axis=1, b=label_map.weights)
    expected = weighted - logsumexp(weighted, axis=1, keepdims=True)
    np.testing.assert_allclose(label_map(sources.logprobs), np.maximum(expected, -700), atol=1e-6)


def test_manual_share_of_0_and_1():
    generator = np.random.default_rng(0)
    sources, gold = make_sources(generator, 3, 8, 10)
    manual = np.log(generator.dirichlet(np.ones(3), size=10))
    with_manual = np.hstack([sources.logprobs, manual])
    for technique, logprobs, expected in (
        (Bayesian(manual=1.0), with_manual, manual),
        (Bayesian(manual=0.0), sources.logprobs, Bayesian().map(sources, gold)(sources.logprobs)),
        (Bayesian(manual=1.0, over="logprobs"), with_manual, manual),
    ):
        scores = technique.map(sources, gold)(logprobs)
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_manual_share_mixes_probabilities():
    generator = np.random.default_rng(1)
    sources, gold = make_sources(generator, 3, 8, 10)
    manual = np.log(generator.dirichlet(np.ones(3), size=10))
    technique = BayesianPlus(manual=0.3)
    scores = technique.map(sources, gold)(np.hstack([sources.logprobs, manual]))
    learned = np.exp(np.maximum(sources.logprobs, -700)) @ BayesianPlus().weights(sources, gold)
    mixed = 0.7 * learned + 0.3 * np.exp(manual)
    np.testing.assert_allclose(np.exp(scores), mixed / mixed.sum(1, keepdims=True))


def test_table_lists_source_classes_of_each_label():
    label_map = LabelMap(sources=("a", "b", "c"), labels=("x", "no"), weights=np.array([[0.2, 0], [0.7, 1], [0.1, 0]]))
    assert label_map.table(most=2) == {"x": {"b": 0.7, "a": 0.2}, "no": {"b": 1.0}}
    assert str(label_map) == "x   'b' 0.70, 'a' 0.20, 'c' 0.10\nno  'b' 1.00"


def test_names_and_settings():
    assert [*LABEL_MAPPINGS] == ["random-map", "frequency", "iterative", "blm", "blm+", "semantic", "full"]
