"""The answers of a prompt, and the predictions of alignments that are fitted on the other folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS, Chain, make_chain, reader_for
from promptkit.align.logprobs import normalize_logprobs
from promptkit.align.probes.linear import fit_probe
from promptkit.core.registry import build
from promptkit.models.registry import load
from promptkit.tasks.sampling import by_hash
from promptkit.tuning.answers import PromptAnswers
from promptkit.tuning.folds import TuningRows, stratified

TASK = pk.task("sentiment")
READER = reader_for(TASK)
ROWS = stratified(TASK, by_hash(TASK.rows("test"), 40))
ALIGNMENTS = (
    "",
    "contextual",
    "batch-fitted",
    "vector",
    "affine",
    "linear:on=words",
    "linear:layer=-1",
    "prototypical:layer=-1",
)
PROMPTS = {
    "0 shots": pk.Prompt(TASK.spec.template),
    "balanced": pk.Prompt(TASK.spec.template, demos=pk.demos.Balanced(k=4)),
    "bm25": pk.Prompt(TASK.spec.template, demos=pk.demos.BM25(k=4)),
}


def chain_of(name: str) -> Chain:
    return make_chain([READER, build("calibration", CALIBRATIONS, name)] if name else READER)


def answered(prompt: str, name: str, rows: TuningRows = ROWS, blocks: tuple[int, ...] = (40,)) -> PromptAnswers:
    chain = chain_of(name)
    answers = PromptAnswers(pk.Predictor(load("fake"), PROMPTS[prompt], READER), [chain], rows, None)
    for count in blocks:
        answers.answer(count)
    return answers


def with_changed_labels(rows: TuningRows, fold: int) -> TuningRows:
    other = {"positive": "negative", "negative": "positive"}
    pairs = zip(rows.rows, rows.folds, strict=True)
    return replace(rows, rows=tuple(replace(row, label=other[row.label]) if each == fold else row for row, each in pairs))


@pytest.mark.parametrize(("prompt", "name"), [*((each, "") for each in PROMPTS), *(("0 shots", each) for each in ALIGNMENTS)])
def test_the_labels_of_a_fold_do_not_change_its_predictions(prompt: str, name: str) -> None:
    """Neither demonstrations nor the rows that an alignment is fitted on come from the fold of a row."""
    before = answered(prompt, name).predictions(chain_of(name))
    after = answered(prompt, name, with_changed_labels(ROWS, 2)).predictions(chain_of(name))
    assert before is not None
    assert after is not None
    in_fold = np.array(ROWS.folds) == 2
    assert np.array_equal(before.logprobs[in_fold], after.logprobs[in_fold])
    uses_labels = prompt != "0 shots" or name not in ("", "contextual")
    assert np.array_equal(before.logprobs, after.logprobs) != uses_labels


@pytest.mark.parametrize("name", ["vector", "linear:on=words:per_class=8"])
def test_random_labels_are_predicted_by_chance(name: str) -> None:
    """The rows that an alignment is fitted on show rows of the predicted fold, which must not help to predict their labels."""
    accuracies = []
    for seed in range(12):
        random = np.random.default_rng(seed).permutation([row.label for row in ROWS.rows])
        rows = replace(ROWS, rows=tuple(replace(row, label=str(label)) for row, label in zip(ROWS.rows, random, strict=True)))
        found = answered("balanced", name, rows).predictions(chain_of(name))
        assert found is not None
        accuracies.append(found.correct.mean())
    assert np.mean(accuracies) < 0.5 + 3 * np.std(accuracies) / len(accuracies) ** 0.5


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_blocks_give_the_predictions_of_all_rows_at_once(name: str) -> None:
    at_once = answered("balanced", name).predictions(chain_of(name))
    in_blocks = answered("balanced", name, blocks=(16, 32, 40)).predictions(chain_of(name))
    assert at_once is not None
    assert in_blocks is not None
    np.testing.assert_allclose(at_once.logprobs, in_blocks.logprobs, atol=1e-9)


def test_without_demonstrations_the_scores_are_those_of_an_evaluation(tmp_path: object) -> None:
    predictor = pk.Predictor(load("fake"), PROMPTS["0 shots"], READER)
    run = pk.evaluate(predictor, TASK, split="test", out=str(tmp_path), baselines=False, cache=False, progress=False)
    by_id = dict(zip(run.ids, run.results[0].metric_input.logprobs, strict=True))
    found = answered("0 shots", "").predictions(chain_of(""))
    assert found is not None
    np.testing.assert_allclose(found.logprobs, [by_id[row.id] for row in ROWS.rows], atol=1e-6)


def test_an_alignment_is_fitted_on_the_scores_of_the_other_folds() -> None:
    name = "linear:on=words:per_class=100"
    plain, found = answered("0 shots", "").predictions(chain_of("")), answered("0 shots", name).predictions(chain_of(name))
    assert plain is not None
    assert found is not None
    for fold in sorted({*ROWS.folds}):
        train = np.array(ROWS.folds) != fold
        expected = fit_probe(plain.logprobs[train], plain.gold[train], 2)(plain.logprobs[~train])
        np.testing.assert_allclose(normalize_logprobs(found.logprobs[~train]), normalize_logprobs(expected), atol=1e-4)


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_fitted_predictor_predicts_new_rows_after_saving(prompt: str, name: str, tmp_path: object) -> None:
    if prompt == "bm25" and name == "contextual":
        pytest.skip("it would send requests for every context")
    predictor = answered(prompt, name).fitted(chain_of(name))
    assert {str(row.content) for row in ROWS.rows} >= {*map(str, predictor.fitted_on)}
    new = [{"text": row.texts["text"]} for row in TASK.rows("test")[:5]]
    folder = predictor.save(f"{tmp_path}/saved")
    assert np.array_equal(predictor.predict_proba(new), pk.Predictor.load(folder).predict_proba(new))


def test_too_few_rows_give_no_predictions() -> None:
    chain = chain_of("linear:on=words")
    answers = answered("0 shots", "linear:on=words", blocks=(3,))
    few = answers.predictions(chain)
    assert few is None or len(few) == 3
