"""Token log-probabilities and hidden states of runs: correct values for each row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.collect.fit_data import StoredAnswers
from promptkit.core.errors import Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.needs import FitData
from promptkit.core.registry import build
from promptkit.core.requests import Read, Request
from promptkit.evaluation.evaluate import evaluate
from promptkit.needs.hidden_states import HiddenState
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.needs.name_vectors import NameVectors
from promptkit.needs.source_logprobs import SourceLogprobs
from tests.support.errors import refused
from tests.support.probe_runs import FEW, WORDS, predictors, run, stored, write_task
from tests.support.tiny import save


def prompts_of(spellings: list[str], task: pk.Task, rows: Any) -> dict[str, Any]:
    """The prompt of each row by its id."""
    bound = predictors(pk.load("fake"), spellings)[0].bind(task)
    return {row.id: rendered.input for row, rendered in zip(rows, bound.encode(rows), strict=True)}


def tokens_of(answers: StoredAnswers, sources: SourceLogprobs) -> list[int]:
    """The ids of the tokens that a need has found."""
    metadata: Any = answers.metadata
    key = [sources.size, sources.rows.per_class, sources.rows.seed]
    (positions,) = [positions for *settings, positions in metadata["sets"] if settings == key]
    return [metadata["token_ids"][place] for place in positions]


def test_tokens_are_the_likeliest_over_the_labeled_rows_and_numbers_equal_the_model(tmp_path):
    task = write_task(tmp_path / "task")
    learned = ["blm:per_class=4:tokens=7", "knn:per_class=2:seed=1:tokens=3", "hidden:layer=0", "linear", "linear:layer=-1"]
    finished = run(task, tmp_path, learned)
    answers, model = stored(finished, learned), pk.load("fake")
    sets = [need for need in answers.needs if isinstance(need, SourceLogprobs)]
    tested = {row.id for row in task.rows("test")}
    fit: list[LabeledExample] = [row for row in task.part("fit") if row.id not in tested]
    every = tuple(range(259))
    prompts = prompts_of(["hidden"], task, [*task.part("fit"), *task.rows("test")])

    def ask(row: str, verb: Read) -> Any:
        ((_, (output,)),) = model.answer([Request(input=prompts[row.removeprefix("fit ")], verb=verb)])
        return output

    assert {top.size for top in sets} == {7, 3}
    for top in sets:
        names = top.load(answers)
        rows = [fit[place] for place in top.rows.draw([(row.id, row.label) for row in fit])]
        assert Counter(row.label for row in rows) == {"no": top.rows.per_class, "yes": top.rows.per_class}
        shares = np.exp([ask(row.id, Read(token_ids=every)).logprobs for row in rows])
        kept = np.where(shares >= np.sort(shares)[:, [-top.size]], shares, 0)
        best = np.argsort(-kept.sum(0), kind="stable")[: top.size]
        tokens = tokens_of(answers, top)
        assert tokens == best.tolist()
        assert len(names) == top.size
        assert [*names] == [answers.metadata["names"][answers.metadata["token_ids"].index(token)] for token in tokens]
    ids = answers.metadata["rows"]
    assert [row for row in ids if not row.startswith("fit ")] == [*finished.ids]
    outputs = answers.outputs(ids)
    for number, row in enumerate(ids):
        for layer, counted in {0: 0, 0.6: 1, -1: -1}.items():
            hidden = ask(row, Read(hidden_layer=counted)).hidden.numpy()
            np.testing.assert_allclose(outputs[HiddenState(layer)][number], hidden, rtol=1e-6)
        for top in sets:
            logprobs = ask(row, Read(token_ids=tuple(tokens_of(answers, top)))).logprobs
            np.testing.assert_allclose(outputs[top][number], logprobs, rtol=1e-6)


def test_vectors_of_texts_are_mean_hidden_states_of_the_texts(tmp_path):
    spellings = [f"semantic:{FEW}:tokens=5"]
    answers = stored(run(write_task(tmp_path / "task"), tmp_path, spellings), spellings)
    sources = SourceLogprobs(5, LabeledRows(4, 0))
    assert sources in answers.needs
    assert answers.metadata["texts"] == [*sources.load(answers), "bad", "good"]
    vectors = NameVectors(sources).load(answers)
    assert len(vectors.sources) == 5
    model = pk.load("fake")
    encoded = [256, *b"good"]
    ((_, (output,)),) = model.answer([Request(input=TextInput(ids=tuple(encoded)), verb=Read(hidden_layer=-1, mean_from=1))])
    np.testing.assert_allclose(vectors.labels[1], output.hidden.numpy(), rtol=1e-6)


def test_numbers_read_in_a_batch_with_a_shared_prefix_equal_numbers_of_single_rows(tmp_path):
    task, model = write_task(tmp_path / "task"), pk.load(str(save(tmp_path / "model", "llama")))
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=2))
    spellings = ["knn:per_class=2:tokens=9", "hidden:per_class=2:layer=-1"]
    calibrations = [build("calibration", CALIBRATIONS, spelling) for spelling in spellings]
    branches = [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), item]) for item in calibrations]
    answers = stored(evaluate(branches, task, limit=6, out=tmp_path, cache=False), spellings)
    rows = {row.id: row for row in (*task.rows("test"), *task.part("fit"))}
    bound = branches[0].bind(task)
    sources, ids = SourceLogprobs(9, LabeledRows(2, 0)), answers.metadata["rows"]
    tokens, outputs = tuple(tokens_of(answers, sources)), answers.outputs(ids)
    for row, logprobs, hidden in zip(ids, outputs[sources], outputs[HiddenState(-1)], strict=True):
        (rendered,) = bound.encode([rows[row.removeprefix("fit ")]])
        ((_, (single,)),) = model.answer([rendered.request(Read(token_ids=tokens, hidden_layer=-1))])
        np.testing.assert_allclose(logprobs, single.logprobs, atol=1e-4)
        np.testing.assert_allclose(hidden, single.hidden.numpy(), atol=1e-4)


def test_a_label_map_lists_its_tokens(tmp_path):
    from promptkit.align.labelmap import Bayesian

    spellings = [f"blm:{FEW}:tokens=20"]
    answers = stored(run(write_task(tmp_path / "task"), tmp_path, spellings), spellings)
    blm = Bayesian(per_class=4, tokens=20)
    values = {need: need.load(answers) for need in answers.needs}
    data = FitData(labels=answers.labels, items=answers.outputs(answers.evaluated), values=values)
    actual = blm.fit(data).label_map
    assert actual is not None
    assert actual.table(most=3).keys() == WORDS.keys()
    assert set(actual.table()["no"]) <= set(data[blm.source_logprobs])


@pytest.mark.parametrize("spelling", ["hidden", "prototypical", "soft-verbalizer", "linear", "semantic"])
def test_hidden_states_are_refused_for_an_engine_without_them(spelling):
    model: Any = pk.load("fake")
    model.capabilities = replace(model.capabilities, hidden_states=False)
    with refused(Unsupported, "no-hidden-states", model="fake", aligner=spelling):
        predictors(model, [spelling])
    assert predictors(model, ["knn", "blm", "linear:on=tokens"])
