"""Label maps that are trained together with a program: differentiable scores, fits, and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.labelmap import LABEL_MAPPINGS, LabelMap
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.output_reader import Target
from promptkit.core.requests import ClassifyOutput
from promptkit.training.label_map import JointLabelMap
from tests.support.errors import refused

LABELS, CLASSES = ("cat", "dog", "eel"), ("ant", "bee", "cow", "doe", "elk", "fox")
TRAINABLE = {name: kind() for name, kind in LABEL_MAPPINGS.items() if name != "semantic"}
each_map = pytest.mark.parametrize("mapping", TRAINABLE.values(), ids=TRAINABLE)


def drawn(seed: int, rows: int = 12) -> tuple[Any, Any]:
    """Logits of all classes, and labels."""
    draw = np.random.default_rng(seed)
    return 3 * draw.normal(size=(rows, len(CLASSES))), draw.integers(0, len(LABELS), rows)


def logprobs_of(logits: Any) -> Any:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


@given(seed=st.integers(0, 999), over=st.sampled_from(["probabilities", "logprobs"]))
def test_differentiable_scores_equal_those_of_the_map(seed: int, over: Any) -> None:
    draw = np.random.default_rng(seed)
    weights, bias = draw.random((len(CLASSES), len(LABELS))), draw.normal(size=len(LABELS)) if seed % 2 else None
    label_map = LabelMap(sources=CLASSES, labels=LABELS, weights=weights, bias=bias, over=over)
    logprobs = logprobs_of(drawn(seed)[0])
    np.testing.assert_allclose(label_map.scores_tensor(torch.from_numpy(logprobs)).numpy(), label_map(logprobs), atol=1e-9)


@each_map
@given(seed=st.integers(0, 99))
def test_the_loss_is_the_cross_entropy_of_the_label_scores(mapping: Any, seed: int) -> None:
    logits, gold = drawn(seed)
    joint = JointLabelMap(mapping, LABELS, CLASSES)
    loss = joint.loss(joint.fit(logprobs_of(logits), gold))
    for row, label in zip(logits, gold.tolist(), strict=True):
        tensor = torch.tensor(row, dtype=torch.float32, requires_grad=True)
        value, scores = loss.loss(Target(gold=label), [tensor])
        output = ClassifyOutput(logits=as_array(row), log_normalizer=float(np.logaddexp.reduce(row)))
        expected, expected_scores = loss.loss_of_output(Target(gold=label), output)
        assert float(value.detach()) == pytest.approx(expected, abs=1e-5)
        assert scores.tolist() == pytest.approx(expected_scores, abs=1e-5)
        value.backward()  # type: ignore[no-untyped-call]
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@each_map
def test_a_map_can_be_restored_from_its_numbers(mapping: Any) -> None:
    logits, gold = drawn(0)
    joint = JointLabelMap(mapping, LABELS, CLASSES)
    numbers = joint.fit(logprobs_of(logits), gold)
    fitted = mapping.fit_classes(LABELS, CLASSES, logprobs_of(logits), gold)
    np.testing.assert_allclose(numbers["weights"].numpy(), fitted.weights, rtol=1e-6)
    if fitted.bias is not None:
        np.testing.assert_allclose(numbers["bias"].numpy(), fitted.bias, rtol=1e-6)


def test_maps_that_follow_the_outputs_are_fitted_again() -> None:
    refitted = {name for name, mapping in TRAINABLE.items() if JointLabelMap(mapping, LABELS, CLASSES).is_refitted}
    assert refitted == set(TRAINABLE) - {"frequency", "random-map"}


@pytest.mark.parametrize(
    "mapping",
    [
        *(pk.labelmap.Semantic(), pk.labelmap.Bayesian(manual=0.5), pk.labelmap.Bayesian(sources="words")),
        *(pk.labelmap.Full(towards="verbalizer"), pk.labelmap.Full(sources="words")),
    ],
)
def test_maps_that_read_more_than_class_probabilities_are_refused(mapping: Any) -> None:
    with refused(Unsupported, "untrainable-label-map", aligner=mapping.name):
        JointLabelMap(mapping, LABELS, CLASSES)


@pytest.mark.parametrize("mapping", [pk.labelmap.BayesianPlus(tokens=50), pk.labelmap.Full(tokens=50)])
def test_a_number_of_tokens_is_refused_for_classes(mapping: Any) -> None:
    with refused(InputError, "option-not-applicable", option="tokens", aligner=mapping.name, value=50):
        JointLabelMap(mapping, LABELS, CLASSES)
