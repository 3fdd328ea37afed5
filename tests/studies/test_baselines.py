"""What no language model would get, against computations of the tests' own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError, RunError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.metrics.intervals import wilson
from promptkit.models.registry import load
from promptkit.studies.baselines import Baselines, Control, majority, regressions, vote
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused

LIMIT = 40
TASK = pk.task("sentiment")
POOL = TASK.pool()
ITEMS = by_hash(TASK.rows("test"), LIMIT)


def found(*selectors: Any, **options: Any) -> dict[str, Control]:
    return {each.name: each for each in pk.baselines(TASK, *selectors, limit=LIMIT, **options).baselines}


def rows(*labels: str) -> list[LabeledExample]:
    return [LabeledExample(id=f"{i}", inputs={"text": f"words {i} {label}"}, label=label) for i, label in enumerate(labels)]


def overlap(one: Any, other: Any) -> int:
    return len(set(one.inputs["text"].lower().split()) & set(other.inputs["text"].lower().split()))


@dataclass(frozen=True)
class Overlapping(pk.demos.Selector):
    """A selector of somebody's own: the k rows that share most words, ties by id."""

    k: int = 3
    name: ClassVar[str] = "overlapping"

    def bind(self, context: Any) -> Any:
        pool = sorted(context.pool, key=lambda row: row.id)
        return lambda items: [tuple(sorted(pool, key=lambda row: -overlap(row, item))[: self.k]) for item in items]


@dataclass(frozen=True)
class Asking(pk.demos.Selector):
    """A selector that asks the model before it chooses."""

    k: int = 2
    name: ClassVar[str] = "asking"

    def bind(self, context: Any) -> Any:
        def choose(items: Any) -> Any:
            context.scores([(item, ()) for item in items], "This")
            return [tuple(context.pool[: self.k]) for _ in items]

        return choose


def test_the_majority_is_the_commonest_label_of_the_pool() -> None:
    most = Counter(row.label for row in POOL).most_common(1)[0][0]
    control = found()["majority of the pool"]
    assert control.predictions == (most,) * LIMIT
    assert control.accuracy == wilson(sum(row.label == most for row in ITEMS), LIMIT)
    assert majority(rows("b", "a", "b", "a"), ("a", "b")) == "a"


def test_a_vote_is_of_the_rows_chosen_and_the_nearest_breaks_ties() -> None:
    assert [vote(rows(*labels)) for labels in ("ab", "ba", "abb", "cabab")] == ["a", "b", "b", "a"]
    control = found(Overlapping(k=3))["vote of overlapping"]
    for item, said in zip(ITEMS, control.predictions, strict=True):
        nearest = sorted(sorted(POOL, key=lambda row: row.id), key=lambda row: -overlap(row, item))[:3]
        assert said == max(("negative", "positive"), key=[row.label for row in nearest].count)
    assert control.correct.tolist() == [float(a == b.label) for a, b in zip(control.predictions, ITEMS, strict=True)]


def test_the_vote_of_a_shared_set_is_its_majority() -> None:
    baselines = found(pk.demos.random(k=3, seed=2))
    (said,) = set(baselines["vote of random:seed=2"].predictions)
    shown = pk.Predictor(
        load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.random(k=3, seed=2)), TASK.spec.labels or {}
    )
    ids = shown.bind(TASK).apply(ITEMS[:1])[0].demos
    assert said == Counter(row.label for row in POOL if row.id in ids).most_common(1)[0][0]


def test_the_regression_is_scikit_learn_s() -> None:
    counts = CountVectorizer(token_pattern=r"\w+")
    weights = TfidfTransformer()
    train = sorted(POOL, key=lambda row: row.id)
    features = weights.fit_transform(counts.fit_transform([row.inputs["text"] for row in train]))
    model = LogisticRegression(max_iter=1000).fit(features, [row.label for row in train])
    expected = model.predict(weights.transform(counts.transform([row.inputs["text"] for row in ITEMS])))
    assert found()["regression on the pool"].predictions == tuple(expected)


