"""Baselines of texts: their predictions and probabilities, compared with independent computations."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import promptkit as pk
from promptkit.classical.baseline import predicted
from promptkit.classical.frequent_answer import FrequentAnswer
from promptkit.classical.majority import Majority
from promptkit.classical.position import Position
from promptkit.classical.table import BASELINES, baselines_for
from promptkit.classical.tfidf import TfidfRegression, text_regression
from promptkit.core.examples import LabeledExample

TASK = pk.task("sentiment")
ROWS = [*TASK.part("pool"), *TASK.part("fit")]
ITEMS = [row.unlabeled() for row in TASK.rows("test")][:50]


def choice(label: str, *choices: str) -> LabeledExample:
    return LabeledExample(id="-".join(choices), inputs={"text": "t"}, label=label, choices=choices)


def test_the_majority_has_the_probabilities_of_the_prior_of_scikit_learn() -> None:
    rows = ROWS[:31]
    dummy = DummyClassifier(strategy="prior").fit(np.zeros(len(rows)), [row.label for row in rows])
    (scores,) = {tuple(scores.items()) for scores in Majority().predict(rows, ITEMS, TASK.labels)}
    assert {label: math.exp(value) for label, value in scores} == pytest.approx(
        dict(zip(dummy.classes_, dummy.predict_proba([[0]])[0], strict=True))
    )
    assert [*dict(scores)] == [*TASK.labels]


def test_a_label_without_training_rows_has_no_score() -> None:
    rows = [row for row in ROWS if row.label == "positive"]
    for baseline in (Majority(), TfidfRegression()):
        assert baseline.predict(rows, ITEMS, TASK.labels) == [{"positive": 0.0}] * len(ITEMS)


def test_the_regression_has_the_probabilities_of_scikit_learn_in_any_order_of_rows() -> None:
    features = TfidfVectorizer(token_pattern=r"\w+")
    model = LogisticRegression(max_iter=1000)
    ordered = sorted(ROWS, key=lambda row: row.id)
    model.fit(features.fit_transform([row.texts["text"] for row in ordered]), [row.label for row in ordered])
    expected = model.predict_proba(features.transform([item.texts["text"] for item in ITEMS]))
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    scores = TfidfRegression().predict(shuffled, ITEMS, TASK.labels)
    assert np.exp([[row[label] for label in model.classes_] for row in scores]) == pytest.approx(expected)
    assert text_regression(shuffled, ITEMS) == [*map(predicted, scores)]


def test_the_position_is_the_most_frequent_one_and_probabilities_sum_to_one() -> None:
    rows = [choice("b", "a", "b"), choice("d", "c", "d", "e"), choice("f", "f", "g", "h")]
    items = [choice("x", "x", "y"), choice("y", "x", "y", "z")]
    two, three = Position().predict(rows, items, ())
    assert {name: math.exp(value) for name, value in two.items()} == pytest.approx({"x": 2 / 5, "y": 3 / 5})
    assert {name: math.exp(value) for name, value in three.items()} == pytest.approx({"x": 2 / 6, "y": 3 / 6, "z": 1 / 6})


def test_the_answer_is_the_one_that_is_correct_for_most_rows() -> None:
    rows = [
        LabeledExample(id=f"{number}", inputs={}, label=answers[0], accepted=answers)
        for number, answers in enumerate([("4", "four"), ("four",), ("2", "2"), ("2",), ("7",)])
    ]
    assert FrequentAnswer().predict(rows, ITEMS[:2], ()) == [{"2": 0.0}] * 2  # as often as "four", and before it


def test_every_kind_of_task_has_a_baseline() -> None:
    names = {task: [each.name for each in baselines_for(pk.task(task).spec)] for task in ("sentiment", "capitals", "digits")}
    assert names == {"sentiment": ["majority", "tfidf"], "capitals": ["frequent-answer"], "digits": ["majority", "pixels"]}
    assert len({each.name for each in BASELINES}) == len(BASELINES)


def test_about_one_row_of_each_label_gives_no_warning() -> None:
    """Warnings are errors in tests."""
    rows = [LabeledExample(id=str(n), inputs={"text": f"word{n}"}, label=str(n)) for n in range(30)]
    assert len(text_regression(rows, ITEMS[:3])) == 3
