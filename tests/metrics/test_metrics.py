from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sklearn

from promptkit.metrics import MetricInput
from promptkit.metrics.ece import BINS
from promptkit.metrics.intervals import paired_difference, wilson
from promptkit.metrics.table import estimates


def make_case(seed: int):
    """Gold labels and log-probabilities, not normalized, of up to 60 rows and 2 to 5 labels, some of which may be missing."""
    generator = np.random.default_rng(seed)
    count, labels = int(generator.integers(1, 60)), int(generator.integers(2, 6))
    sharpness = generator.choice([0.1, 1, 8])
    gold = generator.integers(generator.integers(1, labels + 1), size=count)
    return gold, sharpness * generator.normal(size=(count, labels)) - 10


cases = st.integers(0, 2**32 - 1).map(make_case)


def classification(gold, logprobs):
    return estimates(MetricInput.of_scores(gold, logprobs))


def probabilities(logprobs):
    return np.exp(logprobs) / np.exp(logprobs).sum(1, keepdims=True)


def values(gold, logprobs):
    return {name: estimate.value for name, estimate in classification(gold, logprobs).items()}


# ---- parity -----------------------------------------------------------------------------------------


@given(cases)
def test_accuracy_and_macro_f1_equal_scikit_learn_over_the_gold_labels(case):
    gold, logprobs = case
    predictions = logprobs.argmax(1)
    f1 = sklearn.f1_score(gold, predictions, labels=np.unique(gold), average="macro", zero_division=0)
    assert values(gold, logprobs)["accuracy"] == pytest.approx(sklearn.accuracy_score(gold, predictions))
    assert values(gold, logprobs)["macro_f1"] == pytest.approx(f1)


@given(cases)
def test_brier_score_is_twice_that_of_scikit_learn_for_two_labels(case):
    gold, logprobs = case
    two = logprobs[:, :2]
    gold = np.minimum(gold, 1)
    assume(len(set(gold)) == 2)
    assert values(gold, two)["brier"] == pytest.approx(2 * sklearn.brier_score_loss(gold, probabilities(two)[:, 1]))


@given(cases)
def test_brier_score_is_the_mean_squared_distance_from_the_gold_label(case):
    gold, logprobs = case
    rows = zip(gold, probabilities(logprobs), strict=True)
    squares = [sum((p - (k == label)) ** 2 for k, p in enumerate(row)) for label, row in rows]
    assert values(gold, logprobs)["brier"] == pytest.approx(sum(squares) / len(squares))


@given(cases)
def test_ece_is_the_mean_gap_of_confidence_bins_weighted_by_their_rows(case):
    gold, logprobs = case
    rows = probabilities(logprobs)
    error = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        members = [i for i, row in enumerate(rows) if low <= row.max() < high or (row.max() == 1 == high)]
        if members:
            accuracy = sum(rows[i].argmax() == gold[i] for i in members) / len(members)
            confidence = sum(rows[i].max() for i in members) / len(members)
            error += len(members) / len(rows) * abs(accuracy - confidence)
    assert values(gold, logprobs)["ece"] == pytest.approx(error, abs=1e-9)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_equals_scipy(case):
    successes, count = case
    expected = binomtest(successes, count).proportion_ci(method="wilson")
    estimate = wilson(successes, count)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"), [(8, 10, 0.490, 0.943), (0, 10, 0, 0.278), (10, 10, 0.722, 1), (1, 1, 0.207, 1)]
)
def test_wilson_interval_equals_published_tables(successes, count, low, high):
    estimate = wilson(successes, count)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((successes / count, low, high), abs=5e-4)


# ---- intervals --------------------------------------------------------------------------------------


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@example((1, 1))
@example((5000, 5000))
def test_wilson_interval_contains_the_value_and_is_within_0_and_1(case):
    estimate = wilson(*case)
    assert 0 <= estimate.low <= estimate.value + 1e-15
    assert estimate.value - 1e-15 <= estimate.high <= 1


@pytest.mark.parametrize(("successes", "count"), [(0, 7), (10, 10)])
def test_wilson_interval_contains_the_value_to_the_last_digit(successes, count):
    estimate = wilson(successes, count)
    assert estimate.low <= estimate.value <= estimate.high


@given(cases)
def test_every_interval_contains_its_value(case):
    for estimate in classification(*case).values():
        assert estimate.low <= estimate.value <= estimate.high


@given(cases)
def test_every_interval_is_within_the_bounds_of_its_metric(case):
    for name, estimate in classification(*case).items():
        assert 0 <= estimate.low <= estimate.high <= (2 if name == "brier" else 1)


@given(cases)
def test_accuracy_has_the_wilson_interval(case):
    gold, logprobs = case
    assert classification(gold, logprobs)["accuracy"] == wilson(int((logprobs.argmax(1) == gold).sum()), len(gold))


