"""Every metric equals an independent implementation on random predictions, and its resamples equal that of the drawn rows."""

from __future__ import annotations

import collections
import re
import string
import sys
import warnings

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf
from scipy.stats import spearmanr
from sklearn import metrics as sklearn

from promptkit.core.errors import MissingPackage
from promptkit.metrics import METRICS, MetricInput
from promptkit.metrics.by_label import LabelF1, LabelPrecision, LabelRecall
from promptkit.metrics.scale import values_on_scale
from promptkit.metrics.table import applicable, defaults, difference, estimate, estimates, statistic
from tests.support.errors import refused

WORDS = ["a", "The", "cat", "sat", "on", "mat.", "mat", "it's", "U.S.", "zürich", "3,5", "-", "an", "dog", "Dog!", "東京"]
answers = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
texts = st.one_of(answers, st.text(max_size=12))
text_rows = st.lists(st.tuples(st.one_of(st.none(), texts), st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=12)
numbers = st.integers(0, 5).map(float)
scale_rows = st.lists(st.tuples(numbers, st.one_of(numbers, st.just(np.nan), st.floats(0, 5))), min_size=1, max_size=30)


def of_texts(rows) -> MetricInput:
    predictions, accepted = zip(*rows, strict=True)
    correct = np.array([prediction in answers for prediction, answers in rows], float)
    return MetricInput.of_texts(correct, predictions, accepted)


def of_values(rows) -> MetricInput:
    gold, predicted = np.array(rows, float).T
    texts = [None if np.isnan(value) else str(value) for value in predicted]
    rows = MetricInput.of_texts((gold == predicted).astype(float), texts, [(str(value),) for value in gold])
    return rows.with_values(gold, predicted)


def value(name: str, rows: MetricInput) -> float:
    return estimate(METRICS[name], rows).value


def label_sets(seed: int) -> MetricInput:
    """Up to 30 rows with 2 to 5 labels; some rows have no label, some labels never occur, some rows have no answer."""
    generator = np.random.default_rng(seed)
    shape = int(generator.integers(1, 30)), int(generator.integers(2, 6))
    gold, predicted = (generator.random(shape) < generator.random(shape[1]) for _ in range(2))
    answered = generator.random(shape[0]) < generator.choice([0.5, 1])
    return MetricInput.of_label_sets(gold, predicted, [*"abcde"[: shape[1]]], answered=answered)


def scored(seed: int) -> MetricInput:
    """Up to 30 rows with 2 to 5 labels, some of which may be missing; some rows have no answer."""
    generator = np.random.default_rng(seed)
    count, labels = int(generator.integers(1, 30)), int(generator.integers(2, 6))
    logprobs = generator.normal(size=(count, labels))
    logprobs[generator.random(count) < generator.choice([0, 0.3])] = -np.inf
    return MetricInput.of_scores(
        generator.integers(0, generator.integers(1, labels + 1), count), logprobs, labels=[*"abcde"[:labels]]
    )


seeds = st.integers(0, 2**32 - 1)


# ---- SQuAD, as its official script defines it ---------------------------------------------------------


def normalize_answer(s):
    """As in the evaluation script of SQuAD 2.0 (Rajpurkar et al. 2018)."""

    def remove_articles(text):
        return re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)

    def remove_punc(text):
        return "".join(ch for ch in text if ch not in set(string.punctuation))

    return " ".join(remove_articles(remove_punc(s.lower())).split())


def compute_f1(a_gold, a_pred):
    gold_toks, pred_toks = normalize_answer(a_gold).split(), normalize_answer(a_pred).split()
    num_same = sum((collections.Counter(gold_toks) & collections.Counter(pred_toks)).values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision, recall = 1.0 * num_same / len(pred_toks), 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def squad(rows, score) -> float:
    return float(np.mean([0 if text is None else max(score(gold, text) for gold in accepted) for text, accepted in rows]))


@given(text_rows)
@example([("The Cat.", ["a cat", "dog"]), (None, [""]), ("", [""]), ("the", ["x"])])
def test_squad_metrics_equal_the_official_script(rows):
    exact = squad(rows, lambda gold, text: int(normalize_answer(gold) == normalize_answer(text)))
    assert value("squad_exact_match", of_texts(rows)) == pytest.approx(exact)
    assert value("token_f1", of_texts(rows)) == pytest.approx(squad(rows, compute_f1))


# ---- text overlap -------------------------------------------------------------------------------------


def streams(rows):
    """The predictions, and the references of sacrebleu: one list for each number of a reference."""
    count = max(len(accepted) for _, accepted in rows)
    references = [[accepted[k] if k < len(accepted) else None for _, accepted in rows] for k in range(count)]
    return [text or "" for text, _ in rows], references


@given(text_rows)
@example([("", [""])])
@example([("the cat sat on the mat", ["the cat sat on the mat"])])
@example([(None, ["the cat"]), ("the cat sat on the mat", ["the cat sat on the mat", "a"])])
def test_bleu_and_chrf_equal_sacrebleu(rows):
    assert value("bleu", of_texts(rows)) == pytest.approx(corpus_bleu(*streams(rows)).score, abs=1e-9)
    assert value("chrf", of_texts(rows)) == pytest.approx(corpus_chrf(*streams(rows)).score, abs=1e-9)


@given(text_rows)
@example([("", [""])])
def test_rouge_equals_rouge_score(rows):
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names)
    for name in names:
        scores = [max(scorer.score(gold, text or "")[name].fmeasure for gold in accepted) for text, accepted in rows]
        assert value(name, of_texts(rows)) == pytest.approx(np.mean(scores))


