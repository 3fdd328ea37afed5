"""Probes compared with independent computations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid

from promptkit.align.chain import CALIBRATIONS
from promptkit.align.folds import FOLDS, folds
from promptkit.align.labelmap import LABEL_MAPPINGS, Bayesian, Frequency
from promptkit.align.probes import PROBES, AutomaticVerbalizer
from promptkit.align.probes.automatic_verbalizer import best_words, log_odds
from promptkit.align.probes.centroids import HiddenCalibration, PrototypicalVerbalizer
from promptkit.align.probes.knn import divergences, neighbor_scores, with_rest
from promptkit.align.probes.linear import LinearProbe, fit_probe
from promptkit.align.probes.soft_verbalizer import fit_class_vectors, fit_offsets
from promptkit.core.needs import FitData, LabeledOutputs, Outputs, with_required
from promptkit.core.registry import build, spelling
from promptkit.needs.fit_rows import FitRows
from promptkit.needs.hidden_states import LAYERS, HiddenState
from promptkit.needs.name_vectors import NameEmbeddings, NameVectors
from promptkit.needs.source_logprobs import SourceLogprobs

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def make_rows(generator: np.random.Generator, labels: int, rows: int, width: int):
    """Features with one cluster for each label, and the labels."""
    gold = np.arange(rows) % labels
    return generator.normal(size=(labels, width))[gold] + generator.normal(size=(rows, width)), gold


# ---- a label without rows ---------------------------------------------------------------------------


def make_fit_data(technique, generator, labels, rows):
    """Labeled rows, and evaluated rows far away from them; some labels have no rows."""
    gold = generator.choice(generator.permutation(labels)[: generator.integers(1, labels + 1)], size=rows)

    needs = with_required(technique.needs)

    def outputs(count, far):
        with np.errstate(divide="ignore"):
            shares = np.log(generator.dirichlet(np.full(2 * labels, 0.1), size=count))
        reads = {need: shares for need in needs if isinstance(need, SourceLogprobs)}
        reads |= {need: far + generator.normal(size=(count, 4)) for need in needs if isinstance(need, HiddenState)}
        return Outputs(logprobs=shares[:, :labels], context=np.zeros(count, int), reads=reads)

    values = {technique.rows: LabeledOutputs(outputs=outputs(rows, 0.0), gold=gold)}
    for need in needs:
        if isinstance(need, FitRows):
            values[need] = outputs(8, 0.0)
        elif isinstance(need, SourceLogprobs):
            values[need] = tuple(map(str, range(2 * labels)))
        elif isinstance(need, NameVectors):
            sources, names = (generator.normal(size=(count * labels, 4)) for count in (2, 1))
            values[need] = NameEmbeddings(sources=sources, labels=names)
    return FitData(labels=tuple(map(str, range(labels))), items=outputs(5, 1e3), values=values), gold


TECHNIQUES = [
    *(technique() for technique in {**PROBES, **LABEL_MAPPINGS}.values()),
    *(build("calibration", CALIBRATIONS, item) for item in ("frequency:sources=words", "blm:over=logprobs", "blm+:manual=0.3")),
]
SUPPORTS_UNSEEN_LABELS = {"random-map", "semantic", "soft-verbalizer", "blm+:manual=0.3"}
"""Techniques that use the name or the word of a label."""


@pytest.mark.parametrize("technique", TECHNIQUES, ids=spelling)
@given(seeds, st.integers(2, 5), st.integers(1, 6))
def test_label_without_rows_has_finite_score_and_is_not_predicted(technique, generator, labels, rows):
    support, gold = make_fit_data(technique, generator, labels, rows)
    scores = technique.fit(support).apply(support.items)
    assert np.isfinite(scores).all()
    assert technique.supports_unseen_labels == (spelling(technique) in SUPPORTS_UNSEEN_LABELS)
    assert technique.supports_unseen_labels or np.isin(scores.argmax(1), gold).all()


@pytest.mark.parametrize("technique", [Frequency(), Bayesian(), AutomaticVerbalizer()], ids=spelling)
def test_scores_of_labels_with_rows_are_unchanged(technique):
    support, gold = make_fit_data(technique, np.random.default_rng(5), 3, 12)
    fitted = technique.fit(support)
    seen = np.unique(gold)
    np.testing.assert_array_equal(fitted.apply(support.items)[:, seen], fitted.scorer(support.items)[:, seen])


# ---- folds ------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40).map(np.array))
def test_folds_are_disjoint_and_stratified(gold):
    splits = [*folds(gold)]
    held_out = np.sum([held_out for _, held_out in splits], axis=0) if splits else np.zeros(len(gold))
    assert (held_out <= 1).all()
    for fit, out in splits:
        assert (fit != out).all()
        assert len(np.unique(gold[fit])) > 1
        assert all(out[gold == label].any() for label in np.unique(gold) if (gold == label).sum() >= FOLDS)
        assert np.isin(gold[out], gold[fit]).all()


# ---- linear probe -----------------------------------------------------------------------------------


def fit_reference(features, gold, strength):
    """Standardizes with numpy, without a rotation, and fits scikit-learn's logistic regression with a tight tolerance."""
    mean, deviation = features.mean(0), features.std(0)
    reference = LogisticRegression(C=strength, max_iter=10_000, tol=1e-9).fit((features - mean) / deviation, gold)
    return lambda queries: reference.predict_proba((queries - mean) / deviation)


