"""Baselines without a language model, compared with independent computations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import promptkit as pk
from promptkit.classical.baseline import predicted
from promptkit.classical.majority import majority
from promptkit.core.errors import InputError, PromptkitError, RunError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.metrics import METRICS
from promptkit.metrics.intervals import wilson
from promptkit.metrics.requested import chosen
from promptkit.metrics.table import estimate
from promptkit.models.registry import load
from promptkit.studies.baselines import DIFFERENCE, Baseline, Baselines
from promptkit.studies.demonstration_baselines import regressions, vote
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.image_files import squares

LIMIT = 40
TASK = pk.task("sentiment")
POOL = TASK.pool()
ITEMS = by_hash(TASK.rows("test"), LIMIT)


def evaluated(*selectors: Any, **options: Any) -> dict[str, Baseline]:
    return {entry.name: entry for entry in pk.baselines(TASK, *selectors, limit=LIMIT, **options).baselines}


def rows(*labels: str) -> list[LabeledExample]:
    return [LabeledExample(id=f"{i}", inputs={"text": f"words {i} {label}"}, label=label) for i, label in enumerate(labels)]


def overlap(one: Any, other: Any) -> int:
    return len(set(one.inputs["text"].lower().split()) & set(other.inputs["text"].lower().split()))


@dataclass(frozen=True)
class WordOverlap(pk.demos.Selector):
    """A third-party selector: the k rows that share most words, ties by id."""

    k: int = 3
    name: ClassVar[str] = "overlapping"

    def bind(self, context: Any) -> Any:
        pool = sorted(context.pool, key=lambda row: row.id)
        return lambda items: [tuple(sorted(pool, key=lambda row: -overlap(row, item))[: self.k]) for item in items]


@dataclass(frozen=True)
class ModelQuerying(pk.demos.Selector):
    """A selector that queries the model before it chooses."""

    k: int = 2
    name: ClassVar[str] = "asking"

    def bind(self, context: Any) -> Any:
        def choose(items: Any) -> Any:
            context.scores([(item, ()) for item in items], "This")
            return [tuple(context.pool[: self.k]) for _ in items]

        return choose


def test_majority_predicts_the_most_frequent_label_of_the_pool() -> None:
    most = Counter(row.label for row in POOL).most_common(1)[0][0]
    baseline = evaluated()["majority of the pool"]
    assert baseline.predictions == (most,) * LIMIT
    assert baseline.estimate == wilson(sum(row.label == most for row in ITEMS), LIMIT)
    assert majority(rows("b", "a", "b", "a"), ("a", "b")) == "a"


def test_vote_predicts_the_most_frequent_label_with_ties_to_the_first() -> None:
    assert [predicted(vote(rows(*labels))) for labels in ("ab", "ba", "abb", "cabab")] == ["a", "b", "b", "a"]
    assert {label: exp(score) for label, score in vote(rows(*"abb")).items()} == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    baseline = evaluated(WordOverlap(k=3))["vote of overlapping"]
    for item, prediction in zip(ITEMS, baseline.predictions, strict=True):
        nearest = sorted(sorted(POOL, key=lambda row: row.id), key=lambda row: -overlap(row, item))[:3]
        assert prediction == max(("negative", "positive"), key=[row.label for row in nearest].count)
    assert baseline.correct.tolist() == [float(a == b.label) for a, b in zip(baseline.predictions, ITEMS, strict=True)]


def test_vote_of_shared_demonstrations_is_their_majority() -> None:
    baselines = evaluated(pk.demos.Random(k=3, seed=2))
    (prediction,) = set(baselines["vote of random:seed=2"].predictions)
    predictor = pk.Predictor(
        load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.Random(k=3, seed=2)), TASK.spec.labels or {}
    )
    ids = predictor.bind(TASK).encode(ITEMS[:1])[0].demos
    assert prediction == Counter(row.label for row in POOL if row.id in ids).most_common(1)[0][0]


def test_regression_equals_scikit_learn() -> None:
    counts = CountVectorizer(token_pattern=r"\w+")
    weights = TfidfTransformer()
    train = sorted(POOL, key=lambda row: row.id)
    features = weights.fit_transform(counts.fit_transform([row.inputs["text"] for row in train]))
    model = LogisticRegression(max_iter=1000).fit(features, [row.label for row in train])
    expected = model.predict(weights.transform(counts.transform([row.inputs["text"] for row in ITEMS])))
    assert evaluated()["regression on the pool"].predictions == tuple(expected)


def test_regressions_use_only_the_rows_of_each_item() -> None:
    items, (a, b, c, d) = rows("a", "b", "c"), rows("a", "b", "a", "b")
    assert [*map(predicted, regressions([[a, b], [b, a], [a, c]], items))] == ["a", "b", "a"]  # rows of one class: one answer
    assert [*map(predicted, regressions([[b, d]] * 3, items))] == ["b"] * 3


def test_baselines_do_not_depend_on_the_order_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pk.baselines(TASK, pk.demos.Balanced(k=4), pk.demos.RandomEach(k=3), limit=LIMIT)
    part = pk.Task.part
    monkeypatch.setattr(pk.Task, "part", lambda task, name: part(task, name)[::-1])
    after = pk.baselines(TASK, pk.demos.Balanced(k=4), pk.demos.RandomEach(k=3), limit=LIMIT)
    assert [entry.predictions for entry in after.baselines] == [entry.predictions for entry in before.baselines]


def test_a_selector_that_queries_a_model_needs_one() -> None:
    with refused(InputError, "missing-model", selector="asking"):
        evaluated(ModelQuerying())
    assert evaluated(ModelQuerying(), model=load("fake"))["vote of asking"].k == 2


@pytest.mark.parametrize(
    ("task", "selector", "error", "code", "fields"),
    [
        ("capitals", pk.demos.Random(k=2), TaskError, "no-fixed-labels", {"task": "capitals"}),
        ("sentiment", pk.demos.Zero(), InputError, "no-demonstrations", {"selector": "zero"}),
    ],
)
def test_tasks_without_labels_and_empty_selections_are_refused(
    task: str, selector: Any, error: type[PromptkitError], code: str, fields: dict[str, Any]
) -> None:
    with refused(error, code, **fields):
        pk.baselines(pk.task(task), selector, limit=2)


# ---- compared with a study -----------------------------------------------------------------------------


def build(k: int, seed: int) -> pk.Predictor:
    return pk.Predictor(
        load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.Random(k=k, seed=seed)), TASK.spec.labels or {}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    return pk.study(build, TASK, limit=LIMIT, out=tmp_path_factory.mktemp("runs"), cache=False, k=[0, 2, 4], seed=range(3))


def test_differences_to_a_study_are_paired_by_item(study: pk.Study) -> None:
    part = study.where(k=4)
    baselines = part.baselines(pk.demos.Random(k=4))
    assert baselines.reference == "k=4; mean over seed (3)"
    correct = np.mean([cell.result.correct for cell in part.cells], axis=0)
    for entry in baselines.baselines:
        assert entry.difference is not None
        assert entry.difference.value == pytest.approx((correct - entry.correct).mean())
        assert entry.difference.low < entry.difference.value < entry.difference.high
    text = str(baselines)
    assert DIFFERENCE in text
    assert "vote of random" in text


def test_baselines_appear_in_columns_with_their_number_of_demonstrations(study: pk.Study) -> None:
    baselines = study.baselines(pk.demos.Random(k=2), pk.demos.Random(k=4), pk.demos.Balanced(k=4))
    lines = {line[0]: line[1:] for line in study.table(rows=[], columns="k", baselines=baselines).rows}
    accuracy = {(baseline.name, baseline.k): baseline.estimate for baseline in baselines.baselines}
    assert lines["majority of the pool"] == (accuracy["majority of the pool", None],) * 3
    assert lines["vote of random"] == (None, accuracy["vote of random", 2], accuracy["vote of random", 4])
    assert lines["vote of balanced"] == (None, None, accuracy["vote of balanced", 4])
    single = study.table(rows="seed", baselines=baselines).rows
    assert ("vote of random, k=4", accuracy["vote of random", 4]) in single
    ece = study.table(rows=[], columns="k", metric="ece", baselines=baselines)
    expected = estimate(METRICS["ece"], baselines.baselines[0].metric_input)
    assert {line[0]: line[1:] for line in ece.rows}["majority of the pool"] == (expected,) * 3


def test_changed_data_are_refused(study: pk.Study) -> None:
    with refused(RunError, "data-changed", task="sentiment", rows=LIMIT - 1, expected=LIMIT):
        replace(study, limit=LIMIT - 1).baselines()


def test_baselines_without_a_study_have_no_difference(tmp_path: Path) -> None:
    baselines = pk.baselines(TASK, limit=5)
    assert isinstance(baselines, Baselines)
    assert baselines.table().columns == ("baseline", "k", "accuracy")
    assert [(entry["metric"], entry["difference"]) for entry in baselines.to_json()] == [("accuracy", None)] * 2


# ---- other metrics -------------------------------------------------------------------------------------


def test_the_scores_of_a_regression_are_its_log_probabilities() -> None:
    baseline = evaluated(metrics="log_loss")["regression on the pool"]
    features = TfidfVectorizer(token_pattern=r"\w+")
    train = sorted(POOL, key=lambda row: row.id)
    model = LogisticRegression(max_iter=1000)
    model.fit(features.fit_transform([row.inputs["text"] for row in train]), [row.label for row in train])
    probabilities = model.predict_proba(features.transform([row.inputs["text"] for row in ITEMS]))
    expected = log_loss([row.label for row in ITEMS], probabilities, labels=model.classes_)
    assert baseline.metric.name == "log_loss"
    assert baseline.estimate.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "title"), [("macro_f1", "macro-F1"), ("log_loss", "log-loss"), ("recall@positive", "recall")]
)
def test_the_main_metric_of_a_study_is_compared(tmp_path: Path, metric: str, title: str) -> None:
    study = pk.study(build, TASK, limit=LIMIT, out=tmp_path, cache=False, metrics=metric, progress=False, k=[2], seed=range(2))
    baselines = study.baselines(pk.demos.Random(k=4))
    assert title in str(baselines)
    assert "accuracy" not in str(baselines)
    of_study = np.mean([cell.result.metrics[metric]["value"] for cell in study.cells])
    for entry in baselines.baselines:
        kind = chosen([metric], entry.metric_input)[metric]
        assert entry.estimate == estimate(kind, entry.metric_input)
        assert entry.difference is not None
        assert entry.difference.value == pytest.approx(of_study - entry.estimate.value, abs=1e-5)
    table = study.table(baselines=baselines)
    tables = (str(table), str(baselines), str(study.compare(on="seed", to=0)))
    assert {"lower is better (log-loss)" in " ".join(each.split()) for each in tables} == {metric == "log_loss"}
    assert ("majority of the pool", baselines.baselines[0].estimate) in [(line[0], line[-1]) for line in table.rows]


def test_values_on_a_scale_are_expected_values() -> None:
    pairs = [(word, label) for word, label in zip("abc", (1, 2, 5), strict=True)]
    rows = [{"text": f"{word} {number}", "label": label} for number in range(20) for word, label in pairs]
    task = pk.task(rows, ordinal=True, label="label", labels=["1", "2", "5"], name="rated")
    found = {entry.name: entry for entry in pk.baselines(task, limit=30, metrics=["mae", "accuracy"]).baselines}
    inputs = found["regression on the pool"].metric_input
    assert inputs.gold_values is not None
    assert inputs.predicted_values is not None
    assert set(inputs.gold_values) == {1.0, 2.0, 5.0}
    assert inputs.predicted_values == pytest.approx(inputs.probabilities @ [1.0, 2.0, 5.0])
    assert {entry.metric.name for entry in found.values()} == {"mae"}
    assert found["regression on the pool"].estimate.value < found["majority of the pool"].estimate.value


def test_a_metric_of_texts_is_refused() -> None:
    with refused(InputError, "metric-not-applicable", metric="bleu"):
        pk.baselines(TASK, limit=5, metrics="bleu")


def test_images_are_compared_by_the_main_metric() -> None:
    images, labels = squares(80)
    task = pk.image_task(images, labels, label_names=["left", "right"], name="squares")
    found = {entry.name: entry for entry in pk.baselines(task, limit=20, metrics="log_loss").baselines}
    assert found["regression on pixels"].estimate.value < found["majority of the pool"].estimate.value
