import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.align.calibrate import CALIBRATIONS, Batch, Contextual, normalised
from promptkit.aligners import Support
from promptkit.errors import PromptkitError
from promptkit.registry import build

LABELS = 3
TEXTS = ("N/A", "", "[MASK]")

EVERY = [
    pytest.param(Contextual(), id="contextual"),
    pytest.param(Batch(), id="batch"),
    pytest.param(Batch(mean="arithmetic"), id="batch arithmetic"),
    pytest.param(Batch(estimate_on="test"), id="batch on test"),
    pytest.param(Batch(estimate_on="test", mean="arithmetic"), id="batch on test arithmetic"),
]
every = pytest.mark.parametrize("calibration", EVERY)


def make_case(seed: int):
    """Log-probabilities of 1 to 6 rows, not normalised, and what was collected for them under 1 to 3 contexts."""
    generator = np.random.default_rng(seed)
    items, contexts, unlabelled = generator.integers(1, [7, 4, 7])
    support = Support(
        content_free={text: generator.uniform(-12, 0, (contexts, LABELS)) for text in TEXTS},
        context=generator.integers(contexts, size=items),
        unlabelled=generator.uniform(-12, 0, (unlabelled, LABELS)),
    )
    return generator.uniform(-12, 0, (items, LABELS)), support


cases = st.integers(0, 2**32 - 1).map(make_case)


def probabilities(logprobs):
    return np.exp(logprobs) / np.exp(logprobs).sum(-1, keepdims=True)


def assert_equal_up_to_a_constant_per_row(one, other):
    np.testing.assert_allclose(normalised(one), normalised(other), atol=1e-9)


# ---- laws of every calibration ----------------------------------------------------------------------


@every
@given(cases, st.floats(-20, 0))
def test_a_uniform_prior_is_the_identity(calibration, case, level):
    logprobs, support = case
    uniform = Support(
        content_free={text: np.full_like(prior, level) for text, prior in support.content_free.items()},
        context=support.context,
        unlabelled=np.full_like(support.unlabelled, level),
    )
    if isinstance(calibration, Batch) and calibration.estimate_on == "test":
        # every rotation of every row, so that the labels are alike over the rows
        logprobs = np.vstack([np.roll(logprobs, shift, axis=1) for shift in range(LABELS)])
    assert_equal_up_to_a_constant_per_row(calibration.align(logprobs, uniform), logprobs)


@every
@given(cases, st.permutations(range(LABELS)))
def test_permuting_the_labels_permutes_the_result(calibration, case, order):
    logprobs, support = case
    permuted = Support(
        content_free={text: prior[:, order] for text, prior in support.content_free.items()},
        context=support.context,
        unlabelled=support.unlabelled[:, order],
    )
    np.testing.assert_allclose(
        calibration.align(logprobs[:, order], permuted), calibration.align(logprobs, support)[:, order], atol=1e-9
    )


@every
@given(cases, st.randoms(use_true_random=False))
def test_permuting_the_rows_permutes_the_result(calibration, case, random):
    logprobs, support = case
    order = list(range(len(logprobs)))
    random.shuffle(order)
    permuted = Support(content_free=support.content_free, context=support.context[order], unlabelled=support.unlabelled[::-1])
    np.testing.assert_allclose(
        calibration.align(logprobs[order], permuted), calibration.align(logprobs, support)[order], atol=1e-9
    )


@every
@given(cases)
def test_a_calibration_changes_nothing_that_it_is_given(calibration, case):
    logprobs, support = case
    before = logprobs.copy(), {t: p.copy() for t, p in support.content_free.items()}, support.unlabelled.copy()
    calibration.align(logprobs, support)
    np.testing.assert_equal((logprobs, support.content_free, support.unlabelled), before)


@every
@given(cases, st.floats(-5, 5))
def test_a_constant_added_to_every_label_of_a_row_changes_nothing(calibration, case, level):
    logprobs, support = case
    moved = logprobs.copy()
    moved[0] += level
    assert_equal_up_to_a_constant_per_row(calibration.align(moved, support), calibration.align(logprobs, support))


# ---- contextual -------------------------------------------------------------------------------------


@given(cases)
def test_contextual_divides_by_the_mean_of_the_content_free_probabilities(case):
    """Zhao et al. 2021, in probabilities: mean over inputs as the model gives them, renormalised once; W = diag(p_cf)^-1."""
    logprobs, support = case
    for row, (own, context) in enumerate(zip(logprobs, support.context, strict=True)):
        mean = np.mean([np.exp(support.content_free[text][context]) for text in TEXTS], axis=0)
        expected = probabilities(own) / (mean / mean.sum())
        aligned = Contextual().align(logprobs, support)[row]
        np.testing.assert_allclose(probabilities(aligned), expected / expected.sum(), atol=1e-9)