# ---- values on a scale --------------------------------------------------------------------------------


@given(scale_rows)
@example([(1.0, np.nan)])
def test_the_mean_absolute_error_equals_scikit_learn(rows):
    gold, predicted = values_on_scale(of_values(rows))
    assert value("mae", of_values(rows)) == pytest.approx(sklearn.mean_absolute_error(gold, predicted))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_the_quadratic_kappa_of_labels_equals_scikit_learn(rows):
    gold, predicted = np.array(rows).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn.cohen_kappa_score(gold.astype(int), predicted.astype(int), labels=range(6), weights="quadratic")
    actual = value("quadratic_kappa", of_values(rows))
    assert actual == (0 if np.isnan(expected) else pytest.approx(expected))


@given(scale_rows)
def test_the_quadratic_kappa_of_values_is_one_minus_the_squared_distances_over_those_of_all_pairs(rows):
    gold, predicted = values_on_scale(of_values(rows))
    pairs = ((predicted[:, None] - gold) ** 2).mean()
    assume(pairs == 0 or pairs > 1e-6)
    expected = 1 - ((predicted - gold) ** 2).mean() / pairs if pairs else 0
    assert value("quadratic_kappa", of_values(rows)) == pytest.approx(expected, abs=1e-6)


@given(scale_rows)
@example([(1.0, 2.0)])
def test_spearman_equals_scipy_and_is_0_for_constant_values(rows):
    gold, predicted = values_on_scale(of_values(rows))
    is_constant = len(set(gold)) == 1 or len(set(predicted)) == 1
    expected = 0 if is_constant else spearmanr(gold, predicted).statistic
    assert value("spearman", of_values(rows)) == pytest.approx(expected, abs=1e-9)


@given(scale_rows)
def test_a_row_without_an_answer_is_never_better_than_an_answer_on_the_scale(rows):
    gold = [each for each, _ in rows]
    predicted = np.array([number for _, number in rows])
    assume(np.isnan(predicted).any() and set(gold) >= {0.0, 5.0})
    errors = abs(values_on_scale(of_values(rows))[1] - gold)
    for guess in range(6):
        assert (errors >= abs(np.where(np.isnan(predicted), guess, predicted) - gold)).all()


# ---- labels -------------------------------------------------------------------------------------------


@given(seeds)
def test_metrics_of_sets_of_labels_equal_scikit_learn(seed):
    rows = label_sets(seed)
    gold, predicted = rows.gold_sets, rows.predicted_sets
    occurs = np.flatnonzero(gold.any(0))
    values = {name: each.value for name, each in estimates(rows).items()}
    expected = {
        "micro_f1": sklearn.f1_score(gold, predicted, average="micro", zero_division=0),
        "macro_f1": np.mean([sklearn.f1_score(gold[:, k], predicted[:, k], zero_division=0) for k in occurs] or [0]),
        "jaccard": np.mean(
            [
                sklearn.jaccard_score(row, guess, zero_division=1) if is_answered else 0
                for row, guess, is_answered in zip(gold, predicted, rows.answered, strict=True)
            ]
        ),
        "subset_accuracy": ((gold == predicted).all(1) & rows.answered).mean(),
    }
    assert values == pytest.approx(expected)


@given(seeds)
def test_metrics_of_sets_equal_those_of_single_labels_if_each_row_has_one(seed):
    rows = scored(seed)
    one_hot = np.eye(len(rows.labels), dtype=bool)
    sets = MetricInput.of_label_sets(one_hot[rows.gold], one_hot[rows.predicted], rows.labels, answered=rows.answered)
    assert value("subset_accuracy", sets) == pytest.approx(value("accuracy", rows))
    assert estimate(METRICS["macro_f1"], sets) == estimate(METRICS["macro_f1"], rows)
    if rows.answered.all():
        assert value("micro_f1", sets) == pytest.approx(value("accuracy", rows))


