"""Learned read-outs: probe, class vectors, neighbors, centroids and chosen label words, beside independent computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from promptkit.align.chain import CALIBRATIONS
from promptkit.align.labelmap import LABEL_MAPPINGS, Bayesian, Frequency
from promptkit.align.probes import PROBES, AutomaticVerbalizer
from promptkit.align.probes.automatic_verbalizer import best_words, log_odds
from promptkit.align.probes.centroids import centroid_scores, prototype_scores
from promptkit.align.probes.folds import FOLDS, folds
from promptkit.align.probes.knn import divergences, neighbor_scores, with_rest
from promptkit.align.probes.linear import fit_probe
from promptkit.align.probes.soft_verbalizer import fit_class_vectors, fit_offsets
from promptkit.core.alignment import LAYERS, FitData, Outputs
from promptkit.core.registry import build, spelling

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def make_rows(generator: np.random.Generator, labels: int, rows: int, width: int):
    """Features that say something of labels in turn, and the labels."""
    gold = np.arange(rows) % labels
    return generator.normal(size=(labels, width))[gold] + generator.normal(size=(rows, width)), gold


# ---- a label without rows ----------------------------------------------------------------------------


def make_support(technique, generator, labels, rows):
    """What a fit sees: `rows` labeled rows, and evaluated rows far from all of them; some labels have no row."""
    gold = generator.choice(generator.permutation(labels)[: generator.integers(1, labels + 1)], size=rows)

    def outputs(count, far):
        with np.errstate(divide="ignore"):
            shares = np.log(generator.dirichlet(np.full(2 * labels, 0.1), size=count))
        read = dict.fromkeys(technique.needs.tokens, shares)
        hidden = dict.fromkeys(technique.needs.layers, far + generator.normal(size=(count, 4)))
        return Outputs(logprobs=shares[:, :labels], context=np.zeros(count, int), tokens=read, hidden=hidden)

    tops = technique.needs.tokens
    support = FitData(
        items=outputs(5, 1e3),
        rows=outputs(rows, 0.0),
        stand_ins={},
        premise=None,
        labels=tuple(map(str, range(labels))),
        labeled={technique.rows: np.arange(rows)},
        names={top: tuple(map(str, range(2 * labels))) for top in tops},
        name_vectors={top: generator.normal(size=(2 * labels, 4)) for top in tops},
        label_vectors=generator.normal(size=(labels, 4)),
    )
    return support, gold


READ_OUTS = [
    *(technique() for technique in {**PROBES, **LABEL_MAPPINGS}.values()),
    *(build("calibration", CALIBRATIONS, each) for each in ("frequency:sources=words", "blm:over=logprobs", "blm+:manual=0.3")),
]
BEYOND = {"random-map", "semantic", "soft-verbalizer", "blm+:manual=0.3"}
"""Those that know a label by its name or its word."""


@pytest.mark.parametrize("technique", READ_OUTS, ids=spelling)
@given(seeds, st.integers(2, 5), st.integers(1, 6))
def test_a_label_without_rows_is_finite_and_never_predicted_from_rows(technique, generator, labels, rows):
    support, gold = make_support(technique, generator, labels, rows)
    scores = technique.fit(support, gold).apply(support.items)
    assert np.isfinite(scores).all()
    assert technique.supports_unseen_labels == (spelling(technique) in BEYOND)
    assert technique.supports_unseen_labels or np.isin(scores.argmax(1), gold).all()


@pytest.mark.parametrize("technique", [Frequency(), Bayesian(), AutomaticVerbalizer()], ids=spelling)
def test_a_label_with_rows_has_the_scores_of_its_technique_alone(technique):
    support, gold = make_support(technique, np.random.default_rng(5), 3, 12)
    found = technique.fit(support, gold)
    seen = np.unique(gold)
    np.testing.assert_array_equal(found.apply(support.items)[:, seen], found.scores(support.items)[:, seen])


# ---- folds ------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40).map(np.array))
def test_each_row_is_held_out_at_most_once_and_a_class_of_many_rows_is_in_every_fold(gold):
    divided = [*folds(gold)]
    held = np.sum([held for _, held in divided], axis=0) if divided else np.zeros(len(gold))
    assert (held <= 1).all()
    for fit, out in divided:
        assert (fit != out).all()
        assert len(np.unique(gold[fit])) > 1
        assert all(out[gold == label].any() for label in np.unique(gold) if (gold == label).sum() >= FOLDS)
        assert np.isin(gold[out], gold[fit]).all()


# ---- the probe --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "rows", "width"), [(2, 30, 5), (4, 40, 6), (3, 12, 50), (2, 8, 40)])
def test_the_probe_is_scikit_learns_logistic_regression_of_standardized_features(labels, rows, width):
    features, gold = make_rows(np.random.default_rng(0), labels, rows, width)
    queries = np.random.default_rng(1).normal(size=(20, width))
    mean, deviation = features.mean(0), features.std(0)
    whole = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit((features - mean) / deviation, gold)
    scores = fit_probe(features, gold, labels, (0.1,))(queries)
    np.testing.assert_allclose(softmax(scores, axis=1), whole.predict_proba((queries - mean) / deviation), atol=1e-4)


def test_the_strength_of_least_log_loss_over_the_folds_is_chosen():
    features, gold = make_rows(np.random.default_rng(2), 3, 45, 4)
    strengths = (1e-3, 1e-1, 10.0)

    def loss(strength):
        total = 0.0
        for fold in range(FOLDS):
            held = np.array([(gold[:i] == label).sum() % FOLDS == fold for i, label in enumerate(gold)])
            shares = softmax(fit_probe(features[~held], gold[~held], 3, (strength,))(features[held]), axis=1)
            total -= np.log(shares[np.arange(held.sum()), gold[held]]).sum()
        return total

    assert fit_probe(features, gold, 3, strengths).strength == min(strengths, key=loss)


@given(seeds, st.integers(2, 6), st.integers(1, 9))
def test_a_probe_of_any_rows_gives_a_number_for_every_label_and_never_one_without_rows(generator, labels, rows):
    features = generator.normal(size=(rows, 3))
    features[:, 1] = 4.0  # says nothing
    gold = generator.integers(0, max(1, labels - 1), size=rows)
    scores = fit_probe(features, gold, labels, (0.1, 1.0))(features)
    assert scores.shape == (rows, labels)
    assert np.isfinite(scores).all()
    assert np.isin(scores.argmax(1), gold).all()


# ---- the soft verbalizer ----------------------------------------------------------------------------


def test_class_vectors_without_a_manual_verbalizer_are_a_regression_without_intercept():
    hidden, gold = make_rows(np.random.default_rng(3), 4, 40, 5)
    trained = fit_offsets(hidden, np.zeros((40, 4)), gold, 0.5)
    whole = LogisticRegression(C=0.5, fit_intercept=False, max_iter=5000, tol=1e-8).fit(hidden, gold)
    np.testing.assert_allclose(softmax(hidden @ trained, axis=1), whole.predict_proba(hidden), atol=1e-3)


def test_class_vectors_stay_the_manual_verbalizers_where_it_is_right_and_leave_it_where_it_is_wrong():
    generator = np.random.default_rng(4)
    noise, manual = generator.normal(size=(60, 6)), generator.normal(size=(60, 3)) * 3
    drawn = np.array([generator.choice(3, p=shares) for shares in softmax(manual, axis=1)])
    kept = fit_class_vectors(noise, manual, drawn, (100.0,))
    assert kept.strength == 0
    np.testing.assert_array_equal(kept(noise, manual), manual)
    hidden, gold = make_rows(generator, 3, 45, 6)
    wrong = np.log(np.eye(3)[(gold + 1) % 3] * 0.7 + 0.1)
    left = fit_class_vectors(hidden, wrong, gold)
    assert left.strength > 0
    assert (left(hidden, wrong).argmax(1) == gold).mean() > 0.8


@given(seeds, st.integers(2, 5), st.integers(1, 8))
def test_class_vectors_of_any_rows_give_a_number_for_every_label(generator, labels, rows):
    hidden, manual = generator.normal(size=(rows, 3)), generator.uniform(-9, 0, (rows, labels))
    trained = fit_class_vectors(hidden, manual, generator.integers(labels, size=rows), (1.0,))
    assert np.isfinite(trained(hidden, manual)).all()
    assert np.isfinite(fit_class_vectors(np.zeros((rows, 3)), manual, np.zeros(rows, int))(hidden, manual)).all()


# ---- neighbors -------------------------------------------------------------------------------------


@given(seeds)
def test_divergences_are_those_of_scipy_over_the_tokens_and_the_rest(generator):
    anchors, queries = (generator.dirichlet(np.ones(6), size=rows)[:, :5] for rows in (4, 3))
    found = divergences(with_rest(np.log(anchors)), with_rest(np.log(queries)))
    for i, query in enumerate(queries):
        for j, anchor in enumerate(anchors):
            whole = rel_entr([*anchor, 1 - anchor.sum()], [*query, 1 - query.sum()]).sum()
            assert found[i, j] == pytest.approx(whole, abs=1e-9)


def test_what_float32_cannot_tell_of_the_rest_is_no_distance():
    """Of a query that is sure of one token the rest is rounding: 0 or less, or up to 1e-7."""
    anchor = with_rest(np.log([[0.6, 0.35]]))
    none, some = (with_rest(np.array([[-rest, -20.0]])) for rest in (0.0, 1e-7))
    assert abs(divergences(anchor, none) - divergences(anchor, some)) < 0.05


def test_neighbors_vote_and_the_nearer_settles_a_tie():
    """One token beside the rest: distances from 0.5 grow with |p - 0.5|."""
    anchors = np.log([[0.5], [0.55], [0.6], [0.7], [0.8]])
    gold = np.array([0, 1, 1, 0, 2])
    query = np.log([[0.5]])
    votes = [neighbor_scores(anchors, gold, query, 3, k).argmax() for k in (1, 2, 3, 4, 5)]
    assert votes == [0, 0, 1, 0, 0]
    shares = np.exp(neighbor_scores(anchors, gold, query, 3, 3)[0])
    assert shares.sum() == pytest.approx(1)
    assert (shares * 4).astype(int).tolist() == [1, 2, 0]


@given(seeds, st.integers(2, 6), st.integers(1, 8), st.integers(1, 9))
def test_a_vote_of_neighbors_is_won_by_a_label_that_most_of_them_have(generator, labels, anchors, k):
    with np.errstate(divide="ignore"):
        logprobs = np.log(generator.dirichlet(np.full(5, 0.1), size=anchors + 3)[:, :4])
    gold = generator.integers(labels, size=anchors)
    scores = neighbor_scores(logprobs[:anchors], gold, logprobs[anchors:], labels, k)
    assert np.isfinite(scores).all()
    distances = divergences(with_rest(logprobs[:anchors]), with_rest(logprobs[anchors:]))
    for row, own in zip(scores, distances, strict=True):
        nearest = gold[np.argsort(own, kind="stable")[:k]]
        counts = np.bincount(nearest, minlength=labels)
        assert counts[row.argmax()] == counts.max()


# ---- centroids --------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 5))
def test_the_nearest_centroid_is_scikit_learns(generator, labels):
    rows, gold = make_rows(generator, labels, 4 * labels, 6)
    queries = generator.normal(size=(9, 6))
    nearest = NearestCentroid().fit(rows, gold).predict(queries)
    np.testing.assert_array_equal(centroid_scores(rows, gold, queries, labels).argmax(1), nearest)


def test_centroid_scores_are_squared_distances_in_units_of_the_scatter():
    rows = np.array([[0.0, 0], [2, 0], [0, 5], [0, 7]])  # means (1, 0) and (0, 6), each row 1 from its own
    scores = centroid_scores(rows, np.array([0, 0, 1, 1]), np.array([[1.0, 2]]), 2)
    np.testing.assert_allclose(scores, [[-4, -17]])


@given(seeds, st.integers(2, 5))
def test_prototypes_do_not_change_when_all_states_are_moved_and_scaled(generator, labels):
    rows, gold = make_rows(generator, labels, 4 * labels, 6)
    queries, moved = generator.normal(size=(9, 6)), generator.normal(size=6)
    scores = prototype_scores(rows, gold, queries, labels)
    np.testing.assert_allclose(prototype_scores(3 * rows + moved, gold, 3 * queries + moved, labels), scores, atol=1e-9)
    assert (np.abs(scores) <= 1 + 1e-9).all()


def test_a_prototype_is_the_direction_of_a_labels_rows():
    rows = np.array([[1.0, 0], [3, 0], [-2, 1], [-2, -1]])  # of mean 0
    scores = prototype_scores(rows, np.array([0, 0, 1, 1]), np.array([[5.0, 0], [0, 1], [-1, 1]]), 2)
    np.testing.assert_allclose(scores, [[1, -1], [0, 0], [-(0.5**0.5), 0.5**0.5]], atol=1e-12)


# ---- label words ------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 4))
def test_log_odds_are_petals_ratio_with_both_sides_balanced(generator, labels):
    """Schick et al. 2020, eq. 4 and 5, as sums over rows, divided by the number of other rows."""
    probabilities = generator.uniform(0.01, 0.99, (3 * labels, 4))
    gold = np.arange(3 * labels) % labels
    odds = log_odds(np.log(probabilities), gold, labels)
    for t in range(labels):
        own, others = probabilities[gold == t], probabilities[gold != t]
        scale = len(others) / len(own)
        ratio = scale * (np.log(own) - np.log(1 - own)).sum(0) - (np.log(others) - np.log(1 - others)).sum(0)
        np.testing.assert_allclose(odds[:, t], ratio / len(others))


def test_the_words_of_greatest_odds_are_weighed_alike():
    odds = np.array([[3, -1], [2, 0], [-1, 5], [0, 1.0]])
    np.testing.assert_array_equal(best_words(odds, 2), [[0.5, 0], [0.5, 0], [0, 0.5], [0, 0.5]])
    np.testing.assert_array_equal(best_words(odds, 9), np.full((4, 2), 0.25))


@given(seeds, st.integers(2, 4), st.integers(1, 5))
def test_log_odds_are_finite_for_certain_and_impossible_words_and_missing_labels(generator, labels, rows):
    with np.errstate(divide="ignore"):
        logprobs = np.log(generator.choice([0, 1, 0.5], size=(rows, 4)))
    assert np.isfinite(log_odds(logprobs, generator.integers(labels, size=rows), labels)).all()


# ---- which layer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "hidden", "prototypical"])
@pytest.mark.parametrize("telling", LAYERS)
@given(seeds, st.integers(2, 4))
def test_of_two_layers_that_is_read_which_tells_of_the_labels(name, telling, generator, labels):
    technique = build("calibration", CALIBRATIONS, name)
    gold = np.arange(12 * labels) % labels
    centres = 10 * np.eye(labels, 8)

    def outputs(rows):
        noise = {layer: generator.normal(size=(len(rows), 8)) for layer in LAYERS}
        told = noise | {telling: centres[rows] + noise[telling]}
        return Outputs(logprobs=np.zeros((len(rows), labels)), context=np.zeros(len(rows), int), hidden=told)

    support = FitData(
        items=outputs(gold), rows=outputs(gold), stand_ins={}, premise=None, labeled={technique.rows: np.arange(len(gold))}
    )
    assert (technique.fit(support, gold).apply(support.items).argmax(1) == gold).all()
