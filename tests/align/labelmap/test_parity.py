"""Label maps equal an independent implementation of the papers' formulas, in plain loops, on random inputs.

Chen et al. 2022 (2211.11635) for frequency and iterative mapping, Cai et al. 2024 (2410.24018) for BLM and BLM+.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.align.labelmap import Bayesian, BayesianPlus, Frequency, Iterative, LabelMap
from promptkit.align.labelmap.base import Sources

LAPS, ALPHAS = st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.15, 0.5, 1.0, 3.0])


@st.composite
def logits_and_labels(draw):
    """Logits of 1 to 30 rows over more source classes than labels, and a label for each row; some labels have no rows."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = int(generator.integers(2, 8))
    logits = generator.normal(scale=3, size=(int(generator.integers(1, 31)), labels + int(generator.integers(0, 9))))
    return logits, generator.integers(0, labels, len(logits)).tolist(), labels


def as_sources(logits, labels):
    logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return Sources(
        names=tuple(f"s{i}" for i in range(logits.shape[1])),
        labels=tuple(f"t{i}" for i in range(labels)),
        logprobs=logprobs,
        name_vectors=np.empty((logits.shape[1], 0)),
        label_vectors=np.empty((labels, 0)),
    )


def softmax_of(row):
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def counts_in_loops(logits, gold, labels, top=None):
    """F[s][t]: how often s is the likeliest class of a row of t, or the sum of its probability where it is in the top k."""
    counts = [[0.0] * labels for _ in logits[0]]
    for row, label in zip(logits, gold, strict=True):
        if top is None:
            counts[row.index(max(row))][label] += 1
            continue
        probabilities = softmax_of(row)
        for source in sorted(range(len(row)), key=lambda s: probabilities[s], reverse=True)[:top]:
            counts[source][label] += probabilities[source]
    return counts


def greedy_in_loops(counts):
    """Takes the largest remaining count, and then removes its source class and its label."""
    remaining = [(count, -source, -label) for source, line in enumerate(counts) for label, count in enumerate(line)]
    assigned = {}
    while len(assigned) < len(counts[0]):
        _, source, label = max(remaining)
        assigned[-label] = -source
        remaining = [entry for entry in remaining if entry[1] != source and entry[2] != label]
    return assigned


def bayesian_in_loops(counts, lap):
    """P(t | s) = F[s][t] / (sum over t of F[s][t] + lap), then each label's column divided by its sum."""
    shares = [[count / (sum(line) + lap) if sum(line) + lap else 0.0 for count in line] for line in counts]
    sums = [sum(line[label] for line in shares) for label in range(len(counts[0]))]
    return [[value / sums[label] if sums[label] else 1 / len(counts) for label, value in enumerate(line)] for line in shares]


@pytest.mark.parametrize("technique", [Frequency(), Iterative()], ids=repr)
@given(case=logits_and_labels())
def test_frequency_and_iterative(technique, case):
    logits, gold, labels = case
    expected = greedy_in_loops(counts_in_loops(logits.tolist(), gold, labels))
    weights = technique.weights(as_sources(logits, labels), np.array(gold))
    assert dict(enumerate(weights.argmax(0).tolist())) == expected
    assert weights.sum() == labels


@given(case=logits_and_labels(), lap=LAPS)
def test_blm(case, lap):
    logits, gold, labels = case
    expected = bayesian_in_loops(counts_in_loops(logits.tolist(), gold, labels), lap)
    np.testing.assert_allclose(Bayesian(lap=lap).weights(as_sources(logits, labels), np.array(gold)), expected, atol=1e-12)


@given(case=logits_and_labels(), lap=LAPS, alpha=ALPHAS)
def test_blm_plus(case, lap, alpha):
    logits, gold, labels = case
    top = min(max(1, int(alpha * labels)), logits.shape[1])
    expected = bayesian_in_loops(counts_in_loops(logits.tolist(), gold, labels, top), lap)
    weights = BayesianPlus(lap=lap, alpha=alpha).weights(as_sources(logits, labels), np.array(gold))
    np.testing.assert_allclose(weights, expected, atol=1e-12)


@given(case=logits_and_labels(), over=st.sampled_from(["probabilities", "logprobs"]))
def test_scores_over_probabilities_and_over_logits(case, over):
    """Over probabilities, the map's output is normalized before the logarithm. Over log-probabilities, the result equals the
    result over logits, because columns sum to 1 and the softmax over labels removes a constant that is added to a row."""
    logits, gold, labels = case
    sources = as_sources(logits, labels)
    weights = BayesianPlus().weights(sources, np.array(gold))
    scores = LabelMap(sources=sources.names, labels=sources.labels, weights=weights, over=over)(sources.logprobs)
    for row, score in zip(logits.tolist(), scores, strict=True):
        inputs = softmax_of(row) if over == "probabilities" else row
        outputs = [sum(value * weights[source, label] for source, value in enumerate(inputs)) for label in range(labels)]
        expected = [value / sum(outputs) for value in outputs] if over == "probabilities" else softmax_of(outputs)
        np.testing.assert_allclose(np.exp(score), np.maximum(expected, 1e-300), rtol=1e-9, atol=1e-290)
