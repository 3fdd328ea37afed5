"""Calibrations: general properties on arbitrary log-probabilities, and comparison with independent computations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp

import promptkit as pk
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.calibrate.proca import MIN_ROWS_PER_LABEL
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.errors import InputError, TaskError
from promptkit.core.needs import Outputs
from promptkit.core.registry import build, settings_of, spelling
from promptkit.needs.content_free import ContentFree, RandomWords
from promptkit.needs.fit_rows import FitLabels, FitRows
from promptkit.needs.premise import Premise
from tests.support.calibration_cases import (
    BAGS,
    LABELS,
    TEXTS,
    Support,
    applied,
    cases,
    fit,
    make_case,
    outputs,
    probabilities,
    support_of,
)
from tests.support.errors import refused

calibrate = pk.calibrate
PRIOR_CORRECTIONS = [
    calibrate.Contextual(),
    calibrate.Domain(bags=4),
    calibrate.PMI(),
    *(calibrate.Batch(mean=mean, estimate_on=on) for mean in ("geometric", "arithmetic") for on in ("fit", "test")),
    *(calibrate.Prior(estimate_on=on) for on in ("fit", "test")),
]
LABELED_CALIBRATIONS = [
    calibrate.BatchFitted(),
    calibrate.BatchFitted(mean="arithmetic"),
    calibrate.Temperature(),
    calibrate.Vector(),
    calibrate.Affine(),
]
ALL_CALIBRATIONS = [
    *PRIOR_CORRECTIONS,
    *LABELED_CALIBRATIONS,
    calibrate.Prior(target=(0.5, 0.3, 0.2)),
    calibrate.ProCa(restarts=3),
]


def for_each(calibrations):
    return pytest.mark.parametrize("calibration", calibrations, ids=spelling)


def mapped(support, function):
    """The fit data with a function applied to every array of log-probabilities."""
    return Support(
        items=replace(support.items, logprobs=function(support.items.logprobs)),
        rows=replace(support.rows, logprobs=function(support.rows.logprobs)),
        content_free={item: function(logprobs) for item, logprobs in support.content_free.items()},
        premise=function(support.premise),
    )


# ---- general properties -----------------------------------------------------------------------------


@for_each(PRIOR_CORRECTIONS)
@given(cases, st.floats(-20, 0))
def test_uniform_prior_is_the_identity(calibration, case, level):
    support, _ = case
    flat = replace(mapped(support, lambda logprobs: np.full_like(logprobs, level)), items=support.items)
    if getattr(calibration, "estimate_on", "fit") == "test":
        # every rotation of every row, so that the mean over rows is uniform
        rotated = np.vstack([np.roll(support.items.logprobs, shift, axis=1) for shift in range(LABELS)])
        flat = replace(flat, items=outputs(rotated))
    np.testing.assert_allclose(applied(calibration, flat, None), normalize_logprobs(flat.items.logprobs), atol=1e-6)


@for_each([item for item in ALL_CALIBRATIONS if not getattr(item, "target", ())])
@settings(deadline=None)
@given(cases, st.permutations(range(LABELS)))
def test_permuting_the_labels_permutes_the_result(calibration, case, order):
    support, labels = case
    permuted = mapped(support, lambda logprobs: logprobs[..., order])
    shifted = applied(calibration, permuted, np.argsort(order)[labels])
    np.testing.assert_allclose(shifted, applied(calibration, support, labels)[:, order], atol=1e-4, rtol=1e-4)


@for_each(ALL_CALIBRATIONS)
@settings(deadline=None)
@given(cases, st.floats(-9, 9))
def test_only_ratios_of_probabilities_matter(calibration, case, level):
    """Scales p by a different factor for each row, and unnormalized averages by one common factor."""
    support, labels = case
    shifted = replace(
        mapped(support, lambda logprobs: logprobs + level),
        items=replace(support.items, logprobs=support.items.logprobs + level * np.arange(len(support.items.logprobs))[:, None]),
        rows=replace(support.rows, logprobs=support.rows.logprobs - level * np.arange(len(labels))[:, None]),
    )
    one, other = (applied(calibration, item, labels) for item in (support, shifted))
    np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@for_each(ALL_CALIBRATIONS)
@settings(deadline=None)
@given(cases)
def test_rows_are_independent_inputs_unchanged_and_q_normalized(calibration, case):
    support, labels = case
    copied = mapped(support, np.copy)
    fitted = fit(calibration, support, labels)
    calibrated = fitted.apply(support.items)
    for index, row in enumerate(calibrated):
        single = Outputs(logprobs=support.items.logprobs[[index]], context=support.items.context[[index]])
        np.testing.assert_allclose(fitted.apply(single)[0], row, atol=1e-9)
    np.testing.assert_allclose(np.exp(calibrated).sum(1), 1)
    np.testing.assert_equal(support.content_free, copied.content_free)
    for name in ("items", "rows"):
        np.testing.assert_array_equal(getattr(support, name).logprobs, getattr(copied, name).logprobs)


LEVELS = st.sampled_from([0.0, -1e-300, -0.7, -40.0, -699.0, -745.0, -1e5, -1e30, -np.inf])


def array(draw, rows, size):
    values = draw(st.lists(LEVELS, min_size=rows * size, max_size=rows * size))
    return np.array(values).reshape(rows, size)


@st.composite
def extreme_cases(draw):
    """Extreme log-probabilities, labels without rows, and few items."""
    size = draw(st.integers(2, 4))
    rows = MIN_ROWS_PER_LABEL * size if draw(st.booleans()) else draw(st.integers(1, 2))
    items = outputs(array(draw, draw(st.integers(1, 3)), size))
    content_free = {item: array(draw, 1, size) for item in (*TEXTS, *BAGS)}
    support = support_of(items, outputs(array(draw, rows, size)), content_free, array(draw, 1, size))
    return support, np.array(draw(st.lists(st.integers(0, size - 1), min_size=rows, max_size=rows)))


@for_each([item for item in ALL_CALIBRATIONS if not getattr(item, "target", ())])
@settings(deadline=None, max_examples=60)
@given(extreme_cases())
@pytest.mark.filterwarnings("error")
def test_results_are_finite_for_extreme_log_probabilities(calibration, case):
    support, labels = case
    needed = max(getattr(need, "per_label", 0) for need in calibration.needs)
    if len(labels) >= needed * support.premise.size:
        assert np.isfinite(applied(calibration, support, labels)).all()


@pytest.mark.parametrize("size", [2, 20, 21, 300])
@for_each([item for item in ALL_CALIBRATIONS if not getattr(item, "target", ()) and item.name != "proca"])
def test_many_labels_mostly_without_rows(calibration, size):
    generator = np.random.default_rng(size)
    rows = outputs(np.log(generator.dirichlet(np.full(size, 0.1), 12) + 1e-300))
    support = support_of(outputs(rows.logprobs[:5]), rows)
    assert np.isfinite(applied(calibration, support, np.zeros(12, int))).all()


# ---- prior correction -------------------------------------------------------------------------------


@pytest.mark.parametrize(("calibration", "texts"), [(calibrate.Contextual(), TEXTS), (calibrate.Domain(bags=4), BAGS)])
@given(cases)
def test_probabilities_are_divided_by_the_content_free_prior_of_the_context(calibration, texts, case):
    """The mean of the unnormalized probabilities, normalized once; W = diag(p_cf)^-1."""
    support, _ = case
    rows = zip(support.items.logprobs, support.items.context, applied(calibration, support, None), strict=True)
    for row_logprobs, context, aligned in rows:
        mean = np.mean([np.exp(support.content_free[item][context]) for item in texts], axis=0)
        expected = probabilities(row_logprobs) / (mean / mean.sum())
        np.testing.assert_allclose(np.exp(aligned), expected / expected.sum(), atol=1e-9)


@pytest.mark.parametrize(
    ("calibration", "content_free"),
    [(calibrate.Contextual(content_free=("N/A",)), "N/A"), (calibrate.Domain(bags=1), RandomWords(0, 0))],
)
@given(cases)
def test_content_free_input_is_calibrated_to_uniform(calibration, content_free, case):
    read = case[0].content_free[content_free]
    support = replace(case[0], items=outputs(read, np.arange(len(read))))
    np.testing.assert_allclose(np.exp(applied(calibration, support, None)), 1 / LABELS, atol=1e-9)


@given(cases)
def test_average_of_content_free_inputs_is_calibrated_to_uniform(case):
    support = case[0]
    average = logsumexp([support.content_free[text] for text in TEXTS], axis=0)
    support = replace(support, items=outputs(average, np.arange(len(average))))
    np.testing.assert_allclose(np.exp(applied(calibrate.Contextual(), support, None)), 1 / LABELS, atol=1e-9)


@pytest.mark.parametrize("on", ["fit", "test"])
@given(cases)
def test_batch_divides_by_the_mean_over_unlabeled_rows(on, case):
    support, _ = case
    probs = probabilities((support.rows if on == "fit" else support.items).logprobs)
    means = {"geometric": np.prod(probs, axis=0) ** (1 / len(probs)), "arithmetic": probs.mean(0)}
    for mean, prior in means.items():
        expected = probabilities(support.items.logprobs) / prior
        aligned = applied(calibrate.Batch(estimate_on=on, mean=mean), support, None)
        np.testing.assert_allclose(np.exp(aligned), expected / expected.sum(1, keepdims=True), atol=1e-9)


@given(cases)
def test_pmi_subtracts_the_log_probability_after_the_premise(case):
    support, _ = case
    expected = support.items.logprobs - support.premise
    np.testing.assert_allclose(np.exp(applied(calibrate.PMI(), support, None)), probabilities(expected), atol=1e-9)


@pytest.mark.parametrize("target", [(), (0.7, 0.2, 0.1)])
@pytest.mark.parametrize("on", ["fit", "test"])
@given(cases)
def test_prior_matching_solves_its_equation(on, target, case):
    """mean_i a_k p_ik / sum_j a_j p_ij = target_k, with a computed from the result for a uniform row."""
    support, _ = case
    probs = probabilities((support.rows if on == "fit" else support.items).logprobs)
    fitted = fit(calibrate.Prior(estimate_on=on, target=target), support)
    a = np.exp(fitted.apply(outputs(np.zeros((1, LABELS)))))[0]
    q = a * probs / (a * probs).sum(1, keepdims=True)
    np.testing.assert_allclose(q.mean(0), target or np.full(LABELS, 1 / LABELS), atol=1e-6)


# ---- labeled calibrations ---------------------------------------------------------------------------


def summed_loss(q, labels):
    return -np.log(q[np.arange(len(labels)), labels]).sum()


@settings(deadline=None)
@given(cases)
def test_fitted_temperature_is_the_most_likely(case):
    support, labels = case
    probs = probabilities(support.rows.logprobs)
    fitted = np.exp(fit(calibrate.Temperature(), support, labels).apply(support.rows))
    powers = (probs ** (1 / t) for t in np.geomspace(0.05, 100, 2000))
    best = min(summed_loss(item / item.sum(1, keepdims=True), labels) for item in powers)
    assert summed_loss(fitted, labels) <= best + 1e-3
    ratio = np.log(fitted[:, 0] / fitted[:, 1]) / np.log(probs[:, 0] / probs[:, 1])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
@settings(deadline=None)
@given(cases)
def test_fitted_strength_of_batch_calibration_is_the_most_likely(mean, case):
    support, labels = case
    probs = probabilities(support.rows.logprobs)
    prior = np.exp(np.log(probs).mean(0)) if mean == "geometric" else probs.mean(0)
    fitted = fit(calibrate.BatchFitted(mean=mean), support, labels)
    gains = (probabilities(np.log(probs) - gamma * np.log(prior)) for gamma in np.linspace(-5, 5, 501))
    best = min(summed_loss(item, labels) for item in gains)
    assert summed_loss(np.exp(fitted.apply(support.rows)), labels) <= best + 1e-3
    shifted = fitted.apply(outputs(np.zeros((1, LABELS))))[0]  # -gamma log prior, normalized
    np.testing.assert_allclose(
        np.diff(shifted) * np.diff(np.log(prior))[0], np.diff(np.log(prior)) * np.diff(shifted)[0], atol=1e-6
    )


@pytest.mark.parametrize(("calibration", "weights"), [(calibrate.Vector, LABELS), (calibrate.Affine, LABELS**2)])
@pytest.mark.parametrize("l2", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_scaling_equals_independent_minimization(calibration, weights, l2, seed):
    support, labels = make_case(seed)
    probs = np.log(probabilities(support.rows.logprobs))
    start = np.concatenate([np.ones(LABELS) if weights == LABELS else np.eye(LABELS).ravel(), np.zeros(LABELS)])

    def scores(parameters, logprobs):
        weight, bias = parameters[:weights], parameters[weights:]
        scaled = logprobs * weight if weights == LABELS else logprobs @ weight.reshape(LABELS, LABELS).T
        return scaled + bias

    def objective(parameters):
        return summed_loss(probabilities(scores(parameters, probs)), labels) + l2 / 2 * ((parameters - start) ** 2).sum()

    result = minimize(objective, start, method="BFGS", options={"gtol": 1e-5}).x
    expected = probabilities(scores(result, np.log(probabilities(support.items.logprobs))))
    aligned = fit(calibration(l2=l2), support, labels).apply(support.items)
    np.testing.assert_allclose(np.exp(aligned), expected, atol=1e-3)


@for_each(LABELED_CALIBRATIONS)
def test_rows_with_hidden_labels_are_not_used(calibration):
    support, labels = make_case(5)
    hidden = labels.copy()
    hidden[::3] = -1
    known = hidden >= 0
    known_only = replace(support, rows=outputs(support.rows.logprobs[known]))
    if calibration.name == "batch-fitted":  # its prior is estimated on every row
        aligned = applied(calibration, support, hidden)
        hidden[::3] = -1
        np.testing.assert_array_equal(aligned, applied(calibration, support, hidden))
    else:
        np.testing.assert_allclose(
            applied(calibration, support, hidden), applied(calibration, known_only, labels[known]), atol=1e-9
        )
    for none in (np.full_like(labels, -1), None):
        with refused(TaskError, "no-labeled-rows", calibration=calibration.name):
            fit(calibration, support, none)


# ---- names and settings -----------------------------------------------------------------------------


def test_names_and_settings_rebuild_every_calibration():
    assert [*CALIBRATIONS] == [
        *("contextual", "domain", "batch", "batch-fitted", "pmi", "prior", "proca", "temperature", "vector", "affine"),
        *("label-batch", "label-threshold"),
    ]
    for calibration in ALL_CALIBRATIONS:
        assert build("calibration", CALIBRATIONS, spelling(calibration)) == calibration
        assert (
            CALIBRATIONS[calibration.name](**{k: v for k, v in settings_of(calibration).items() if k != "name"}) == calibration
        )
    assert build("calibration", CALIBRATIONS, "prior:target=0.2|0.8").target == (0.2, 0.8)


def test_declared_requirements():
    def names(kind):
        return {item.name: sum(isinstance(need, kind) for need in item.needs) for item in ALL_CALIBRATIONS}

    labeled = {item.name for item in ALL_CALIBRATIONS if any(need.uses_labels for need in item.needs)}
    assert labeled == {"batch-fitted", "temperature", "vector", "affine"}
    assert [name for name, count in names(Premise).items() if count] == ["pmi"]
    assert {name: count for name, count in names(ContentFree).items() if count} == {"contextual": 3, "domain": 4}
    transductive = [item for item in ALL_CALIBRATIONS if getattr(item, "estimate_on", "fit") == "test"]
    assert transductive
    assert not [need for item in transductive for need in item.needs if isinstance(need, FitRows)]
    assert {need.rows for item in ALL_CALIBRATIONS for need in item.needs if isinstance(need, FitLabels)} == {128}


@pytest.mark.parametrize(
    ("kind", "keywords", "code", "fields"),
    [
        (calibrate.Batch, {"rows": 0}, "out-of-range", {"aligner": "batch", "rows": 0}),
        (calibrate.Batch, {"rows": "8"}, "invalid-value", {"of": "batch", "keyword": "rows", "value": "'8'"}),
        (calibrate.Batch, {"estimate_on": "dev"}, "unknown-name", {"kind": "estimate on of batch", "name": "dev"}),
        (calibrate.Batch, {"mean": "geometrc"}, "unknown-name", {"kind": "mean of batch", "name": "geometrc"}),
        (calibrate.Contextual, {"content_free": "N/A"}, "invalid-value", {"of": "contextual", "keyword": "content_free"}),
        (calibrate.Contextual, {"content_free": ()}, "empty-value", {"aligner": "contextual", "content_free": ()}),
        (calibrate.Domain, {"bags": 0}, "out-of-range", {"aligner": "domain", "bags": 0}),
        (calibrate.Prior, {"target": (0.5, 0.6)}, "not-a-distribution", {"target": (0.5, 0.6)}),
        (calibrate.Prior, {"target": (0.0, 1.0)}, "not-a-distribution", {"target": (0.0, 1.0)}),
        (calibrate.ProCa, {"restarts": 0}, "out-of-range", {"aligner": "proca", "restarts": 0}),
        (calibrate.Vector, {"l2": 0.0}, "out-of-range", {"aligner": "vector", "l2": 0.0}),
        (calibrate.Affine, {"l2": float("inf")}, "not-finite", {"of": "affine", "keyword": "l2"}),
        (calibrate.Temperature, {"rows": 0}, "out-of-range", {"aligner": "temperature", "rows": 0}),
    ],
)
def test_invalid_settings_are_refused(kind, keywords, code, fields):
    with refused(InputError, code, **fields):
        kind(**keywords)


@given(cases)
def test_normalized_log_probabilities_sum_to_1(case):
    logprobs = case[0].items.logprobs
    np.testing.assert_allclose(normalize_logprobs(logprobs), logprobs - logsumexp(logprobs, axis=1, keepdims=True), atol=1e-12)
