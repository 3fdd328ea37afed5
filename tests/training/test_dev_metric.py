"""The main metric of a task, or a requested one, selects the best step of training on the dev rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import f1_score, mean_absolute_error

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.metrics.requested import chosen
from promptkit.metrics.table import value_of
from promptkit.training.checkpoint import DevEvaluation
from tests.support.errors import refused

LABELS = ("1", "2", "3")
TEMPLATE = "{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
ROWS = [{"text": f"text {number}", "label": LABELS[number % 3]} for number in range(60)]
score_rows = st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=4, max_size=12)


def labeled(number: int) -> LabeledExample:
    label = LABELS[number % 3]
    return LabeledExample(id=str(number), inputs={"text": f"t{number}"}, label=label, value=float(label))


@given(score_rows)
def test_metrics_of_scored_rows_equal_scikit_learn(scores: list[list[float]]) -> None:
    reader = pk.Verbalizer({label: label for label in LABELS}, values={label: float(label) for label in LABELS})
    rows = [labeled(number) for number in range(len(scores))]
    inputs = reader.scored_input(rows, scores)
    gold, probabilities = [row.label for row in rows], softmax(np.array(scores), axis=1)
    predicted = [LABELS[np.argmax(row)] for row in scores]
    expected = {
        "macro_f1": f1_score(gold, predicted, average="macro", labels=sorted(set(gold)), zero_division=0.0),
        "accuracy": np.mean(np.array(gold) == predicted),
        "mae": mean_absolute_error([*map(float, gold)], probabilities @ [1.0, 2.0, 3.0]),
        "log_loss": np.mean([-np.log(max(probabilities[row, LABELS.index(label)], 1e-6)) for row, label in enumerate(gold)]),
    }
    found = {name: value_of(chosen([name], inputs)[name], inputs) for name in expected}
    assert found == pytest.approx(expected, abs=1e-5)


@given(score_rows)
def test_metrics_of_scored_sets_equal_scikit_learn(scores: list[list[float]]) -> None:
    reader = pk.MultiLabel(LABELS)
    sets = [LABELS[: number % 4] for number in range(len(scores))]
    rows = [
        LabeledExample(id=str(number), inputs={"text": "t"}, label=", ".join(each), labels=each)
        for number, each in enumerate(sets)
    ]
    inputs = reader.scored_input(rows, scores)
    gold = np.array([[label in each for label in LABELS] for each in sets])
    metric = next(iter(chosen((), inputs).values()))
    assert metric.name == "micro_f1"
    expected = f1_score(gold, np.array(scores) > 0, average="micro", zero_division=0.0)
    assert value_of(metric, inputs) == pytest.approx(expected)
    assert inputs.probabilities == pytest.approx(expit(np.array(scores)))


def test_choices_of_different_numbers_are_compared() -> None:
    rows = [
        LabeledExample(id=str(number), inputs={"text": "t"}, label="a", choices=choices)
        for number, choices in enumerate((("a", "b"), ("b", "a", "c")))
    ]
    inputs = pk.Choices().scored_input(rows, [(0.0, -1.0), (2.0, 1.0, 0.0)])
    assert inputs.correct.tolist() == [1.0, 0.0]


def trained(tmp_path: Path, **options: Any) -> pk.TrainingResult:
    settings: dict[str, Any] = {"steps": 4, "batch_size": 4, "eval_every": 1, "patience": None, "dev": 12, **options}
    task = pk.task(ROWS, template=TEMPLATE, name="rated", **({"ordinal": True} if options.pop("is_ordinal", False) else {}))
    settings.pop("is_ordinal", None)
    align = pk.Verbalizer({label: label for label in LABELS}, values=task.spec.scale)
    predictor = pk.Predictor(pk.load("fake"), [pk.Prompt(TEMPLATE), pk.SoftPrompt(2)], align)
    return pk.train(predictor, task, out=tmp_path, cache=False, progress=False, optimizer=pk.Spsa(), **settings)


@pytest.mark.parametrize(
    ("options", "metric", "best"),
    [
        ({}, "accuracy", max),
        ({"metrics": "log_loss"}, "log_loss", min),
        ({"metrics": ["macro_f1", "log_loss"]}, "macro_f1", max),
        ({"is_ordinal": True, "metrics": "mae"}, "mae", min),
    ],
)
def test_the_best_step_has_the_best_value(tmp_path: Path, options: dict[str, Any], metric: str, best: Any) -> None:
    result = trained(tmp_path, **options)
    values = [each.value for each in result.dev_evaluations]
    assert {each.metric for each in result.dev_evaluations} == {metric}
    assert len(set(values)) > 1
    assert result.best.value == best(values)
    assert f"dev {metric} on 8 rows: {values[0]:.3f}" in str(result)
    assert result.to_json()["best"] == {  # type: ignore[comparison-overlap]
        "step": result.best.step,
        "loss": result.best.loss,
        "metric": metric,
        "value": result.best.value,
        "higher_is_better": best is max,
    }


def test_metrics_have_their_own_folder_and_the_loss_decides_between_equal_values(tmp_path: Path) -> None:
    assert trained(tmp_path).path != trained(tmp_path, metrics="log_loss").path
    better, worse = (DevEvaluation(step=1, loss=loss, metric="mae", value=1.0, higher_is_better=False) for loss in (1.0, 2.0))
    assert better.sort_key > worse.sort_key
    assert DevEvaluation(step=1, loss=9.0, metric="mae", value=0.5, higher_is_better=False).sort_key > better.sort_key


def test_a_metric_of_other_predictions_is_refused(tmp_path: Path) -> None:
    with refused(InputError, "metric-not-applicable", metric="bleu"):
        trained(tmp_path, metrics="bleu")
    with refused(InputError, "unknown-name"):
        trained(tmp_path, metrics="acuracy")
    task = pk.task("capitals")
    predictor = pk.Predictor(pk.load("fake"), [pk.Prompt(task.spec.template), pk.SoftPrompt(2)], pk.extract.FirstLine())
    with refused(InputError, "metric-not-applicable", metric="exact_match"):
        pk.train(predictor, task, out=tmp_path, metrics="exact_match", optimizer=pk.Spsa(), steps=1)
