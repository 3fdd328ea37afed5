"""The input of metrics: each kind of predictions, and parts of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.metrics import MetricInput
from promptkit.metrics.table import defaults, estimates


def test_scores_have_the_names_of_their_labels() -> None:
    logprobs = np.log([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    logprobs = np.vstack([logprobs, np.full((1, 2), -np.inf)])
    rows = MetricInput.of_scores(np.array([0, 0, 1, 1]), logprobs, labels=["no", "yes"])
    assert rows.predictions == ("no", "yes", "no", None)
    assert rows.accepted == (("no",), ("no",), ("yes",), ("yes",))
    assert rows.correct.tolist() == [1, 0, 0, 0]
    assert rows.labels == ("no", "yes")


def test_texts_are_answered_if_there_is_a_prediction() -> None:
    rows = MetricInput.of_texts(np.array([1.0, 0.0]), ["a", None], [["a", "b"], ["c"]])
    assert (rows.kind, rows.answered.tolist(), rows.accepted) == ("texts", [True, False], (("a", "b"), ("c",)))
    assert list(estimates(rows)) == ["exact_match", "no_answer"]


def test_a_row_with_a_set_of_labels_is_correct_if_the_whole_set_is() -> None:
    gold = np.array([[True, False], [True, True], [False, False], [False, False]])
    predicted = np.array([[True, False], [True, False], [False, False], [True, True]])
    rows = MetricInput.of_label_sets(gold, predicted, ["a", "b"], answered=np.array([True, True, True, False]))
    assert rows.correct.tolist() == [1, 0, 1, 0]
    assert rows.predictions == ("a", "a", "", None)
    assert rows.accepted == (("a",), ("a, b",), ("",), ("",))
    assert not rows.predicted_sets[3].any()


def test_a_part_of_the_rows_has_the_same_order_in_everything() -> None:
    gold = np.array([[True], [False], [True]])
    sets = MetricInput.of_label_sets(gold, ~gold, ["a"]).with_values(np.arange(3.0), np.arange(3.0) + 0.5)
    part = sets.with_fields({"city": np.array([0.0, 0.5, 1.0])}).take([2, 0])
    assert len(part) == 2
    assert part.gold_sets[:, 0].tolist() == [True, True]
    assert part.predictions == ("", "")
    assert part.gold_values is not None
    assert part.gold_values.tolist() == [2, 0]
    assert part.predicted_values is not None
    assert part.predicted_values.tolist() == [2.5, 0.5]
    assert part.fields["city"].tolist() == [1, 0]


def test_fields_of_json_answers_are_metrics() -> None:
    rows = MetricInput.of_texts(np.array([1.0, 0.0]), ["{}", None], [["{}"], ["{}"]])
    rows = rows.with_fields({"city": np.array([1.0, 0.0]), "street": np.array([0.5, 0.0])})
    assert list(defaults(rows)) == ["exact_match", "field_mean", "no_answer", "field@city", "field@street"]
    values = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert values["field_mean"] == pytest.approx(0.375)
    assert (values["field@city"], values["field@street"]) == (0.5, 0.25)
