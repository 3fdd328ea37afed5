"""Predictors as classifiers of scikit-learn."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

import promptkit as pk
from promptkit.core.errors import Unsupported
from promptkit.predictor.sklearn_classifier import PromptClassifier
from promptkit.tasks.columns import cell_text
from promptkit.tasks.default_template import default_template
from tests.support.errors import refused

TEXTS = [f"{word} number {number}" for number in range(30) for word in ("poor", "fine")]
LABELS = ["negative", "positive"] * 30


def build(labels: Sequence[str], columns: Sequence[str], *later: object, **options: object) -> pk.Predictor:
    template = pk.Template(default_template("rows", {column: column for column in columns}, "label"))
    aligners = [pk.Verbalizer({label: label for label in labels}), *later]
    return pk.Predictor(pk.load("fake"), pk.Prompt(template, **options), aligners)  # type: ignore[arg-type]


CHECKS = [*estimator_checks_generator(PromptClassifier(build))]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[check.func.__name__ for _, check in CHECKS])
def test_the_checks_of_scikit_learn_pass(estimator: PromptClassifier, check: Callable[[PromptClassifier], None]) -> None:
    check(estimator)


def fitted_on(*later: object, **options: object) -> PromptClassifier:
    return build(("negative", "positive"), ("text",), *later, **options).as_sklearn().fit(TEXTS, LABELS)


def test_it_predicts_as_the_fitted_predictor() -> None:
    classifier = fitted_on(pk.calibrate.Temperature(), demos=pk.demos.Balanced(k=1))
    expected = classifier.predictor_.predict(TEXTS)
    assert classifier.classes_.tolist() == ["negative", "positive"]
    assert classifier.predict(TEXTS).tolist() == [*expected.predictions]
    assert np.array_equal(classifier.predict_proba(TEXTS), expected.probabilities)


def test_columns_of_probabilities_are_in_the_order_of_the_classes() -> None:
    classifier = build(("b", "c", "a"), ("text",)).as_sklearn().fit(TEXTS, [*"abc"] * 20)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    expected = classifier.predictor_.predict(TEXTS)
    assert np.array_equal(classifier.predict_proba(TEXTS), expected.probabilities[:, [2, 0, 1]])
    assert classifier.predict(TEXTS).tolist() == [*expected.predictions]
    assert classifier.predict(TEXTS).tolist() == classifier.classes_[classifier.predict_proba(TEXTS).argmax(1)].tolist()


@pytest.mark.parametrize("values", [(0, 1), (False, True), (2.0, 1.0)])
def test_labels_may_be_numbers_and_booleans(values: tuple[float, float]) -> None:
    classifier = build([*map(cell_text, values)], ("text",)).as_sklearn().fit(TEXTS, [*values] * 30)
    assert classifier.classes_.tolist() == sorted(values)
    named = {cell_text(value): value for value in values}
    expected = [named[str(label)] for label in classifier.predictor_.predict(TEXTS).predictions]
    assert classifier.predict(TEXTS).tolist() == expected
    assert classifier.predict(TEXTS).dtype == classifier.classes_.dtype == np.array(values).dtype


def test_texts_arrays_and_data_frames_give_the_same() -> None:
    classifier = fitted_on()
    expected = classifier.predict_proba(TEXTS)
    for data in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object)[:, None], pd.Series(TEXTS)):
        assert np.array_equal(classifier.predict_proba(data), expected)
    frame = pd.DataFrame({"id": np.arange(len(TEXTS)), "text": TEXTS})
    of_frame = build(("negative", "positive"), ("text",)).as_sklearn().fit(frame, LABELS)
    assert np.array_equal(of_frame.predict_proba(frame), expected)
    assert of_frame.feature_names_in_.tolist() == ["id", "text"]


def test_a_column_of_the_predictor_must_exist() -> None:
    classifier = build(("negative", "positive"), ("title", "text")).as_sklearn()
    frame = pd.DataFrame({"title": TEXTS, "other": TEXTS})
    with pytest.raises(ValueError, match="missing: text"):
        classifier.fit(frame, LABELS)


def test_missing_values_are_empty_texts() -> None:
    frame = pd.DataFrame({"x0": ["fine", None, np.nan], "x1": ["a", "b", "c"]}, dtype=object)
    classifier = build(("negative", "positive"), ("x0", "x1")).as_sklearn()
    expected = classifier.predict_proba(pd.DataFrame({"x0": ["fine", "", ""], "x1": ["a", "b", "c"]}))
    assert np.array_equal(classifier.predict_proba(frame), expected)


def test_a_predictor_that_needs_no_rows_predicts_without_fit() -> None:
    predictor = build(("b", "a"), ("text",))
    classifier = predictor.as_sklearn()
    assert classifier.classes_.tolist() == ["a", "b"]
    assert classifier.predict(TEXTS).tolist() == [*predictor.predict(TEXTS).predictions]
    with pytest.raises(NotFittedError):
        build(("b", "a"), ("text",), demos=pk.demos.Balanced(k=1)).as_sklearn().predict(TEXTS)


def test_labels_that_the_predictor_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="maybe"):
        build(("no", "yes"), ("text",)).as_sklearn().fit(TEXTS, ["yes", "maybe"] * 30)


def test_free_answers_are_refused() -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("arithmetic/direct"), pk.extract.FinalNumber())
    with refused(Unsupported, "no-probabilities"):
        predictor.as_sklearn()


def test_it_works_in_pipelines_cross_validation_and_searches() -> None:
    classifier = build(("negative", "positive"), ("text",), pk.calibrate.Temperature()).as_sklearn()
    pipeline = make_pipeline(FunctionTransformer(lambda texts: [text.upper() for text in texts]), classifier)
    assert cross_val_score(pipeline, TEXTS, LABELS, cv=3).shape == (3,)
    others = [build(("negative", "positive"), ("text",), demos=pk.demos.Balanced(k=k)) for k in (1, 2)]
    search = GridSearchCV(classifier, {"predictor": others}, cv=3).fit(TEXTS, LABELS)
    assert search.best_params_["predictor"] in others
    assert clone(classifier).predictor is classifier.predictor


def test_a_copy_shares_the_model_and_a_pickled_one_predicts_the_same() -> None:
    classifier = fitted_on(demos=pk.demos.Balanced(k=1))
    assert deepcopy(classifier).predictor_ is classifier.predictor_
    expected = classifier.predict_proba(TEXTS)
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(TEXTS), expected)
