"""The rule for a threshold, a risk and label sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from promptkit.core.errors import InputError
from promptkit.predictor.decide.label_sets import conformal
from promptkit.predictor.decide.risk import certify
from promptkit.predictor.decide.rule import rule_for
from promptkit.predictor.predictions import Predictions
from tests.predictor.decide.rows import trec, two_labels
from tests.support.errors import refused


def test_without_options_every_row_with_an_answer_is_answered() -> None:
    rule = rule_for(None)
    assert rule.answers(np.array([[0.1, 0.1], [0.0, 0.0]])).tolist() == [True, False]
    assert rule.members(np.array([[0.5, 0.5]])) is None
    assert rule.notes() == ()


def test_a_risk_chooses_the_threshold_and_sets_their_rule() -> None:
    rows = trec()
    rule = rule_for(rows, risk=0.1, sets=0.9)
    assert (rule.certificate, rule.threshold) == (certify(rows, 0.1), certify(rows, 0.1).threshold)
    assert rule.label_sets == conformal(rows, 0.9)
    members = rule.members(rows.probabilities)
    assert members is not None
    assert np.array_equal(members, conformal(rows, 0.9).members(rows.probabilities))
    assert len(rule.notes()) == 2


def test_guarantees_of_folds_are_called_approximate() -> None:
    assert "approximate" in rule_for(replace(trec(), folds=5), sets=0.9).notes()[-1]
    assert rule_for(replace(trec(), folds=5), threshold=0.9).notes() == ()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with refused(InputError, "invalid-value", name="threshold"):
        rule_for(None, threshold=threshold)


def test_a_threshold_would_void_a_certificate() -> None:
    with refused(InputError, "threshold-and-risk"):
        rule_for(trec(), threshold=0.5, risk=0.1)


@pytest.mark.parametrize("option", ["risk", "sets"])
def test_a_guarantee_needs_labeled_rows(option: str) -> None:
    with refused(InputError, "no-out-of-fold-rows", option=option, value=0.1):
        rule_for(None, risk=0.1 if option == "risk" else None, sets=0.1 if option == "sets" else None)


def test_the_set_of_a_row_without_an_answer_has_all_labels_and_that_of_an_error_none() -> None:
    predictions = Predictions(
        labels=("a", "b"),
        candidates=(("a", "b"),) * 3,
        predictions=("a", None, None),
        probabilities=np.array([[0.95, 0.05], [0.0, 0.0], [0.0, 0.0]]),
        errors=(None, None, "The text is missing"),
    )
    decided = predictions.decided(rule_for(two_labels([0.9] * 20, [True] * 20), sets=0.9))
    assert decided.sets == (("a",), ("a", "b"), ())