def test_the_interval_of_the_ece_contains_its_value_for_a_calibrated_model():
    for seed in range(30):
        generator = np.random.default_rng(seed)
        logprobs = generator.normal(scale=1.5, size=(300, 3))
        gold = np.array([generator.choice(3, p=row) for row in probabilities(logprobs)])
        ece = classification(gold, logprobs)["ece"]
        assert ece.low <= ece.value <= ece.high


@pytest.mark.parametrize("metric", ["macro_f1", "brier"])
def test_a_95_percent_interval_covers_the_true_value_in_about_95_percent_of_samples(metric):
    def draw(seed, count):
        generator = np.random.default_rng(seed)
        logprobs = generator.normal(size=(count, 2))
        return (generator.random(count) < probabilities(logprobs)[:, 1]).astype(int), logprobs

    gold, logprobs = draw(0, 200_000)
    true_values = {
        "macro_f1": sklearn.f1_score(gold, logprobs.argmax(1), average="macro"),
        "brier": 2 * sklearn.brier_score_loss(gold, probabilities(logprobs)[:, 1]),
    }
    estimates = [classification(*draw(seed, 100))[metric] for seed in range(1, 121)]
    covered = sum(estimate.low <= true_values[metric] <= estimate.high for estimate in estimates)
    assert 105 <= covered <= 119  # 114 expected, standard deviation about 2.4


def test_an_interval_narrows_with_the_square_root_of_the_number_of_rows():
    gold, logprobs = make_case(3)
    one, many = (classification(np.tile(gold, n), np.tile(logprobs, (n, 1))) for n in (1, 16))
    for name in ("accuracy", "macro_f1", "brier"):
        ratio = (one[name].high - one[name].low) / (many[name].high - many[name].low)
        assert 3 < ratio < 5.5


# ---- laws -------------------------------------------------------------------------------------------


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(case, random):
    gold, logprobs = case
    order = list(range(len(gold)))
    random.shuffle(order)
    assert values(gold[order], logprobs[order]) == pytest.approx(values(gold, logprobs))


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_labels_matters_only_for_ties(case, random):
    gold, logprobs = case
    order = list(range(logprobs.shape[1]))
    random.shuffle(order)
    renamed = np.argsort(order)[gold]
    assert values(renamed, logprobs[:, order]) == pytest.approx(values(gold, logprobs))


@given(cases, st.floats(-50, 50))
def test_a_constant_added_to_a_row_does_not_matter(case, level):
    gold, logprobs = case
    assert values(gold, logprobs + level) == pytest.approx(values(gold, logprobs))


@given(cases)
def test_metrics_do_not_depend_on_the_global_random_state(case):
    gold, logprobs = case
    np.random.seed(1)
    one = classification(gold, logprobs)
    np.random.seed(2)
    assert classification(gold, logprobs) == one


@pytest.mark.parametrize("labels", [2, 5])
def test_ties_go_to_the_first_label(labels):
    gold = np.arange(labels)
    assert values(gold, np.zeros((labels, labels)))["accuracy"] == pytest.approx(1 / labels)
    assert values(np.zeros(4, int), np.zeros((4, labels)))["accuracy"] == 1


def test_confident_correct_predictions_have_the_best_metrics_and_confident_errors_the_worst():
    confident = 1000 * np.eye(2)
    assert values(np.array([0, 1]), confident) == pytest.approx({"accuracy": 1, "macro_f1": 1, "ece": 0, "brier": 0})
    assert values(np.array([1, 0]), confident) == pytest.approx({"accuracy": 0, "macro_f1": 0, "ece": 1, "brier": 2})


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40))
def test_a_paired_difference_is_the_mean_difference_and_changes_sign_when_swapped(rows):
    one, two = np.array(rows).T
    there, back = paired_difference(one, two), paired_difference(two, one)
    assert there.value == pytest.approx(one.mean() - two.mean())
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low <= there.value <= there.high


@pytest.mark.parametrize("rows", [[(0, 0), (0, 1)], [(0, 0), (1, 0)]])
def test_a_paired_difference_of_shares_stays_between_minus_1_and_1(rows):
    estimate = paired_difference(*np.array(rows, float).T)
    assert -1 <= estimate.low <= estimate.high <= 1


def test_a_paired_difference_of_equal_values_is_zero():
    rows = np.array([1.0, 0.0, 1.0])
    estimate = paired_difference(rows, rows)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_a_paired_difference_has_the_interval_of_the_central_limit_theorem():
    difference = np.random.default_rng(0).normal(scale=0.1, size=2000)
    estimate = paired_difference(difference, np.zeros(2000))
    half = 1.96 * difference.std() / sqrt(2000)
    assert (estimate.low, estimate.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.1 * half)
