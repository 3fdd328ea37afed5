"""Paired comparison of finished runs, on the fake engine and compared with scipy."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.core.errors import InputError, RunError
from promptkit.evaluation.evaluate import evaluate
from promptkit.metrics.intervals import mcnemar
from promptkit.runs.run import Run
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}


def run(out: Path, *, model: str = "fake", limit: int = 40, **task: Any) -> Run:
    prompt, labels = pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS)
    loaded = pk.load(model)
    branches = [pk.Predictor(loaded, prompt, [labels, *chain]) for chain in ([], [pk.calibrate.Batch(rows=8)])]
    return evaluate(branches, pk.task("sentiment"), limit=limit, out=out, **task)


@given(won=st.integers(0, 300), lost=st.integers(0, 300))
def test_mcnemars_p_is_twice_the_smaller_tail_of_the_binomial_distribution(won: int, lost: int) -> None:
    tail = sum(comb(won + lost, k) for k in range(min(won, lost) + 1))
    expected = min(1.0, 2 * tail / 2 ** (won + lost))
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


def test_runs_and_branches_are_paired_by_row(tmp_path: Path) -> None:
    one, other = run(tmp_path), run(tmp_path, model="fake:other")
    comparison = compare_runs([str(one.path), str(other.path), f"{one.path}:batch:rows=8"])
    answers = [one.results[0], other.results[0], one.results[1]]
    for compared, result in zip(comparison.branches, answers, strict=True):
        assert compared.accuracy.value == pytest.approx(result.correct.mean())
        assert len(compared.flips) == (result.logprobs.argmax(1) != answers[0].logprobs.argmax(1)).sum()
    for compared, result in list(zip(comparison.branches, answers, strict=True))[1:]:
        assert compared.difference is not None
        assert compared.difference.value == pytest.approx((result.correct - answers[0].correct).mean())
        gain = result.correct - answers[0].correct
        assert compared.p == mcnemar(int((gain > 0).sum()), int((gain < 0).sum()))
        assert all(flip.first != flip.other for flip in compared.flips)
    assert comparison.n == 40
    assert json.loads(json.dumps(comparison.to_json()))["branches"][0]["p"] is None


def test_rows_missing_from_some_runs_are_excluded_and_counted(tmp_path: Path) -> None:
    subset, many = run(tmp_path, limit=10), run(tmp_path, limit=25)
    comparison = compare_runs([str(many.path), str(subset.path)])
    assert (comparison.n, comparison.left_out) == (10, 15)
    assert np.isclose(comparison.branches[0].accuracy.value, subset.results[0].correct.mean())
    assert comparison.branches[1].flips == ()
    assert comparison.branches[1].p == 1.0


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    full = run(tmp_path)
    with refused(InputError, "too-few-runs", runs=(str(full.path),)):
        compare_runs([str(full.path)])
    with refused(RunError, "no-such-folder", folder=str(tmp_path / "absent")):
        compare_runs([str(full.path), str(tmp_path / "absent")])
    with refused(InputError, "unknown-name", name="batch", close=["batch:rows=8"]) as error:
        compare_runs([str(full.path), f"{full.path}:batch"])
    assert str(error.value.fields["kind"]).startswith("branch")
    with refused(RunError, "not-a-run", folder=str(tmp_path)):
        compare_runs([str(full.path), str(tmp_path)])
    train = run(tmp_path, split="train")
    with refused(RunError, "no-common-rows", runs=(str(full.path), str(train.path))):
        compare_runs([str(full.path), str(train.path)])
