"""The biases of runs with known predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.chain import chain_from_settings
from promptkit.analysis.bias import BALANCED, NO_DEMOS, Bias, Biases, bias
from promptkit.collect.collected import Collected
from promptkit.evaluation.evaluate import evaluate
from promptkit.evaluation.results import finish_run, results_summary
from promptkit.metrics.intervals import wilson
from promptkit.needs.premise import premise_id
from promptkit.runs.folder import RunFolder
from promptkit.runs.result import Result
from promptkit.runs.rows import EvaluatedRow

LABELS = ("a", "b", "c")
WORDS = {label: label.upper() for label in LABELS}
OUTCOME = ("predictions", "predicted", "metric_input")


def chosen(answer: str) -> dict[str, float]:
    """Scores that predict an answer."""
    return {label: 0.0 if label == answer else -1.0 for label in LABELS}


def write(out: Path, rows: Sequence[tuple[Sequence[str], str, str]], premise: str | None = None) -> Path:
    """Writes a run of (labels of demonstrations, gold, predicted) with `premise` as the likeliest label after the premise."""
    samples: Any = [
        {
            "id": f"r{i}",
            "gold": gold,
            "prediction": predicted,
            "demos": [f"d{i}{j}" for j in range(len(demo_labels))],
            "demo_labels": demo_labels,
        }
        for i, (demo_labels, gold, predicted) in enumerate(rows)
    ]
    support_records: Any = [] if premise is None else [{"id": premise_id(), "demos": [], "logprobs": chosen(premise)}]
    settings: Any = {
        "task": {"name": "made"},
        "split": "test",
        "limit": None,
        "model": {"name": "fake"},
        "manipulate": dict(pk.Prompt("sentiment/review").settings()),
        "align": [[dict(pk.Verbalizer(WORDS).settings())]],
    }
    outcome = pk.Verbalizer(WORDS).outcome([{**line, "logprobs": chosen(line["prediction"])} for line in samples])
    result = Result(align="verbalizer", metrics={}, **{name: getattr(outcome, name) for name in OUTCOME})
    collected = Collected(samples=samples, support=support_records)
    title: Any = {"task": "made", "split": "test", "n": len(rows), "model": "fake"}
    summary = results_summary(title, [chain_from_settings(settings["align"][0])], collected, [result])
    folder = RunFolder(out, "made", settings)
    with folder.locked():
        evaluated = [EvaluatedRow(id=line["id"], inputs={"text": ""}, gold=line["gold"]) for line in samples]
        finish_run(folder, summary, evaluated, collected, [result])
    return folder.path


def by_name(biases: Biases) -> dict[str, Bias]:
    return {item.name: item for item in biases.biases}


def test_each_bias_is_found_only_in_the_run_that_has_it(tmp_path: Path) -> None:
    """Balanced labels, demonstrations with every majority and every last label, and one predictor for each bias."""
    demo_labels = [(major, major, last) for major in LABELS for last in LABELS if major != last for _ in range(3)]
    golds = [LABELS[i % 3] for i in range(len(demo_labels))]
    predictions_of = {
        "majority label": [item[0] for item in demo_labels],
        "recency": [item[-1] for item in demo_labels],
        "common token": ["b"] * len(demo_labels),
        None: golds,
    }
    for name, predicted in predictions_of.items():
        path = write(tmp_path / str(name), [*zip(demo_labels, golds, predicted, strict=True)], premise="b")
        for item in bias(str(path)).biases:
            assert item.excess is not None
            if item.name == name:
                assert (item.predicted, item.correct) == (1.0, pytest.approx(1 / 3))
                assert item.excess.value == pytest.approx(2 / 3)
                assert item.excess.low > 0.3
            elif name is None:
                assert (item.excess.value, item.excess.low, item.excess.high) == (0, 0, 0)
            else:
                assert item.excess.low <= 0.1


rows = st.lists(
    st.tuples(st.lists(st.sampled_from(LABELS), max_size=4), st.sampled_from(LABELS), st.sampled_from(LABELS)),
    min_size=1,
    max_size=9,
)


@given(rows, st.sampled_from([None, *LABELS]))
def test_biases_equal_counts_by_hand(tmp_path_factory: pytest.TempPathFactory, rows: Any, premise: str | None) -> None:
    actual = bias(str(write(tmp_path_factory.mktemp("run"), rows, premise)))
    recency = [(demo_labels[-1], gold, predicted) for demo_labels, gold, predicted in rows if demo_labels]
    majority = []
    for demo_labels, gold, predicted in rows:
        most = max((demo_labels.count(label) for label in LABELS), default=0)
        favored = [label for label in LABELS if demo_labels.count(label) == most]
        if len(favored) < 3:
            majority.append((favored, gold, predicted))
    common = [] if premise is None else [(premise, gold, predicted) for _, gold, predicted in rows]
    for name, cases in {"recency": recency, "majority label": majority, "common token": common}.items():
        item = by_name(actual)[name]
        assert item.rows == len(cases)
        assert (item.excess is None, bool(item.reason)) == (not cases, not cases)
        if item.excess is not None:
            gained = sum((predicted in favored) - (gold in favored) for favored, gold, predicted in cases)
            assert item.excess.value == pytest.approx(gained / len(cases))
            assert item.predicted - item.correct == pytest.approx(gained / len(cases))
    for recall in actual.labels:
        labeled = [predicted for _, gold, predicted in rows if gold == recall.label]
        assert recall.gold == len(labeled)
        assert recall.accuracy == (wilson(labeled.count(recall.label), len(labeled)) if labeled else None)
    assert sum(recall.predicted for recall in actual.labels) == len(rows)
    json.dumps(actual.to_json())


def test_missing_biases_have_a_reason_and_each_branch_has_separate_biases(tmp_path: Path) -> None:
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    prompt, model = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=4)), pk.load("fake")
    chains: list[list[Any]] = [[words], [words, pk.calibrate.Batch(rows=8)]]
    run = evaluate([pk.Predictor(model, prompt, chain) for chain in chains], pk.task("sentiment"), limit=30, out=tmp_path)
    plain, batch = bias(str(run.path)), bias(f"{run.path}:batch:rows=8")
    assert by_name(plain)["majority label"].reason == BALANCED
    assert "--calibrate pmi" in by_name(plain)["common token"].reason
    assert plain.contexts == 1
    assert plain.caution
    assert plain.caution in str(plain)
    last = next(iter(by_name(plain)["recency"].favored))
    for actual, result in zip((plain, batch), run.results, strict=True):
        excess = by_name(actual)["recency"].excess
        assert excess is not None
        assert excess.value == pytest.approx((result.predicted[last] - run.gold.count(last)) / 30)
        assert f"{excess.value:+.3f}" in str(actual)
        assert [recall.predicted for recall in actual.labels] == [*result.predicted.values()]


def test_a_run_without_demonstrations_can_only_have_a_common_token_bias(tmp_path: Path) -> None:
    actual = by_name(bias(str(write(tmp_path, [((), "a", "b"), ((), "b", "b")], premise="b"))))
    assert actual["recency"].reason == actual["majority label"].reason == NO_DEMOS
    assert actual["common token"].excess is not None
    assert actual["common token"].excess.value == 0.5
