"""Comparison of two engines on the same rows, and the exit code of the command."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.analysis.doctor import diagnose
from promptkit.cli.main import app
from promptkit.models.fake import FakeModel

TASK = pk.task("sentiment")
PROMPT = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=2))


class Shifted(FakeModel):
    """The fake model with a higher log-probability of one byte."""

    by = 0.0

    def _next(self, ids: tuple[int, ...]) -> Any:
        logprobs = super()._next(ids)
        logprobs[ord("P")] += self.by
        return logprobs


def shifted(by: float) -> Any:
    model = Shifted("fake", FakeModel.Settings())
    model.by = by
    return model


@pytest.mark.parametrize("by", [0.0, 1e-3, 0.5])
def test_differences_equal_differences_of_label_log_probabilities(by: float) -> None:
    result = diagnose(pk.load("fake"), shifted(by), TASK, PROMPT, reader_for(TASK), limit=30)
    assert result.largest == pytest.approx(by, abs=1e-9)
    assert result.mean == pytest.approx(by / 2, abs=1e-9)
    assert bool(result.reasons) == (by > result.tolerance)
    assert all(flip.margin < by for flip in result.flips)
    assert all((flip.first, flip.second) == ("negative", "positive") for flip in result.flips)


def test_engines_agree_if_their_texts_are_equal() -> None:
    task = pk.task("capitals")
    prompt = pk.Prompt("facts/capital", demos=pk.demos.Random(k=2))
    same = diagnose(pk.load("fake"), shifted(0), task, prompt, reader_for(task), limit=5)
    other = diagnose(pk.load("fake"), pk.load("fake:other"), task, prompt, reader_for(task), limit=5)
    assert (same.reasons, same.largest, len(same.flips)) == ((), None, 0)
    assert len(other.reasons) == 1
    assert (len(other.flips), other.n) == (5, 5)


def test_different_tokens_are_named_as_a_possible_cause(merging: Any) -> None:
    model: Any = pk.load("fake:other")
    model.card = pk.load("fake").card.__class__(
        tokenizer=merging([("a", "b")]),
        d_model=16,
        embedding_width=16,
        vocabulary=2,
        layers=1,
        kv_heads=1,
        context_length=10**6,
        instruct=False,
    )
    result = diagnose(pk.load("fake"), model, TASK, PROMPT, reader_for(TASK), limit=5)
    assert result.differences[0].startswith("5 of 5 prompts")
    assert result.reasons
    assert result.differences[0] in result.verdict


def test_the_command_prints_the_verdict_and_sets_the_exit_code() -> None:
    run = CliRunner().invoke
    agreed = run(app, ["doctor", "--model", "fake", "--against", "fake", "--limit", "5"])
    assert agreed.exit_code == 0
    assert agreed.stdout.splitlines()[-1] == "fake and fake agree"
    other = run(app, ["doctor", "--model", "fake", "--against", "fake:b", "--limit", "5", "--json"])
    assert other.exit_code == 1
    assert json.loads(other.stdout)["agree"] is False
    assert np.isfinite(json.loads(other.stdout)["largest"])