@given(seeds, st.booleans())
def test_precision_recall_and_f1_of_each_label_equal_scikit_learn(seed, is_set):
    rows = label_sets(seed) if is_set else scored(seed)
    if is_set:
        gold, predicted = rows.gold_sets, rows.predicted_sets
    else:
        one_hot = np.eye(len(rows.labels), dtype=bool)
        gold, predicted = one_hot[rows.gold], one_hot[rows.predicted] & rows.answered[:, None]
    expected = sklearn.precision_recall_fscore_support(gold, predicted, average=None, zero_division=0)
    for kind, column in zip((LabelPrecision, LabelRecall, LabelF1), expected, strict=False):
        actual = [estimate(kind(label), rows).value for label in rows.labels]
        assert actual == pytest.approx(np.atleast_1d(column))


# ---- resamples ----------------------------------------------------------------------------------------


def inputs(seed: int) -> list[MetricInput]:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 15))
    predictions = [" ".join(generator.choice(WORDS, 4)) if generator.random() < 0.8 else None for _ in range(count)]
    accepted = [[" ".join(generator.choice(WORDS, 3)) for _ in range(generator.integers(1, 3))] for _ in range(count)]
    values = [(float(generator.integers(5)), float(generator.choice([0, 1.5, 2, np.nan]))) for _ in range(count)]
    texts = of_texts([*zip(predictions, accepted, strict=True)]).with_values(*np.array(values).T)
    return [texts.with_fields({"x": generator.random(count)}), label_sets(seed), scored(seed)]


@given(seeds)
def test_a_resample_has_the_value_of_the_drawn_rows(seed):
    generator = np.random.default_rng(seed)
    for rows in inputs(seed):
        drawn = np.sort(generator.integers(0, len(rows), len(rows)))
        weights = np.bincount(drawn, minlength=len(rows)).astype(float)[None]
        part = rows.take([*drawn])
        for name, metric in applicable(rows).items():
            if name in ("mae", "quadratic_kappa", "spearman") and np.isnan(rows.predicted_values).any():
                continue  # the worst value depends on the range of all rows
            if name == "macro_f1" and not part.gold_sets.any() and rows.kind == "label_sets":
                continue
            assert statistic(metric, rows)(weights)[0] == pytest.approx(estimate(metric, part).value, abs=1e-9), name


@given(seeds)
def test_every_metric_has_an_interval_around_its_value_and_no_difference_from_itself(seed):
    for rows in inputs(seed):
        for name, metric in applicable(rows).items():
            result = estimate(metric, rows)
            low, high = metric.bounds
            assert low <= result.low <= result.value <= result.high <= high, name
            same = difference(metric, rows, rows)
            assert (same.value, same.low, same.high) == (0, 0, 0), name


@pytest.mark.parametrize("kind", ["texts", "sets", "labels"])
def test_rows_without_any_answer_have_the_worst_value(kind):
    count = 4
    rows = {
        "texts": of_texts([(None, ["x y z w v"])] * count).with_values(np.arange(4.0), np.full(4, np.nan)),
        "sets": MetricInput.of_label_sets(np.eye(4, dtype=bool), np.eye(4, dtype=bool), "abcd", answered=np.zeros(4, bool)),
        "labels": MetricInput.of_scores(np.arange(4), np.full((4, 4), -np.inf)),
    }[kind]
    for name, metric in applicable(rows).items():
        if name in ("mae", "quadratic_kappa", "spearman", "ece", "brier"):
            continue
        worst = metric.bounds[0 if metric.higher_is_better else 1]
        assert estimate(metric, rows).value == pytest.approx(worst), name
    if kind == "texts":
        assert value("mae", rows) == 2.5
        assert value("spearman", rows) < 0
        assert value("quadratic_kappa", rows) < 0


def test_metrics_of_text_are_computed_only_if_they_are_requested():
    rows = of_texts([("a", ["a"])])
    assert list(defaults(rows)) == ["exact_match", "no_answer"]
    requested = {"squad_exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"}
    assert applicable(rows).keys() - defaults(rows).keys() == requested


@pytest.mark.parametrize(("name", "package"), [("bleu", "sacrebleu"), ("chrf", "sacrebleu"), ("rougeL", "rouge-score")])
def test_a_metric_of_text_overlap_names_the_package_that_it_needs(monkeypatch, name, package):
    for module in ("sacrebleu.metrics", "sacrebleu.metrics.chrf", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, module, None)
    with refused(MissingPackage, "missing-package", package=package, extra="metrics"):
        estimate(METRICS[name], of_texts([("a", ["a"])]))
