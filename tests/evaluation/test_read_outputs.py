"""Token log-probabilities and hidden states of runs: correct values for each row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.core.alignment import PerClass, TopTokens
from promptkit.core.errors import Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.registry import build
from promptkit.core.requests import Read, Request
from promptkit.evaluation.evaluate import evaluate
from promptkit.evaluation.fit_data import collect_fit_data
from promptkit.evaluation.fit_rows import draw_per_class
from tests.support.errors import refused
from tests.support.probe_runs import FEW, WORDS, predictors, read_outputs, run, write_task
from tests.support.tiny import save


def prompts_of(spellings: list[str], task: pk.Task, rows: Any) -> dict[str, Any]:
    """The prompt of each row by its id."""
    bound = predictors(pk.load("fake"), spellings)[0].bind(task)
    return {row.id: rendered.input for row, rendered in zip(rows, bound.apply(rows), strict=True)}


def test_tokens_are_the_likeliest_over_the_labeled_rows_and_numbers_equal_the_model(tmp_path):
    task = write_task(tmp_path / "task")
    learned = ["blm:per_class=4:tokens=7", "knn:per_class=2:seed=1:tokens=3", "hidden:layer=0", "linear", "linear:layer=-1"]
    finished = run(task, tmp_path, learned)
    outputs, model = read_outputs(finished), pk.load("fake")
    tested = {row.id for row in task.rows("test")}
    fit: list[LabeledExample] = [row for row in task.part("fit") if row.id not in tested]
    every = tuple(range(259))
    prompts = prompts_of(["hidden"], task, [*task.part("fit"), *task.rows("test")])

    def ask(row: str, verb: Read) -> Any:
        ((_, (output,)),) = model.answer([Request(input=prompts[row.removeprefix("fit ")], verb=verb)])
        return output

    for top, names in outputs.names().items():
        rows = [fit[place] for place in draw_per_class(top.rows, [(row.id, row.label) for row in fit])]
        assert Counter(row.label for row in rows) == {"no": top.rows.rows, "yes": top.rows.rows}
        shares = np.exp([ask(row.id, Read(token_ids=every)).logprobs for row in rows])
        kept = np.where(shares >= np.sort(shares)[:, [-top.size]], shares, 0)
        best = np.argsort(-kept.sum(0), kind="stable")[: top.size]
        tokens = [
            outputs.metadata["token_ids"][place]
            for _, positions in outputs.sets()
            if len(positions) == top.size
            for place in positions
        ]
        assert tokens == best.tolist()
        assert len(names) == top.size
        assert [*names] == [outputs.metadata["names"][outputs.metadata["token_ids"].index(token)] for token in tokens]
    ids = outputs.metadata["rows"]
    assert [row for row in ids if not row.startswith("fit ")] == [*finished.ids]
    states = outputs.hidden(ids)
    read = outputs.tokens(ids)
    for number, row in enumerate(ids):
        for layer, counted in {0: 0, 0.6: 1, -1: -1}.items():
            np.testing.assert_allclose(states[layer][number], ask(row, Read(hidden_layer=counted)).hidden.numpy(), rtol=1e-6)
        for top, positions in outputs.sets():
            tokens = tuple(outputs.metadata["token_ids"][place] for place in positions)
            np.testing.assert_allclose(read[top][number], ask(row, Read(token_ids=tokens)).logprobs, rtol=1e-6)


def test_vectors_of_texts_are_mean_hidden_states_of_the_texts(tmp_path):
    outputs = read_outputs(run(write_task(tmp_path / "task"), tmp_path, [f"semantic:{FEW}:tokens=5"]))
    (top,) = outputs.names()
    assert top == TopTokens(5, PerClass(4, 0))
    assert outputs.metadata["texts"] == [*outputs.names()[top], "bad", "good"]
    model = pk.load("fake")
    encoded = [256, *b"good"]
    ((_, (output,)),) = model.answer([Request(input=TextInput(ids=tuple(encoded)), verb=Read(hidden_layer=-1, mean_from=1))])
    np.testing.assert_allclose(outputs.vectors(["good"])[0], output.hidden.numpy(), rtol=1e-6)


def test_numbers_read_in_a_batch_with_a_shared_prefix_equal_numbers_of_single_rows(tmp_path):
    task, model = write_task(tmp_path / "task"), pk.load(str(save(tmp_path / "model", "llama")))
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.balanced(k=2))
    calibration = build("calibration", CALIBRATIONS, "knn:per_class=2:tokens=9")
    states = build("calibration", CALIBRATIONS, "hidden:per_class=2:layer=-1")
    branches = [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), item]) for item in (calibration, states)]
    run = evaluate(branches, task, limit=6, out=tmp_path, cache=False)
    outputs = read_outputs(run)
    rows = {row.id: row for row in (*task.rows("test"), *task.part("fit"))}
    bound = branches[0].bind(task)
    ((top, positions),) = outputs.sets()
    tokens = tuple(outputs.metadata["token_ids"][place] for place in positions)
    for row, logprobs, hidden in zip(
        outputs.metadata["rows"],
        outputs.tokens(outputs.metadata["rows"])[top],
        outputs.hidden(outputs.metadata["rows"])[-1],
        strict=True,
    ):
        (rendered,) = bound.apply([rows[row.removeprefix("fit ")]])
        ((_, (single,)),) = model.answer([rendered.request(Read(token_ids=tokens, hidden_layer=-1))])
        np.testing.assert_allclose(logprobs, single.logprobs, atol=1e-4)
        np.testing.assert_allclose(hidden, single.hidden.numpy(), atol=1e-4)


def test_a_label_map_lists_its_tokens(tmp_path):
    from promptkit.align.labelmap import Bayesian

    task = write_task(tmp_path / "task")
    finished = run(task, tmp_path, [f"blm:{FEW}:tokens=20"])
    samples, lines = (
        [json.loads(x) for x in (finished.path / f"{f}.jsonl").read_text().splitlines()] for f in ("samples", "support")
    )
    chain = predictors(pk.load("fake"), [f"blm:{FEW}:tokens=20"])[0].chain
    support, labels = collect_fit_data([chain], samples, lines, read_outputs(finished))
    actual = Bayesian(per_class=4, tokens=20).fit(support, labels).label_map
    assert actual is not None
    assert actual.table(most=3).keys() == WORDS.keys()
    assert set(actual.table()["no"]) <= set(support.names[TopTokens(20, PerClass(4, 0))])


@pytest.mark.parametrize("spelling", ["hidden", "prototypical", "soft-verbalizer", "linear", "semantic"])
def test_hidden_states_are_refused_for_an_engine_without_them(spelling):
    model: Any = pk.load("fake")
    model.capabilities = replace(model.capabilities, hidden_states=False)
    with refused(Unsupported, "no-hidden-states", model="fake", aligner=spelling):
        predictors(model, [spelling])
    assert predictors(model, ["knn", "blm", "linear:on=tokens"])