@pytest.mark.parametrize("strength", [0.1, 10.0])
@pytest.mark.parametrize(("labels", "rows", "width"), [(2, 30, 5), (4, 40, 6), (3, 12, 50), (2, 8, 40), (6, 60, 300)])
def test_probe_equals_logistic_regression_of_standardized_features(labels, rows, width, strength):
    features, gold = make_rows(np.random.default_rng(0), labels, rows, width)
    queries = np.random.default_rng(1).normal(size=(20, width))
    scores = fit_probe(features, gold, labels, (strength,))(queries)
    np.testing.assert_allclose(softmax(scores, axis=1), fit_reference(features, gold, strength)(queries), atol=1e-4)


@pytest.mark.parametrize(("labels", "rows", "width"), [(3, 30, 5), (3, 12, 50)])
def test_normalized_probe_equals_logistic_regression_of_unit_rows(labels, rows, width):
    """Features have a mean square of 1 over all rows, as standardized features do, so that C has the same meaning."""
    features, gold = make_rows(np.random.default_rng(0), labels, rows, width)
    queries = np.random.default_rng(1).normal(size=(20, width))
    units, unit_queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (features, queries))
    center = units.mean(0)
    deviation = np.sqrt(((units - center) ** 2).mean())
    reference = LogisticRegression(C=0.1, max_iter=10_000, tol=1e-9).fit((units - center) / deviation, gold)
    probe = fit_probe(features, gold, labels, (0.1,), scale="normalize")
    expected = reference.predict_proba((unit_queries - center) / deviation)
    np.testing.assert_allclose(softmax(probe(queries), axis=1), expected, atol=1e-4)
    np.testing.assert_allclose(probe(7 * queries), probe(queries))


@pytest.mark.parametrize(("informative", "scale"), [("direction", "normalize"), ("small feature", "standardize")])
def test_better_scale_is_chosen(informative, scale):
    """Rows of very different lengths need normalization; a small feature that decides the label needs standardization."""
    generator = np.random.default_rng(5)
    features, gold = generator.normal(size=(60, 8)), np.arange(60) % 3
    if informative == "direction":
        features = (features + 4 * np.eye(3, 8)[gold]) * np.exp(generator.normal(scale=3, size=(60, 1)))
    else:
        features = np.hstack([features, 1e-3 * (np.eye(3)[gold] + 0.1 * generator.normal(size=(60, 3)))])
    outputs = Outputs(logprobs=np.zeros((60, 3)), context=np.zeros(60, int), reads={HiddenState(-1): features})
    values = {LinearProbe().rows: LabeledOutputs(outputs=outputs, gold=gold)}
    data = FitData(labels=("a", "b", "c"), items=outputs, values=values)
    best, one = (LinearProbe(layer=-1, scale=each).fit(data).apply(outputs) for each in ("best", scale))
    np.testing.assert_array_equal(best, one)