@given(cases)
def test_the_content_free_inputs_are_themselves_calibrated_to_uniform(case):
    _, support = case
    prior = support.content_free["N/A"]
    alone = Support(content_free={"N/A": prior}, context=np.arange(len(prior)), unlabelled=np.empty((0, LABELS)))
    aligned = Contextual(content_free=("N/A",)).align(prior, alone)
    np.testing.assert_allclose(probabilities(aligned), 1 / LABELS, atol=1e-9)


@given(cases)
def test_each_row_is_divided_by_the_prior_of_its_own_context(case):
    logprobs, support = case
    whole = Contextual().align(logprobs, support)
    for row, context in enumerate(support.context):
        own = Support(
            content_free={text: prior[[context]] for text, prior in support.content_free.items()},
            context=np.zeros(1, int),
            unlabelled=support.unlabelled,
        )
        np.testing.assert_allclose(Contextual().align(logprobs[[row]], own)[0], whole[row], atol=1e-9)


def test_contextual_asks_for_its_content_free_inputs_and_for_no_rows():
    assert (Contextual().needs.content_free, Contextual().needs.unlabelled) == (TEXTS, 0)
    assert Contextual(content_free=("nothing",)).needs.content_free == ("nothing",)


def test_contextual_without_a_content_free_input_is_refused():
    with pytest.raises(PromptkitError):
        Contextual(content_free=()).align(
            np.zeros((1, 2)), Support(content_free={}, context=np.zeros(1, int), unlabelled=np.empty((0, 2)))
        )


def test_a_content_free_input_can_be_spelt_on_the_command_line():
    assert build("calibration", CALIBRATIONS, "contextual:content_free=N/A").content_free == ("N/A",)


# ---- batch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimate_on", ["fit", "test"])
@given(cases)
def test_batch_divides_by_the_geometric_mean_over_the_rows_it_is_estimated_on(estimate_on, case):
    """Zhou et al. 2023: log q = log p - mean of log p."""
    logprobs, support = case
    seen = probabilities(support.unlabelled if estimate_on == "fit" else logprobs)
    expected = probabilities(logprobs) / np.prod(seen, axis=0) ** (1 / len(seen))
    aligned = Batch(estimate_on=estimate_on).align(logprobs, support)
    np.testing.assert_allclose(probabilities(aligned), expected / expected.sum(1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("estimate_on", ["fit", "test"])
@given(cases)
def test_batch_divides_by_the_arithmetic_mean_where_it_is_asked_to(estimate_on, case):
    logprobs, support = case
    seen = probabilities(support.unlabelled if estimate_on == "fit" else logprobs)
    expected = probabilities(logprobs) / seen.mean(0)
    aligned = Batch(estimate_on=estimate_on, mean="arithmetic").align(logprobs, support)
    np.testing.assert_allclose(probabilities(aligned), expected / expected.sum(1, keepdims=True), atol=1e-9)


@given(cases, cases)
def test_batch_on_fit_does_not_see_the_other_test_rows_and_on_test_does_not_see_the_fit_rows(case, other):
    (logprobs, support), (_, foreign) = case, other
    for row in range(len(logprobs)):
        alone = Batch().align(logprobs[[row]], support)
        np.testing.assert_allclose(alone[0], Batch().align(logprobs, support)[row], atol=1e-9)
    on_test = Batch(estimate_on="test")
    np.testing.assert_array_equal(on_test.align(logprobs, foreign), on_test.align(logprobs, support))


def test_batch_asks_for_rows_of_the_fit_part_unless_the_test_rows_serve():
    assert (Batch().needs.unlabelled, Batch(rows=7).needs.unlabelled, Batch(estimate_on="test").needs.unlabelled) == (128, 7, 0)
    assert Batch().needs.content_free == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Batch(rows=0),
        lambda: Batch(rows="8"),
        lambda: Batch(estimate_on="dev"),
        lambda: Batch(mean="geometrc"),
        lambda: Contextual("N/A"),
    ],
)
def test_a_value_that_a_calibration_cannot_have_is_refused_in_python_too(make):
    with pytest.raises(PromptkitError):
        make()


@given(cases)
def test_normalised_log_probabilities_sum_to_1_and_keep_their_differences(case):
    logprobs, _ = case
    whole = normalised(logprobs)
    np.testing.assert_allclose(np.exp(whole).sum(1), 1)
    np.testing.assert_allclose(whole - whole[:, :1], logprobs - logprobs[:, :1], atol=1e-9)
