"""Paired comparison of finished runs, on the fake engine and compared with scipy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.core.errors import InputError, RunError
from promptkit.evaluation.evaluate import evaluate
from promptkit.metrics.intervals import Estimate, mcnemar
from promptkit.metrics.paired_tests import holm
from promptkit.runs.run import Run
from tests.support import probe_runs
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}


def run(out: Path, *, model: str = "fake", limit: int = 40, **task: Any) -> Run:
    prompt, labels = pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS)
    loaded = pk.load(model)
    branches = [pk.Predictor(loaded, prompt, [labels, *chain]) for chain in ([], [pk.calibrate.Batch(rows=8)])]
    return evaluate(branches, pk.task("sentiment"), limit=limit, out=out, **task)


@given(won=st.integers(0, 3000), lost=st.integers(0, 3000))
def test_mcnemars_p_is_twice_the_smaller_tail_of_the_binomial_distribution(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9, abs=1e-300)


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


def test_p_values_of_several_comparisons_are_adjusted_and_shown_beside_the_raw_ones(tmp_path: Path) -> None:
    one, other = run(tmp_path), run(tmp_path, model="fake:other")
    several = compare_runs([str(one.path), str(other.path), f"{one.path}:batch:rows=8"])
    for name in ("accuracy", "brier", "macro_f1"):
        metrics = [branch.metrics[name] for branch in several.branches]
        assert (metrics[0].p, metrics[0].p_holm) == (None, None)
        assert [each.p_holm for each in metrics[1:]] == pytest.approx(holm([each.p or 0.0 for each in metrics[1:]]))
        assert [row[1:] for row in several.table(name).rows] == [
            (each.value, each.difference, each.p, each.p_holm) for each in metrics
        ]
    assert [branch.p_holm for branch in several.branches] == [branch.metrics["accuracy"].p_holm for branch in several.branches]
    assert several.to_json()["branches"][1]["metrics"]["brier"]["test"] == "sign-flip"  # type: ignore[index]
    assert "McNemar" in several.table().caption
    assert list(several.to_pandas())[-2:] == ["p", "p Holm"]
    assert several.to_csv() == several.table().to_csv()
    assert several.to_latex().count(r"\\") == several.to_markdown().count("\n") == 4
    pair = compare_runs([str(one.path), str(other.path)])
    assert pair.table().columns == ("predictor", "accuracy", "difference", "p")
    assert pair.branches[1].p_holm == pair.branches[1].p
    with refused(InputError, "unknown-name", kind="metric of the comparison", name="acuracy", close=["accuracy"]):
        pair.table("acuracy")


def run_with_probes(out: Path) -> Run:
    return probe_runs.run(probe_runs.write_task(out / "task"), out, ["knn:per_class=4", "linear:per_class=4", "contextual"])


def run_with_choices(out: Path) -> Run:
    rows = [{"q": f"question {i}", "options": [f"red {i}", "blue", "green"][: 2 + i % 2], "label": i % 2} for i in range(30)]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "t.j2").write_text("{% block input %}Q: {{ q }}\nA:{% endblock %}{% block target %} {{ label }}{% endblock %}")
    choices = {"choices": {"column": "options"}, "inputs": {"q": "q"}, "label": "label"}
    spec = {"description": "d", "template": "t.j2", "sources": [{"files": {"test": "rows.jsonl"}, **choices}]}
    (out / "t.yaml").write_text(json.dumps(spec))
    model, prompt = pk.load("fake"), pk.Prompt(out / "t.j2")
    branches = [pk.Predictor(model, prompt, [pk.Choices(), *chain]) for chain in ([], [pk.calibrate.PMI()])]
    return evaluate(branches, pk.task(out / "t.yaml"), out=out)


def run_with_votes(out: Path) -> Run:
    chain = [pk.extract.FirstLine(max_tokens=3), pk.vote.Majority(samples=3, temperature=0.7)]
    return evaluate(pk.Predictor(pk.load("fake"), pk.Prompt("facts/capital"), chain), pk.task("capitals"), limit=12, out=out)


@pytest.mark.parametrize("make", [run, run_with_probes, run_with_choices, run_with_votes])
def test_compared_metrics_equal_those_of_the_runs(make: Callable[[Path], Run], tmp_path: Path) -> None:
    finished = make(tmp_path)
    comparison = compare_runs([f"{finished.path}:{result.align}" for result in [*finished.results, finished.results[0]]])
    for compared, result in zip(comparison.branches, finished.results, strict=False):
        assert {name: round(metric.value.value, 6) for name, metric in compared.metrics.items()} == {
            name: metric["value"] for name, metric in result.metrics.items()
        }
    first, *_, same = (branch.metrics for branch in comparison.branches)
    assert {metric.difference for metric in first.values()} == {None}
    assert {metric.difference for metric in same.values()} == {Estimate(value=0, low=0, high=0)}


def test_metrics_are_compared_over_the_shared_rows(tmp_path: Path) -> None:
    subset, many = run(tmp_path, limit=10), run(tmp_path, limit=25)
    comparison = compare_runs([str(many.path), str(subset.path)])
    for branch in comparison.branches:
        assert branch.metrics["brier"].value.value == pytest.approx(subset.results[0].metrics["brier"]["value"], abs=1e-6)


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
    learned = tmp_path / "learned"
    learned.mkdir()
    (learned / "run.json").write_text('{"train": {"steps": 3}}')
    with refused(RunError, "not-a-run", folder=str(learned)):
        compare_runs([str(full.path), str(learned)])
    train = run(tmp_path, split="train")
    with refused(RunError, "no-common-rows", runs=(full.path.name, train.path.name)):
        compare_runs([str(full.path), str(train.path)])