@pytest.mark.parametrize("width", [4, 60])
def test_strength_with_lowest_cross_validated_log_loss_is_chosen(width):
    features, gold = make_rows(np.random.default_rng(2), 3, 45, width)
    losses = dict.fromkeys((1e-3, 1e-1, 10.0), 0.0)
    for strength in losses:
        for train, held_out in StratifiedKFold(FOLDS).split(features, gold):
            shares = fit_reference(features[train], gold[train], strength)(features[held_out])
            losses[strength] -= np.log(shares[np.arange(len(held_out)), gold[held_out]]).sum()
    strength = min(losses, key=losses.__getitem__)
    for order in (1, -1):
        probe = fit_probe(features, gold, 3, [*losses][::order])
        assert probe.strength == strength
        assert probe.validation_loss == pytest.approx(losses[strength], rel=1e-4)
    np.testing.assert_array_equal(probe.weights, fit_probe(features, gold, 3, (strength,)).weights)


@given(seeds, st.integers(2, 6), st.integers(1, 9))
def test_probe_is_finite_and_predicts_only_labels_with_rows(generator, labels, rows):
    features = generator.normal(size=(rows, 3))
    features[:, 1] = 4.0  # a constant feature
    gold = generator.integers(0, max(1, labels - 1), size=rows)
    scores = fit_probe(features, gold, labels, (0.1, 1.0))(features)
    assert scores.shape == (rows, labels)
    assert np.isfinite(scores).all()
    assert np.isin(scores.argmax(1), gold).all()


# ---- the soft verbalizer ----------------------------------------------------------------------------


def test_class_vectors_with_uniform_manual_verbalizer_equal_logistic_regression():
    hidden, gold = make_rows(np.random.default_rng(3), 4, 40, 5)
    trained = fit_offsets(hidden, np.zeros((40, 4)), gold, 0.5)
    reference = LogisticRegression(C=0.5, fit_intercept=False, max_iter=5000, tol=1e-8).fit(hidden, gold)
    np.testing.assert_allclose(softmax(hidden @ trained, axis=1), reference.predict_proba(hidden), atol=1e-3)


def test_class_vectors_of_few_rows_minimize_the_loss_over_all_dimensions():
    """Fitted in the span of the rows; the gradient over all dimensions is 0 there."""
    generator = np.random.default_rng(4)
    hidden, manual, gold = generator.normal(size=(6, 30)), generator.normal(size=(6, 3)), np.arange(6) % 3
    trained = fit_offsets(hidden, manual, gold, 2.0)
    residual = softmax(manual + hidden @ trained, axis=1) - np.eye(3)[gold]
    np.testing.assert_allclose(hidden.T @ residual + trained / 2.0, 0, atol=1e-3)


def test_class_vectors_differ_from_manual_verbalizer_only_if_it_is_wrong():
    generator = np.random.default_rng(4)
    noise, manual = generator.normal(size=(60, 6)), generator.normal(size=(60, 3)) * 3
    gold_from_manual = np.array([generator.choice(3, p=shares) for shares in softmax(manual, axis=1)])
    manual_is_correct = fit_class_vectors(noise, manual, gold_from_manual, (100.0,))
    assert manual_is_correct.strength == 0
    np.testing.assert_array_equal(manual_is_correct(noise, manual), manual)
    hidden, gold = make_rows(generator, 3, 45, 6)
    wrong = np.log(np.eye(3)[(gold + 1) % 3] * 0.7 + 0.1)
    manual_is_wrong = fit_class_vectors(hidden, wrong, gold)
    assert manual_is_wrong.strength > 0
    assert (manual_is_wrong(hidden, wrong).argmax(1) == gold).mean() > 0.8


@given(seeds, st.integers(2, 5), st.integers(1, 8))
def test_class_vectors_are_finite(generator, labels, rows):
    hidden, manual = generator.normal(size=(rows, 3)), generator.uniform(-9, 0, (rows, labels))
    trained = fit_class_vectors(hidden, manual, generator.integers(labels, size=rows), (1.0,))
    assert np.isfinite(trained(hidden, manual)).all()
    assert np.isfinite(fit_class_vectors(np.zeros((rows, 3)), manual, np.zeros(rows, int))(hidden, manual)).all()


