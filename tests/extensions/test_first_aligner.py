"""A first aligner and a calibration of another package: runs, resumed runs and realigned runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.chain import chain_from_settings
from promptkit.analysis.realign import align
from promptkit.core.errors import Unsupported
from promptkit.core.output_reader import OutputReader
from promptkit.core.requests import Score
from tests.extensions.plugins.first_tokens import FirstTokens
from tests.extensions.plugins.sharpen import Sharpen
from tests.support.errors import refused
from tests.support.runs import Killed, contents, killed_after, lines
from tests.support.tables import isolate

WORDS = {"negative": " bad", "positive": " good"}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, CALIBRATIONS, FIRST_ALIGNERS)
    pk.calibrate.register(Sharpen)
    pk.aligners.register(FirstTokens)


def predictors(model: Any = None) -> list[pk.Predictor]:
    prompt, reader = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=2)), FirstTokens(WORDS)
    chains: list[Any] = [reader, [reader, Sharpen(power=-1.0)], [reader, pk.calibrate.Batch(rows=16)]]
    loaded = model or pk.load("fake", batch_tokens=600)
    return [pk.Predictor(loaded, prompt, chain) for chain in chains]


def test_a_first_aligner_asks_reads_and_records(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    assert isinstance(FirstTokens(WORDS), OutputReader)
    run = pk.evaluate(predictors(), task, limit=12, out=tmp_path, cache=False)
    assert [result.align for result in run.results] == ["first-tokens", "sharpen:power=-1.0", "batch:rows=16"]
    (first, *_), model = predictors(), pk.load("fake")
    bound = first.bind(task)
    by_id = {row.id: row for row in task.rows("test")}
    tokens = [model.card.tokenizer.encode(word.strip()).ids[0] for word in WORDS.values()]
    for record, logprobs in zip(lines(run), run.results[0].logprobs, strict=True):
        (request,) = bound.requests([by_id[record["id"]].unlabeled()])
        scoring = replace(request, verb=Score(continuations=tuple((token,) for token in tokens)))
        ((_, (output,)),) = model.answer([scoring])
        expected = [tokens[0] for tokens in output.logprobs]
        assert logprobs == pytest.approx(expected, abs=1e-4)
        assert record["logprobs"] == dict(zip(WORDS, logprobs, strict=True))
        assert "continuations" not in record
        assert record["prediction"] == max(WORDS, key=lambda label: record["logprobs"][label])
    assert all(plain != flipped for plain, flipped in zip(run.results[0].predictions, run.results[1].predictions, strict=True))


def test_a_run_of_a_first_aligner_is_resumed_and_realigned(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    whole = pk.evaluate(predictors(), task, limit=12, out=tmp_path / "whole", cache=False)
    with pytest.raises(Killed):
        pk.evaluate(predictors(killed_after(2, batch_tokens=600)), task, limit=12, out=tmp_path / "part", cache=False)
    resumed = pk.evaluate(predictors(), task, limit=12, out=tmp_path / "part", cache=False)
    assert contents(resumed) == contents(whole)
    assert chain_from_settings([dict(FirstTokens(WORDS).settings())]).reader.settings() == FirstTokens(WORDS).settings()
    aligned = align(whole.path, "sharpen:power=-1,batch:rows=16")
    assert [result.align for result in aligned.results] == [result.align for result in whole.results]
    for result, original in zip(aligned.results, whole.results, strict=True):
        np.testing.assert_array_equal(result.logprobs, original.logprobs)


def test_a_first_aligner_is_checked_against_the_model(tmp_path: Path) -> None:
    assert FirstTokens(WORDS).verb in pk.load("fake").capabilities.verbs
    with refused(Unsupported, "untrainable-aligner", aligner="first-tokens"):
        FirstTokens(WORDS).align_tensors([])
