"""A fitted predictor contains what it takes from the rows of a task, and predicts new rows as an evaluation does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from tests.support.errors import refused
from tests.support.tiny import save_reviews

WORDS = {"no": "bad", "yes": "good"}
SHARED = [
    pk.demos.Zero(),
    pk.demos.First(k=3),
    pk.demos.Random(k=3, seed=1),
    pk.demos.Balanced(k=4),
    pk.demos.VoteK(k=3),
    pk.demos.Diverse(k=3),
    pk.demos.Influence(k=2, candidates=4, contexts=4, rows=4),
]
PER_ROW = [
    pk.demos.RandomEach(k=3),
    pk.demos.BM25(k=3),
    pk.demos.Similar(k=3),
    pk.demos.MMR(k=3),
    pk.demos.DPP(k=3),
    pk.demos.MDL(k=2, candidates=4),
    pk.demos.Rerank(k=2, candidates=4, rows=2),
]
ORDERS = [None, pk.order.Shuffled(seed=2), pk.order.Interleaved(), pk.order.LeastEntropy(permutations=4)]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> pk.Task:
    folder = tmp_path_factory.mktemp("task")
    save_reviews(folder, 60, hold_out=0.5)
    return pk.task(folder / "task.yaml")


def predictor(demos: Any, order: Any = None) -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", demos=demos, order=order), pk.Verbalizer(WORDS))


def rows_of(task: pk.Task, run: pk.Run) -> list[dict[str, Any]]:
    rows = {row.id: dict(row.inputs) for row in task.rows("test")}
    return [rows[row_id] for row_id in run.ids]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name if order else "default")
@pytest.mark.parametrize("demos", [*SHARED, *PER_ROW], ids=lambda selector: selector.name)
def test_a_fitted_predictor_predicts_what_an_evaluation_predicts(task: pk.Task, tmp_path: Path, demos: Any, order: Any) -> None:
    unfitted = predictor(demos, order)
    run = pk.evaluate(unfitted, task, out=tmp_path, cache=False)
    fitted = unfitted.fit(task, cache=False)
    predictions = fitted.predict(rows_of(task, run))
    assert fitted.is_fitted
    assert predictions.predictions == run.results[0].predictions
    assert predictions.probabilities == pytest.approx(run.results[0].metric_input.probabilities, abs=1e-9)
    again = pk.evaluate(fitted, task, out=tmp_path, cache=False)
    assert again.results[0].predictions == run.results[0].predictions


@pytest.mark.parametrize("demos", SHARED, ids=lambda selector: selector.name)
def test_a_fitted_prompt_keeps_only_the_demonstrations_that_all_rows_share(task: pk.Task, demos: Any) -> None:
    prompt: Any = predictor(demos).fit(task, cache=False).manipulate
    assert sum(map(len, prompt.rows.values())) == demos.k
    assert prompt.parts == ()


@pytest.mark.parametrize("demos", PER_ROW, ids=lambda selector: selector.name)
def test_a_fitted_prompt_keeps_the_pool_that_demonstrations_are_retrieved_from(task: pk.Task, demos: Any) -> None:
    prompt: Any = predictor(demos).fit(task, cache=False).manipulate
    assert {part: [*rows] for part, rows in prompt.rows.items()} == {part: [*task.part(part)] for part in prompt.rows}
    assert len(prompt.rows["pool"]) > 3


def test_only_a_fitted_predictor_predicts(task: pk.Task) -> None:
    unfitted = predictor(pk.demos.Balanced(k=2))
    assert not unfitted.is_fitted
    with refused(InputError, "not-fitted", stages=("the demonstrations",)):
        unfitted.predict([{"text": "fine"}])


def test_a_transductive_calibration_is_not_fitted() -> None:
    chain = [pk.Verbalizer(WORDS), pk.calibrate.Batch(estimate_on="test")]
    unfitted = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), chain)
    with refused(InputError, "not-fitted", stages=("the calibration batch:estimate_on=test",)):
        unfitted.predict([{"text": "fine"}])


def test_fitting_the_same_predictor_twice_gives_the_same_settings(task: pk.Task) -> None:
    first, second = (predictor(pk.demos.Balanced(k=4)).fit(task, cache=False).manipulate.settings() for _ in range(2))
    other = predictor(pk.demos.Balanced(k=4, seed=1)).fit(task, cache=False).manipulate.settings()
    assert first == second
    assert first != other


CALIBRATIONS = [
    pk.calibrate.Batch(),
    pk.calibrate.Contextual(),
    pk.calibrate.Domain(bags=3),
    pk.calibrate.Prior(),
    pk.calibrate.Temperature(),
    pk.calibrate.Vector(),
    pk.probes.LinearProbe(per_class=2, layer=-1),
    pk.probes.HiddenCalibration(per_class=2),
    pk.labelmap.Frequency(per_class=2),
]


@pytest.mark.parametrize("demos", [pk.demos.Zero(), pk.demos.Balanced(k=2)], ids=lambda selector: selector.name)
@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=lambda calibration: calibration.name)
def test_a_fitted_calibration_predicts_what_an_evaluation_predicts(
    task: pk.Task, tmp_path: Path, calibration: Any, demos: Any
) -> None:
    chain = [pk.Verbalizer(WORDS), calibration]
    unfitted = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", demos=demos), chain)
    run = pk.evaluate(unfitted, task, out=tmp_path, cache=False)
    fitted = unfitted.fit(task, cache=False)
    predictions = fitted.predict(rows_of(task, run))
    assert fitted.is_fitted
    assert predictions.predictions == run.results[0].predictions
    assert predictions.probabilities == pytest.approx(run.results[0].metric_input.probabilities, abs=1e-9)


def test_a_transductive_calibration_is_fitted_on_the_fit_part(task: pk.Task, tmp_path: Path) -> None:
    def with_rows(estimate_on: Any) -> pk.Predictor:
        chain = [pk.Verbalizer(WORDS), pk.calibrate.Batch(estimate_on=estimate_on)]
        return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), chain).fit(task, cache=False)

    texts = ["fine", "awful", "a film"]
    expected = with_rows("fit").predict(texts)
    assert with_rows("test").predict(texts).probabilities == pytest.approx(expected.probabilities, abs=1e-9)


def test_all_rows_of_a_small_table_are_used() -> None:
    rows = [{"text": f"row {number}", "label": ["no", "yes"][number % 2]} for number in range(60)]
    table = pk.task(rows, label="label")
    affine = pk.Predictor(pk.load("fake"), pk.Prompt(table.spec.template), [pk.Verbalizer(WORDS), pk.calibrate.Affine()])
    assert len(affine.fit(table, cache=False).fitted_on) == 60
    assert len(affine.fit(table, folds=1, cache=False).fitted_on) < 20