# ---- neighbors --------------------------------------------------------------------------------------


@given(seeds)
def test_divergences_equal_scipy(generator):
    anchors, queries = (generator.dirichlet(np.ones(6), size=rows)[:, :5] for rows in (4, 3))
    distances = divergences(with_rest(np.log(anchors)), with_rest(np.log(queries)))
    for i, query in enumerate(queries):
        for j, anchor in enumerate(anchors):
            reference = rel_entr([*anchor, 1 - anchor.sum()], [*query, 1 - query.sum()]).sum()
            assert distances[i, j] == pytest.approx(reference, abs=1e-9)


def test_rounding_error_of_the_rest_does_not_change_the_distance():
    """If a query is certain of one token, the probability of the rest is rounding error: at most 1e-7, or negative."""
    anchor = with_rest(np.log([[0.6, 0.35]]))
    none, some = (with_rest(np.array([[-rest, -20.0]])) for rest in (0.0, 1e-7))
    assert abs(divergences(anchor, none) - divergences(anchor, some)) < 0.05


def test_neighbors_vote_and_the_nearest_breaks_ties():
    """One token and the rest: the distance from 0.5 grows with |p - 0.5|."""
    anchors = np.log([[0.5], [0.55], [0.6], [0.7], [0.8]])
    gold = np.array([0, 1, 1, 0, 2])
    query = np.log([[0.5]])
    votes = [neighbor_scores(anchors, gold, query, 3, k).argmax() for k in (1, 2, 3, 4, 5)]
    assert votes == [0, 0, 1, 0, 0]
    shares = np.exp(neighbor_scores(anchors, gold, query, 3, 3)[0])
    assert shares.sum() == pytest.approx(1)
    assert (shares * 4).astype(int).tolist() == [1, 2, 0]


@given(seeds, st.integers(2, 6), st.integers(1, 8), st.integers(1, 9))
def test_most_frequent_label_of_the_neighbors_wins(generator, labels, anchors, k):
    with np.errstate(divide="ignore"):
        logprobs = np.log(generator.dirichlet(np.full(5, 0.1), size=anchors + 3)[:, :4])
    gold = generator.integers(labels, size=anchors)
    scores = neighbor_scores(logprobs[:anchors], gold, logprobs[anchors:], labels, k)
    assert np.isfinite(scores).all()
    distances = divergences(with_rest(logprobs[:anchors]), with_rest(logprobs[anchors:]))
    for row, distances_of_row in zip(scores, distances, strict=True):
        nearest = gold[np.argsort(distances_of_row, kind="stable")[:k]]
        counts = np.bincount(nearest, minlength=labels)
        assert counts[row.argmax()] == counts.max()


# ---- centroids --------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 5))
def test_nearest_centroid_equals_scikit_learn(generator, labels):
    rows, gold = make_rows(generator, labels, 4 * labels, 6)
    queries = generator.normal(size=(9, 6))
    nearest = NearestCentroid().fit(rows, gold).predict(queries)
    np.testing.assert_array_equal(HiddenCalibration().fit_means(rows, gold, labels)(queries).argmax(1), nearest)


def test_normalized_centroids_do_not_depend_on_the_lengths_of_rows():
    generator = np.random.default_rng(6)
    features, gold = make_rows(generator, 3, 30, 5)
    lengths = np.exp(generator.normal(scale=3, size=(30, 1)))
    normalized, plain = HiddenCalibration(scale="normalize"), HiddenCalibration()
    scores = normalized.fit_means(features, gold, 3)(features)
    np.testing.assert_allclose(normalized.fit_means(lengths * features, gold, 3)(features), scores)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(plain.fit_means(units, gold, 3)(units), scores)
    assert not np.allclose(plain.fit_means(lengths * features, gold, 3)(features), scores)


def test_centroid_scores_are_squared_distances_relative_to_the_scatter():
    rows = np.array([[0.0, 0], [2, 0], [0, 5], [0, 7]])  # means (1, 0) and (0, 6), each row has distance 1 from its mean
    scores = HiddenCalibration().fit_means(rows, np.array([0, 0, 1, 1]), 2)(np.array([[1.0, 2]]))
    np.testing.assert_allclose(scores, [[-4, -17]])


