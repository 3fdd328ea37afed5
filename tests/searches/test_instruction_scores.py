"""Scores of instructions equal those of runs, and are computed with few requests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.answer_record import DECIMALS
from promptkit.core.requests import Request
from promptkit.models.fake import FakeModel
from promptkit.searches import instructions as searching
from promptkit.searches.scorer import InstructionScorer
from tests.support.obedient import SKILL, Obedient, predictor, search

pytestmark = pytest.mark.usefixtures("search_folder")


@pytest.mark.parametrize("task", ["sentiment", "capitals", "arithmetic"])
@pytest.mark.parametrize("shots", [0, 2])
def test_scores_equal_a_run(task: str, shots: int, tmp_path: Path) -> None:
    from promptkit.align.chain import reader_for

    loaded, model = pk.task(task), pk.load("fake")
    prompt = pk.Prompt(loaded.spec.template, demos=pk.demos.Random(k=shots))
    base = pk.Predictor(model, prompt, reader_for(loaded))
    rows = searching.by_hash(loaded.rows("test"), 12)
    scorer = InstructionScorer(base, prompt, loaded, rows, None)
    subset, scores = scorer(["Say it."], 5), scorer(["Say it.", ""], 12)
    assert subset == InstructionScorer(base, prompt, loaded, rows, None)(["Say it."], 5)
    for text, score in zip(["Say it.", ""], scores, strict=True):
        exchanged = pk.Predictor(model, replace(prompt, instruction=text), base.reader)
        run = pk.evaluate(exchanged, loaded, limit=12, out=tmp_path)
        assert score.metric == pytest.approx(run.results[0].correct.mean())
        if loaded.labels:
            golds = [run.results[0].logprobs[index, run.labels.index(gold)] for index, gold in enumerate(run.gold)]
            assert score.logprob == pytest.approx(sum(golds) / 12, abs=10**-DECIMALS)


def test_the_log_probability_of_a_correct_text_equals_the_model_output() -> None:
    loaded, model = pk.task("capitals"), pk.load("fake")
    prompt = pk.Prompt("facts/capital", instruction="Well.")
    (row,) = searching.by_hash(loaded.rows("test"), 1)
    ((_, logprob, *_),) = InstructionScorer(pk.Predictor(model, prompt, pk.extract.FirstLine()), prompt, loaded, [row], None)(
        ["Well."], 1
    )
    ids = model.card.tokenizer.bos + tuple(f"Well.\nThe capital of {row.inputs['place']} is".encode())
    assert isinstance(model, FakeModel)
    expected = 0.0
    for token in f" {row.label}.".encode():
        expected += model._next(ids)[token]
        ids += (token,)
    assert logprob == pytest.approx(expected, abs=10**-DECIMALS)


def test_a_rung_queries_only_its_new_rows() -> None:
    model = Obedient()
    actual = search(model=model, method="list", instructions=list(SKILL))
    rungs = [(rung.rows, len(rung.standings)) for rung in actual.rungs]
    new = sum((rows - before) * left for (rows, left), before in zip(rungs, [0, *(rows for rows, _ in rungs)], strict=False))
    assert model.answered["Score"] == new + 2 * 100


@pytest.mark.parametrize(("shots", "calls"), [(0, 1), (8, 3)])
def test_prompts_with_a_long_common_prefix_are_scored_in_a_separate_call(
    shots: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_sizes: list[int] = []

    class Counting(Obedient):
        def answer(self, requests: Sequence[Request], done: Collection[int] = frozenset()) -> Any:
            call_sizes.append(len(requests))
            return super().answer(requests, done)

    loaded = pk.task("labels.yaml")
    base = predictor(loaded, Counting(), demos=pk.demos.Random(k=shots))
    assert isinstance(base.manipulate, pk.Prompt)
    scorer = InstructionScorer(base, base.manipulate, loaded, loaded.part("dev"), None)
    scores = scorer(["Obey 9.", "Obey 1.", ""], 20)
    assert (len(call_sizes), sum(call_sizes)) == (calls, 60)
    assert scores == [scorer([text], 20)[0] for text in ("Obey 9.", "Obey 1.", "")]