def test_a_regression_on_few_rows_sees_no_others() -> None:
    items, (a, b, c, d) = rows("a", "b", "c"), rows("a", "b", "a", "b")
    assert regressions([[a, b], [b, a], [a, c]], items) == ["a", "b", "a"]  # of one class alone there is no choice
    assert regressions([[b, d]] * 3, items) == ["b"] * 3


def test_the_order_of_the_pool_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pk.baselines(TASK, pk.demos.balanced(k=4), pk.demos.random_each(k=3), limit=LIMIT)
    part = pk.Task.part
    monkeypatch.setattr(pk.Task, "part", lambda task, name: part(task, name)[::-1])
    after = pk.baselines(TASK, pk.demos.balanced(k=4), pk.demos.random_each(k=3), limit=LIMIT)
    assert [each.predictions for each in after.baselines] == [each.predictions for each in before.baselines]


def test_one_that_asks_the_model_needs_it() -> None:
    with refused(InputError, "missing-model", selector="asking"):
        found(Asking())
    assert found(Asking(), model=load("fake"))["vote of asking"].k == 2


@pytest.mark.parametrize(
    ("task", "selector", "error", "code", "told"),
    [
        ("capitals", pk.demos.random(k=2), TaskError, "no-fixed-labels", {"task": "capitals"}),
        ("sentiment", pk.demos.zero(), InputError, "no-demonstrations", {"selector": "zero"}),
    ],
)
def test_what_has_no_label_to_give_is_refused(
    task: str, selector: Any, error: type[PromptkitError], code: str, told: dict[str, Any]
) -> None:
    with refused(error, code, **told):
        pk.baselines(pk.task(task), selector, limit=2)


# ---- beside a study ---------------------------------------------------------------------------------


def build(k: int, seed: int) -> pk.Predictor:
    return pk.Predictor(
        load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.random(k=k, seed=seed)), TASK.spec.labels or {}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    return pk.study(build, TASK, limit=LIMIT, out=tmp_path_factory.mktemp("runs"), cache=False, k=[0, 2, 4], seed=range(3))


def test_a_study_is_paired_with_its_controls_by_item(study: pk.Study) -> None:
    part = study.where(k=4)
    baselines = part.baselines(pk.demos.random(k=4))
    assert baselines.against == "k=4; mean over seed (3)"
    correct = np.mean([cell.result.correct for cell in part.cells], axis=0)
    for each in baselines.baselines:
        assert each.difference is not None
        assert each.difference.value == pytest.approx((correct - each.correct).mean())
        assert each.difference.low < each.difference.value < each.difference.high
    shown = str(baselines)
    assert "model less it" in shown
    assert "vote of random" in shown


def test_controls_stand_in_the_table_where_they_see_as_many_rows(study: pk.Study) -> None:
    baselines = study.baselines(pk.demos.random(k=2), pk.demos.random(k=4), pk.demos.balanced(k=4))
    lines = {line[0]: line[1:] for line in study.table(rows=[], columns="k", baselines=baselines).rows}
    of = {(each.name, each.k): each.accuracy for each in baselines.baselines}
    assert lines["majority of the pool"] == (of["majority of the pool", None],) * 3
    assert lines["vote of random"] == (None, of["vote of random", 2], of["vote of random", 4])
    assert lines["vote of balanced"] == (None, None, of["vote of balanced", 4])
    alone = study.table(rows="seed", baselines=baselines).rows
    assert ("vote of random, k=4", of["vote of random", 4]) in alone
    with refused(InputError, "controls-without-metric", metric="ece"):
        study.table(metric="ece", baselines=baselines)


def test_data_that_changed_since_are_told(study: pk.Study) -> None:
    with refused(RunError, "data-changed", task="sentiment", rows=LIMIT - 1, expected=LIMIT):
        replace(study, limit=LIMIT - 1).baselines()


def test_controls_alone_have_no_difference(tmp_path: Path) -> None:
    baselines = pk.baselines(TASK, limit=5)
    assert isinstance(baselines, Baselines)
    assert baselines.table().columns == ("without a model", "k", "accuracy")
    assert [each["difference"] for each in baselines.to_json()] == [None, None]