@given(seeds, st.integers(2, 5))
def test_prototype_scores_are_invariant_to_shift_and_scale(generator, labels):
    rows, gold = make_rows(generator, labels, 4 * labels, 6)
    queries, shift = generator.normal(size=(9, 6)), generator.normal(size=6)
    scores = PrototypicalVerbalizer().fit_means(rows, gold, labels)(queries)
    moved = PrototypicalVerbalizer().fit_means(3 * rows + shift, gold, labels)(3 * queries + shift)
    np.testing.assert_allclose(moved, scores, atol=1e-9)
    assert (np.abs(scores) <= 1 + 1e-9).all()


def test_prototype_is_the_mean_direction_of_a_labels_rows():
    rows = np.array([[1.0, 0], [3, 0], [-2, 1], [-2, -1]])  # of mean 0
    fitted = PrototypicalVerbalizer().fit_means(rows, np.array([0, 0, 1, 1]), 2)
    scores = fitted(np.array([[5.0, 0], [0, 1], [-1, 1]]))
    np.testing.assert_allclose(scores, [[1, -1], [0, 0], [-(0.5**0.5), 0.5**0.5]], atol=1e-12)


# ---- label words ------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 4))
def test_log_odds_equal_balanced_petal_ratio(generator, labels):
    """Schick et al. 2020, eq. 4 and 5, as sums over rows, divided by the number of other rows."""
    probabilities = generator.uniform(0.01, 0.99, (3 * labels, 4))
    gold = np.arange(3 * labels) % labels
    odds = log_odds(np.log(probabilities), gold, labels)
    for t in range(labels):
        of_label, others = probabilities[gold == t], probabilities[gold != t]
        scale = len(others) / len(of_label)
        ratio = scale * (np.log(of_label) - np.log(1 - of_label)).sum(0) - (np.log(others) - np.log(1 - others)).sum(0)
        np.testing.assert_allclose(odds[:, t], ratio / len(others))


def test_words_with_highest_odds_have_equal_weights():
    odds = np.array([[3, -1], [2, 0], [-1, 5], [0, 1.0]])
    np.testing.assert_array_equal(best_words(odds, 2), [[0.5, 0], [0.5, 0], [0, 0.5], [0, 0.5]])
    np.testing.assert_array_equal(best_words(odds, 9), np.full((4, 2), 0.25))


@given(seeds, st.integers(2, 4), st.integers(1, 5))
def test_log_odds_are_finite_for_extreme_probabilities_and_missing_labels(generator, labels, rows):
    with np.errstate(divide="ignore"):
        logprobs = np.log(generator.choice([0, 1, 0.5], size=(rows, 4)))
    assert np.isfinite(log_odds(logprobs, generator.integers(labels, size=rows), labels)).all()


# ---- choice of the layer ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "hidden", "prototypical"])
@pytest.mark.parametrize("informative", LAYERS)
@settings(max_examples=10)
@given(seeds, st.integers(2, 4))
def test_informative_layer_is_chosen(name, informative, generator, labels):
    technique = build("calibration", CALIBRATIONS, name)
    gold = np.arange(12 * labels) % labels
    centers = 10 * np.eye(labels, 8)

    def outputs(rows):
        noise = {layer: generator.normal(size=(len(rows), 8)) for layer in LAYERS}
        reads = {HiddenState(layer): states + (layer == informative) * centers[rows] for layer, states in noise.items()}
        return Outputs(logprobs=np.zeros((len(rows), labels)), context=np.zeros(len(rows), int), reads=reads)

    rows = LabeledOutputs(outputs=outputs(gold), gold=gold)
    support = FitData(labels=tuple(map(str, range(labels))), items=outputs(gold), values={technique.rows: rows})
    assert (technique.fit(support).apply(support.items).argmax(1) == gold).all()


@pytest.mark.parametrize("gold", [np.arange(30), np.r_[0, 0, np.arange(1, 29)]])
def test_about_one_row_of_each_label_gives_no_warning(gold):
    """Warnings are errors in tests."""
    probe = fit_probe(np.random.default_rng(0).normal(size=(30, 8)), gold, 30)
    assert np.isfinite(probe.weights).all()
