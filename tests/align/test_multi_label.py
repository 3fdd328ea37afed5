"""Any number of labels per row: log-odds, thresholds, and their independence of the other labels."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import f1_score

import promptkit as pk
from promptkit.align.calibrate.label_threshold import best_threshold
from promptkit.align.chain import chain_from_settings, make_chain
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.requests import ScoreOutput
from tests.support.errors import refused

LABELS = ("anger", "joy", "fear")
TEMPLATE = "{% block input %}Text: {{ text }}\nFeelings:{% endblock %}{% block target %}\n{{ label }}{% endblock %}"
TEXTS = ["a happy day", "scared and angry", "nothing", "so it goes"]


def probabilities(labels: tuple[str, ...], **settings: Any) -> dict[str, list[float]]:
    """The probability of each label for each text, by the fake model without demonstrations."""
    prompt = pk.Prompt(pk.Template(TEMPLATE), demos=pk.demos.zero())
    predictor = pk.Predictor(pk.load("fake"), prompt, pk.MultiLabel(labels, **settings))
    found = predictor.predict_proba([{"text": text} for text in TEXTS])
    return {label: found[:, number].tolist() for number, label in enumerate(labels)}


def test_the_probability_of_a_label_is_the_softmax_of_its_two_statements() -> None:
    output = ScoreOutput(logprobs=((-1.0, -2.0), (-1.0, -0.5), (-3.0, -0.1), (-3.0, -4.0)))
    assert pk.MultiLabel(["a", "b"]).align(output) == pytest.approx((-1.5, 3.9))
    yes, no = np.exp(-3.0), np.exp(-1.5)
    assert expit(-1.5) == pytest.approx(yes / (yes + no))


@pytest.mark.parametrize("labels", [*permutations(LABELS), LABELS[:1], LABELS[1:]])
def test_a_probability_depends_neither_on_the_other_labels_nor_on_their_order(labels: tuple[str, ...]) -> None:
    whole = probabilities(LABELS)
    assert probabilities(labels) == {label: whole[label] for label in labels}
    assert len({tuple(values) for values in whole.values()}) == len(LABELS)


def test_probabilities_of_labels_do_not_sum_to_1() -> None:
    totals = np.sum([*probabilities(LABELS).values()], axis=0)
    assert not np.allclose(totals, 1.0)


def test_demonstrations_show_a_statement_for_each_label() -> None:
    row = LabeledExample(id="1", inputs={"text": "t"}, label="joy, fear", labels=("joy", "fear"))
    assert pk.MultiLabel(LABELS).demonstrated(row) == ("anger: no", "joy: yes", "fear: yes")
    reader = pk.MultiLabel({"anger": "rage", "joy": "joy"}, positive="true", negative="false", statement="{answer}, {label}")
    assert reader.demonstrated(row) == ("false, rage", "true, joy")
    assert reader.words() == ("true, rage", "false, rage", "true, joy", "false, joy")


def test_settings_create_the_aligner_again() -> None:
    reader = pk.MultiLabel({"a": "x", "b": "y"}, positive="true", negative="false", score="mean")
    chain = make_chain([reader, pk.calibrate.LabelThreshold(rows=9)])
    assert chain_from_settings(chain.settings()).settings() == chain.settings()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"words": []}, "too-few-labels"),
        ({"words": ["a", "a"]}, "shared-word"),
        ({"words": {"a": "x", "b": "x"}}, "shared-word"),
        ({"words": {"a": ["x", "y"], "b": "z"}}, "invalid-label-word"),
        ({"words": {"a": ""}}, "invalid-label-word"),
        ({"words": "a"}, "not-a-mapping"),
        ({"words": ["a"], "positive": "no"}, "invalid-answers"),
        ({"words": ["a"], "negative": " "}, "invalid-answers"),
        ({"words": ["a"], "statement": "{label}"}, "invalid-statement"),
        ({"words": ["a"], "score": "max"}, "unknown-name"),
    ],
)
def test_invalid_settings_are_refused(arguments: dict[str, Any], code: str) -> None:
    with refused(InputError, code):
        pk.MultiLabel(**arguments)


@pytest.mark.parametrize("calibration", [pk.calibrate.Batch(), pk.calibrate.Contextual(), pk.probes.KNNPrompting()])
def test_calibrations_of_one_label_per_row_are_refused(calibration: Any) -> None:
    with refused(Unsupported, "wrong-label-count", kind="multi-label"):
        make_chain([pk.MultiLabel(LABELS), calibration])


def test_calibrations_of_several_labels_are_refused_for_one_label_per_row() -> None:
    with refused(Unsupported, "wrong-label-count", kind="classification"):
        make_chain([pk.Verbalizer({"a": "a", "b": "b"}), pk.calibrate.LabelThreshold()])


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=12))
def test_no_threshold_has_a_higher_f1_than_the_fitted_one(rows: list[tuple[int, bool]]) -> None:
    odds, gold = np.array([value for value, _ in rows], float), np.array([label for _, label in rows])

    def f1(threshold: float) -> float:
        return float(f1_score(gold, odds > threshold, zero_division=0.0))

    fitted = best_threshold(odds, gold)
    grid = np.arange(-6.25, 6.5, 0.5)
    assert f1(fitted) >= max(map(f1, [0.0, *grid])) - 1e-12
    assert fitted == 0.0 or f1(0.0) < f1(fitted)


def test_a_label_without_labeled_rows_keeps_the_threshold_of_one_half() -> None:
    assert best_threshold(np.array([-3.0, 2.0, 5.0]), np.array([False, False, False])) == 0.0
