"""The full label map: laws with labels that have no rows, and comparisons with independent computations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from promptkit.align.labelmap import Full
from promptkit.align.labelmap.full import assign_with_ties
from promptkit.align.labelmap.regression import ANCHOR_VARIANCE, BIAS_VARIANCE, fit_regression, strongest
from promptkit.align.labelmap.shares import estimate_shares, labeled_shares
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, LabeledOutputs, Outputs
from promptkit.needs.name_vectors import NameEmbeddings
from tests.support.errors import refused

TOWARDS = ("none", "verbalizer", "semantic")
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def logprobs_of(logits):
    return log_softmax(logits, axis=1)


def make_outputs(generator, gold, labels, noise=1.0, sources=12):
    """Log-probabilities of labels and of source classes, which are both informative about the label."""
    words = 2 * np.eye(labels)[gold] + generator.normal(size=(len(gold), labels))
    tokens = np.hstack([words, generator.normal(size=(len(gold), sources - labels))]) + noise * generator.normal(
        size=(len(gold), sources)
    )
    return logprobs_of(words), logprobs_of(tokens)


def make_data(technique, generator, labels, gold, *, missing=None, unlabeled=20):
    """Fit data; `missing` is a label without labeled rows. The evaluated rows are the unlabeled and the labeled ones.

    Returns:
        The data, and the labels of the evaluated rows.
    """
    classes = np.concatenate([generator.integers(labels, size=unlabeled), gold])
    words, tokens = make_outputs(generator, classes, labels)
    vectors = generator.normal(size=(labels, 4))
    named = np.vstack([vectors, generator.normal(size=(tokens.shape[1] - labels, 4))])
    items = Outputs(logprobs=words, context=np.zeros(len(words), int), reads={technique.source_logprobs: tokens})
    drawn = np.flatnonzero(gold != missing) if missing is not None else np.arange(len(gold))
    values = {
        technique.rows: LabeledOutputs(outputs=items.take(drawn + unlabeled), gold=gold[drawn]),
        technique.unlabeled_rows: items.take(slice(unlabeled)),
        technique.source_logprobs: tuple(f"s{i}" for i in range(tokens.shape[1])),
        technique.name_vectors: NameEmbeddings(sources=named, labels=vectors),
    }
    return FitData(labels=tuple(f"t{i}" for i in range(labels)), items=items, values=values), classes


def mapped(data, technique, change):
    """Returns the data with changed outputs of all rows."""
    rows = data[technique.rows]
    values = {
        **data.values,
        technique.rows: replace(rows, outputs=change(rows.outputs)),
        technique.unlabeled_rows: change(data[technique.unlabeled_rows]),
    }
    return replace(data, items=change(data.items), values=values)


# ---- laws -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("towards", TOWARDS)
@pytest.mark.parametrize("shares", ["estimated", "labeled"])
@settings(max_examples=15)
@given(generator=seeds, labels=st.integers(2, 6), per_class=st.integers(1, 4), data=st.data())
def test_every_label_may_be_missing(towards, shares, generator, labels, per_class, data):
    """Scores are finite and normalized; a label without rows is predicted only if the scores to pull towards support it."""
    technique = Full(towards=towards, shares=shares, strength=1.0)
    missing = data.draw(st.integers(0, labels - 1))
    data, _ = make_data(technique, generator, labels, np.arange(labels * per_class) % labels, missing=missing)
    fitted = technique.fit(data)
    scores = fitted.apply(data.items)
    assert np.isfinite(scores).all()
    if towards == "none":
        assert missing not in scores.argmax(1)
    else:
        np.testing.assert_allclose(np.exp(scores).sum(1), 1)


@pytest.mark.parametrize("towards", TOWARDS)
@settings(max_examples=10)
@given(generator=seeds, labels=st.integers(2, 5))
def test_only_differences_of_logits_count(towards, generator, labels):
    """Columns of the map have equal sums, so that a constant added to the logits of a row has no effect."""
    technique = Full(towards=towards, strength=1.0)
    data, _ = make_data(technique, generator, labels, np.arange(labels * 3) % labels)
    fitted = technique.fit(data)
    sums = fitted.label_map.weights[:12].sum(0)
    np.testing.assert_allclose(sums, sums[0], atol=1e-8)

    def shifted(outputs):
        constants = np.random.default_rng(len(outputs)).normal(scale=5, size=(len(outputs), 1))
        reads = {technique.source_logprobs: outputs[technique.source_logprobs] + constants}
        return replace(outputs, logprobs=outputs.logprobs + constants, reads=reads)

    expected = fitted.apply(data.items)
    np.testing.assert_allclose(fitted.apply(shifted(data.items)), expected, atol=1e-6)
    refitted = technique.fit(mapped(data, technique, shifted))
    np.testing.assert_allclose(refitted.apply(data.items), expected, atol=1e-3)


@pytest.mark.parametrize("towards", TOWARDS)
@settings(max_examples=10)
@given(generator=seeds, labels=st.integers(2, 5), random=st.randoms(use_true_random=False))
def test_permuting_labels_and_source_classes_permutes_the_scores(towards, generator, labels, random):
    technique = Full(towards=towards, strength=1.0)
    data, _ = make_data(technique, generator, labels, np.arange(labels * 3) % labels)
    label_order, source_order = random.sample(range(labels), labels), random.sample(range(12), 12)
    sources = technique.source_logprobs

    def permuted(outputs):
        return replace(outputs, logprobs=outputs.logprobs[:, label_order], reads={sources: outputs[sources][:, source_order]})

    other = mapped(data, technique, permuted)
    rows, vectors = other[technique.rows], data[technique.name_vectors]
    values = {
        **other.values,
        technique.rows: replace(rows, gold=np.argsort(label_order)[rows.gold]),
        sources: tuple(data[sources][i] for i in source_order),
        technique.name_vectors: NameEmbeddings(sources=vectors.sources[source_order], labels=vectors.labels[label_order]),
    }
    other = replace(other, labels=tuple(data.labels[i] for i in label_order), values=values)
    expected = technique.fit(data).apply(data.items)[:, label_order]
    np.testing.assert_allclose(technique.fit(other).apply(other.items), expected, atol=1e-3)


@pytest.mark.parametrize("towards", ["verbalizer", "semantic"])
def test_without_labeled_rows_the_anchor_alone_predicts(towards):
    technique = Full(towards=towards, per_class=0)
    data, _ = make_data(technique, np.random.default_rng(0), 3, np.arange(6) % 3)
    words, tokens = data.items.logprobs, data.items[technique.source_logprobs]
    # the first source classes have the vectors of the labels
    expected = words if towards == "verbalizer" else log_softmax(tokens[:, :3], axis=1)
    np.testing.assert_allclose(technique.fit(data).apply(data.items), expected)


def test_without_labeled_rows_the_verbalizer_needs_no_outputs():
    assert Full(towards="verbalizer", per_class=0).needs == ()


def test_all_source_classes_that_are_equally_similar_are_assigned():
    affinity = np.array([[0.9, 0.1], [0.9, 0.2], [0.3, 0.8], [0.1, 0.7], [-0.5, 0.8]])
    expected = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 1]]) / 2
    np.testing.assert_array_equal(assign_with_ties(affinity), expected)
    # a source class that is assigned to one label is not assigned to another
    np.testing.assert_array_equal(assign_with_ties(np.array([[1.0, 1.0], [0.2, 1.0]])), np.eye(2))


@pytest.mark.parametrize("towards", ["verbalizer", "semantic"])
def test_a_strong_penalty_leaves_a_multiple_of_the_anchor(towards):
    technique = Full(towards=towards, strength=1e-9)
    data, _ = make_data(technique, np.random.default_rng(0), 3, np.arange(6) % 3)
    weights = technique.fit(data).label_map.weights
    anchor = np.zeros_like(weights)
    anchor[-3:] = np.eye(3)
    if towards == "semantic":  # the first source classes have the vectors of the labels
        anchor = np.eye(12, 3)
    scale = (weights * anchor).sum() / 3
    assert scale > 0.5
    np.testing.assert_allclose(weights, scale * anchor, atol=1e-6)


def test_pulling_towards_the_verbalizer_helps_with_few_rows():
    """With one row per label, over many draws."""
    correct = {towards: [] for towards in ("none", "verbalizer")}
    for seed in range(20):
        for towards, shares in correct.items():
            technique, generator = Full(towards=towards), np.random.default_rng(seed)
            data, gold = make_data(technique, generator, 4, np.arange(4), unlabeled=100)
            shares.append((technique.fit(data).apply(data.items).argmax(1) == gold)[:100].mean())
    assert np.mean(correct["verbalizer"]) > np.mean(correct["none"]) + 0.1


def test_table_shows_source_classes_and_label_words():
    technique = Full(towards="verbalizer")
    data, _ = make_data(technique, np.random.default_rng(1), 2, np.arange(8) % 2)
    label_map = technique.fit(data).label_map
    assert label_map.sources == (*(f"s{i}" for i in range(12)), "[t0]", "[t1]")
    assert "[t1]" in label_map.table(most=13)["t1"]


@pytest.mark.parametrize(
    ("settings_", "fields"),
    [
        ({"per_class": 0}, {"per_class": 0}),
        ({"strength": 0.0}, {"option": "strength", "value": 0.0}),
        ({"unlabeled": 0}, {"option": "unlabeled", "value": 0}),
        ({"tokens": 0}, {"tokens": 0}),
    ],
)
def test_invalid_settings_are_refused(settings_, fields):
    with refused(InputError, "out-of-range", aligner="full", **fields):
        Full(**settings_)


# ---- the regression ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "rows", "width"), [(3, 30, 5), (4, 10, 40), (2, 6, 30)])
def test_solution_minimizes_the_loss_over_all_parameters(labels, rows, width):
    """Minimized without the subspace of the rows and with numerical gradients."""
    generator = np.random.default_rng(0)
    features, anchor = generator.normal(size=(rows, width)), generator.normal(size=(rows, labels))
    gold = generator.integers(labels, size=rows)
    inputs = (features - features.mean(0)) / features.std(0) / np.sqrt(width)

    def loss(parameters):
        scale, weights, bias = parameters[0], parameters[1:-labels].reshape(width, labels), parameters[-labels:]
        shares = log_softmax(scale * anchor + inputs @ weights + bias, axis=1)
        penalty = (
            (weights**2).sum() / (2 * 3.0) + (bias**2).sum() / (2 * BIAS_VARIANCE) + (scale - 1) ** 2 / (2 * ANCHOR_VARIANCE)
        )
        return penalty - shares[np.arange(rows), gold].sum()

    start = np.concatenate([[1.0], np.zeros((width + 1) * labels)])
    best = minimize(loss, start, method="BFGS", options={"gtol": 1e-4}).fun
    fitted = fit_regression(features, anchor, gold, (3.0,))
    weights = fitted.weights * features.std(0)[:, None] * np.sqrt(width)
    bias = fitted.bias + features.mean(0) @ fitted.weights
    assert loss(np.concatenate([[fitted.anchor], weights.ravel(), bias])) == pytest.approx(best, rel=1e-5)


def test_without_an_anchor_it_is_ridge_logistic_regression():
    """scikit-learn penalizes the intercept as well if it is the weight of a constant feature."""
    generator = np.random.default_rng(1)
    features, gold = generator.normal(size=(40, 6)), np.arange(40) % 4
    inputs = (features - features.mean(0)) / features.std(0) / np.sqrt(6)
    with_constant = np.hstack([inputs, np.full((40, 1), BIAS_VARIANCE**0.5)])
    reference = LogisticRegression(C=1.0, fit_intercept=False, max_iter=10_000, tol=1e-10).fit(with_constant, gold)
    fitted = fit_regression(features, np.zeros((40, 4)), gold, (1.0,))
    scores = log_softmax(fitted(features, np.zeros((40, 4))), axis=1)
    np.testing.assert_allclose(scores, reference.predict_log_proba(with_constant), atol=1e-4)


def test_strength_is_chosen_by_cross_validation():
    """Features that determine the label get a weak penalty, and noise a strong one."""
    generator = np.random.default_rng(2)
    gold = np.arange(40) % 4
    anchor = logprobs_of(np.eye(4)[gold] + generator.normal(size=(40, 4)))
    informative = 3 * np.eye(4)[gold] + 0.1 * generator.normal(size=(40, 4))
    assert fit_regression(informative, anchor, gold).strength >= 30
    assert fit_regression(generator.normal(size=(40, 30)), anchor, gold).strength == 3


def test_strongest_penalty_without_significantly_higher_loss_is_chosen():
    lowest = np.random.default_rng(5).normal(size=50)
    noise = np.tile([0.5, -0.4], 25)  # mean 0.05, standard error 0.064
    assert strongest(np.array([lowest + noise, lowest])) == 0
    assert strongest(np.array([lowest + noise + 0.1, lowest])) == 1
    assert strongest(np.array([lowest + noise + 0.1, lowest, lowest + noise])) == 1
    assert strongest(np.array([lowest, lowest])) == 0


def test_constant_features_have_no_effect():
    generator = np.random.default_rng(3)
    features, gold = generator.normal(size=(12, 3)), np.arange(12) % 3
    constant = np.hstack([features, np.full((12, 1), 1e6)])
    fitted = fit_regression(constant, np.zeros((12, 3)), gold, (1.0,))
    assert (fitted.weights[3] == 0).all()
    other = constant + np.array([0, 0, 0, 1e3])
    np.testing.assert_allclose(fitted(other, np.zeros((12, 3))), fitted(constant, np.zeros((12, 3))))


# ---- class shares -----------------------------------------------------------------------------------


def test_shares_of_calibrated_predictions_are_found():
    """Saerens et al. 2002 on 20,000 rows of two Gaussian classes, 20% and 80%, with predictions that assume equal shares."""
    generator = np.random.default_rng(0)
    gold = (generator.random(20_000) < 0.8).astype(int)
    features = generator.normal(loc=2.0 * gold - 1)
    equal = np.array([0.5, 0.5])
    logprobs = logprobs_of(np.stack([-2 * features, np.zeros_like(features)], axis=1))
    np.testing.assert_allclose(estimate_shares(logprobs, equal, 0), [0.2, 0.8], atol=0.01)
    shrunk = estimate_shares(logprobs, equal, 20_000)
    assert 0.2 < shrunk[0] < 0.5
    np.testing.assert_allclose(estimate_shares(logprobs, equal, 1e12), equal, atol=1e-6)


@given(generator=seeds, labels=st.integers(2, 6), rows=st.integers(0, 20), weight=st.floats(0.5, 1000))
def test_shares_are_positive_and_sum_to_1(generator, labels, rows, weight):
    shares = labeled_shares(generator.integers(labels, size=rows), labels)
    estimate = estimate_shares(logprobs_of(generator.normal(scale=30, size=(rows, labels))), shares, weight)
    assert (estimate > 0).all()
    assert estimate.sum() == pytest.approx(1)
    if not rows:
        np.testing.assert_array_equal(estimate, shares)


def test_shares_maximize_the_posterior():
    """EM reaches the mode of likelihood times Dirichlet prior, found here on a grid."""
    generator = np.random.default_rng(4)
    logprobs, shares, weight = logprobs_of(generator.normal(scale=2, size=(30, 2))), np.array([0.4, 0.6]), 5.0
    grid = np.linspace(0.001, 0.999, 999)[:, None] * [1, -1] + [0, 1]
    likelihood = np.log(np.exp(logprobs)[None] * (grid / shares)[:, None]).copy()
    posterior = np.logaddexp.reduce(likelihood, axis=2).sum(1) + weight * (shares * np.log(grid)).sum(1)
    np.testing.assert_allclose(estimate_shares(logprobs, shares, weight), grid[posterior.argmax()], atol=2e-3)
