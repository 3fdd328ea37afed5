"""Instruction searches: their results, estimates and refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.requests import Generate, Output, Request
from promptkit.metrics.intervals import Estimate, difference, wilson
from promptkit.searches import instructions as searching
from promptkit.searches.scorer import InstructionScorer
from tests.support.errors import refused
from tests.support.obedient import SKILL, WORDS, Obedient, hardness, predictor, search

pytestmark = pytest.mark.usefixtures("search_folder")


# ---- results ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "texts"])
@pytest.mark.parametrize("method", ["ape", "opro", "list"])
@pytest.mark.parametrize("by", ["metric", "logprob"])
def test_the_search_finds_the_same_instruction_as_exhaustive_scoring(kind: str, method: Any, by: Any) -> None:
    given_ = list(SKILL) if method == "list" else []
    actual = search(kind, method=method, instructions=given_, by=by)
    loaded = pk.task(f"{kind}.yaml")
    base = predictor(loaded)
    rows = searching.by_hash(loaded.part("dev"), 128)
    assert isinstance(base.manipulate, pk.Prompt)
    every = dict(
        zip(
            actual.origins,
            InstructionScorer(base, base.manipulate, loaded, rows, None)([*actual.origins], len(rows)),
            strict=True,
        )
    )
    best = max(SKILL.keys() & actual.origins.keys(), key=SKILL.__getitem__)
    assert SKILL[best] > 0.5
    assert actual.instruction == max(every, key=lambda text: every[text].metric) == best
    assert (
        actual.corrected.own
        == every[best].metric
        == sum(hardness(row.inputs["text"]) < SKILL[best] for row in rows) / len(rows)
    )
    texts = [row.inputs["text"] for row in loaded.rows("test")]
    assert actual.held_out.value == sum(hardness(text) < SKILL[best] for text in texts) / len(texts)


def test_fixed_candidates_are_always_included() -> None:
    assert search(method="list", instructions=["Obey 3."]).origins == {
        "Obey 3.": "list",
        "The labels are bad and good.": "labels",
        "Answer with one of: bad, good.": "labels",
        "": "none",
        "OWN": "own",
    }
    assert search("texts", method="list", instructions=["", "OWN", "x", "x"]).origins == {"": "none", "OWN": "own", "x": "list"}


def test_if_no_instruction_is_better_the_runs_do_not_differ() -> None:
    actual = search(method="list", instructions=["Obey 0."])
    assert actual.instruction in ("", "OWN", *[text for text, origin in actual.origins.items() if origin == "labels"])
    (original, best) = actual.comparison.branches
    assert (best.difference, best.p, best.accuracy) == (Estimate(value=0, low=0, high=0), 1.0, original.accuracy)


def test_opro_sees_instructions_with_their_accuracies() -> None:
    prompts: list[str] = []

    class Recording(Obedient):
        def _output(self, request: Request) -> Output:
            if isinstance(request.verb, Generate):
                prompts.append(self.card.tokenizer.decode(request.input.ids))
            return super()._output(request)

    actual = search(method="opro", model=Recording())
    assert len(prompts) == 2
    assert prompts[0].count("Score:") == 3
    assert prompts[1].count("Score:") == 3 + sum(
        text not in prompts[0] for text in actual.origins if f"Instruction: {text}\n" in prompts[1]
    )
    rung = actual.rungs[0]
    for text, score in rung.standings.items():
        if f"Instruction: {text}\n" in prompts[1] and text:
            assert f"Instruction: {text}\nScore: {round(100 * score.metric)}\n" in prompts[1]


# ---- estimates ----------------------------------------------------------------------------------------


def test_the_score_of_the_best_instruction_is_corrected_and_confirmed() -> None:
    actual = search()
    record = json.loads(json.dumps(actual.to_json()))
    last = record["rungs"][-1]
    best = last["instructions"][0]
    assert best["instruction"] == record["instruction"] == actual.instruction
    assert record["dev"] == best["metric"] == actual.corrected.own
    assert record["held_out"] == record["comparison"]["branches"][1]["accuracy"]
    assert record["optimism"] == record["dev"] - record["new_rows"]["value"]
    assert record["new_rows"]["low"] < record["new_rows"]["value"] < record["new_rows"]["high"]
    assert f"chosen by: {actual.corrected.own:.3f};" in str(actual)
    assert f"estimated from them: {actual.corrected.estimate.value:.3f} (" in str(actual)
    assert actual.instruction in str(actual)
    run = json.loads((Path(record["runs"][1]) / "run.json").read_text())
    assert run["manipulate"]["instruction"] == actual.instruction
    assert pk.evaluate(actual.predictor, pk.task("labels.yaml")).path == Path(record["runs"][1])


def test_difference_interval_of_newcombe() -> None:
    result = difference(wilson(56, 70), wilson(48, 80))  # the example of Newcombe 1998, table II, row (a), method 10
    assert (result.value, result.low, result.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@given(data=st.data(), n=st.integers(1, 200), m=st.integers(1, 200))
def test_a_reversed_difference_has_the_reversed_interval(data: st.DataObject, n: int, m: int) -> None:
    one, other = wilson(data.draw(st.integers(0, n)), n), wilson(data.draw(st.integers(0, m)), m)
    result, turned = difference(one, other), difference(other, one)
    assert -1 <= result.low <= result.value <= result.high <= 1
    assert math.isclose(result.low, -turned.high)


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "code", "fields"),
    [
        ({"method": "appe"}, "unknown-name", {"kind": "method of search", "name": "appe", "close": ["ape"]}),
        ({"by": "metrik"}, "unknown-name", {"name": "metrik", "close": ["metric"]}),
        ({"method": "list"}, "no-instructions", {"method": "list"}),
        ({"instructions": "Say it."}, "invalid-value", {"keyword": "instructions", "value": "'Say it.'"}),
        ({"candidates": 0}, "out-of-range", {"candidates": 0}),
        ({"dev": 0}, "out-of-range", {"limit": 0}),
        ({"task": "labels.yaml"}, "not-a-task", {"value": "'labels.yaml'"}),
    ],
)
def test_invalid_settings_are_refused(keywords: dict[str, Any], code: str, fields: dict[str, Any]) -> None:
    loaded = pk.task("labels.yaml")
    with refused(InputError, code, **fields):
        pk.search(predictor(loaded), **{"task": loaded, **keywords})


def test_missing_dev_rows_models_without_generation_and_calibrations_are_refused() -> None:
    spec = yaml.safe_load(Path("labels.yaml").read_text())
    spec["sources"][0] |= {"files": {"test": "test.jsonl"}, "hold_out": 20}
    Path("small.yaml").write_text(yaml.safe_dump(spec))
    with refused(TaskError, "empty-part", task="small", part="dev"):
        search(task=pk.task("small.yaml"))
    mute = Obedient()
    mute.capabilities = replace(mute.capabilities, verbs=frozenset({"Score"}))
    with refused(Unsupported, "cannot-generate", model=mute.name):
        search(model=mute)
    assert search(model=mute, instructions=["Obey 9."]).instruction == "Obey 9."
    loaded = pk.task("labels.yaml")
    calibrated = pk.Predictor(Obedient(), pk.Prompt("t.j2"), [pk.Verbalizer(WORDS), pk.calibrate.Contextual()])
    with refused(InputError, "calibrated-predictor", predictor=calibrated.name):
        pk.search(calibrated, loaded)
