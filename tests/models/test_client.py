"""Tests of the clients that compute outputs while prompts are built: caching, batches, counts, and dry runs."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import fields
from typing import Any

import pytest

import promptkit as pk
from promptkit.align.calibrate import ProCa
from promptkit.align.chain import CALIBRATIONS, reader_for
from promptkit.core.errors import InputError, TemplateError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Request, Score
from promptkit.evaluation.evaluate import dry_run, evaluate
from promptkit.models.cache import ScoreCache
from promptkit.models.client import LOG_EVERY, CachedModel, DryRunModel, NeedsAnswer
from tests.support.calibrations import ONE_LABEL
from tests.support.errors import refused
from tests.support.runs import Killed, killed_after


def requests(count: int, begin: int = 0) -> list[Request]:
    return [
        Request(input=TextInput(ids=(1, 2, i)), verb=Score(continuations=((3,), (4, 5)))) for i in range(begin, begin + count)
    ]


def test_outputs_are_in_the_order_of_the_requests_and_equal_requests_are_computed_once(scripted: Any) -> None:
    model = scripted()
    batch = [*requests(5), *requests(3), *reversed(requests(5))]
    client = CachedModel(model)
    outputs = client(batch)
    assert outputs == [model._output(request) for request in batch]
    assert client.computed == 5
    assert model.rounds == [5]


def test_cached_requests_are_not_computed(scripted: Any) -> None:
    model, cache = scripted(), ScoreCache()
    first = CachedModel(model, cache)(requests(6))
    client = CachedModel(model, cache)
    assert client(requests(6)) == first
    assert (client.computed, client.cached, model.rounds) == (0, 6, [6])
    (note,) = client.notes()
    assert re.findall(r"[\d.]+", note) == ["0", "0.0", "6"]


def test_cached_requests_do_not_change_the_batches(scripted: Any) -> None:
    """Results are the same even in a model whose sums depend on the batch."""
    cache = ScoreCache()
    with pytest.raises(Killed):
        CachedModel(killed_after(2, batch_tokens=16), cache)(requests(12))
    model: Any = pk.load("fake", batch_tokens=16)
    computed: list[tuple[int, ...]] = []
    original = model.answer

    def answer(*arguments: Any) -> Any:
        for indices, outputs in original(*arguments):
            computed.append(indices)
            yield indices, outputs

    model.answer = answer
    CachedModel(model, cache)(requests(12))
    assert computed == list(model.batches(requests(12)))[2:]


def test_many_requests_are_logged_before_they_are_computed(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = CachedModel(scripted(), purpose="The calibration")
    with caplog.at_level(logging.WARNING):
        client(requests(LOG_EVERY - 1))
        assert not caplog.messages
        client(requests(2, begin=LOG_EVERY))
        client(requests(5, begin=2 * LOG_EVERY))
        assert [record.args for record in caplog.records] == [("The calibration", 2, LOG_EVERY - 1)]
        client(requests(2 * LOG_EVERY, begin=3 * LOG_EVERY))
    assert len(caplog.messages) == 2


def test_a_dry_run_model_computes_nothing() -> None:
    model = DryRunModel(pk.load("fake").card)
    assert model([]) == []
    with pytest.raises(NeedsAnswer):
        model(requests(1))


PROMPTS_THAT_NEED_A_MODEL: dict[str, dict[str, Any]] = {
    "demos.mdl": {"demos": pk.demos.MDL(k=2, candidates=6, organizations=4)},
    "demos.influence": {"demos": pk.demos.Influence(k=2, candidates=6, contexts=6, rows=9)},
    "demos.rerank": {"demos": pk.demos.Rerank(k=2, candidates=3, rows=2)},
    "order.least_entropy": {"demos": pk.demos.RandomEach(k=3), "order": pk.order.LeastEntropy(permutations=3)},
    "cot.zero_shot": {"demos": pk.demos.RandomEach(k=1), "cot": pk.cot.ZeroShot(max_tokens=4)},
    "cot.least_to_most": {"demos": pk.demos.First(k=1), "cot": pk.cot.LeastToMost(max_tokens=4, questions=2)},
}
each_prompt = pytest.mark.parametrize("keywords", PROMPTS_THAT_NEED_A_MODEL.values(), ids=PROMPTS_THAT_NEED_A_MODEL)


def predictors(model: Any, keywords: Any) -> list[pk.Predictor]:
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    prompt = pk.Prompt("sentiment/review", **keywords)
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in ([], [pk.calibrate.Contextual(content_free=("N/A",))])]


@each_prompt
def test_a_dry_run_computes_nothing_and_finds_errors(scripted: Any, keywords: Any) -> None:
    model = scripted()
    dry_run(predictors(model, keywords), pk.task("sentiment"))
    assert model.prompts == []
    wrong = pk.Prompt("facts/capital", **keywords)
    with refused(TemplateError, "missing-variables", template="facts/capital"):
        dry_run([pk.Predictor(model, wrong, {"negative": "bad", "positive": "good"})], pk.task("sentiment"))


def test_a_dry_run_accepts_every_calibration_that_the_run_accepts(scripted: Any) -> None:
    model, words, prompt = scripted(), pk.Verbalizer({"negative": "bad", "positive": "good"}), pk.Prompt("sentiment/review")
    kinds = [CALIBRATIONS[name] for name in ONE_LABEL]
    calibrations = [calibration for kind in kinds for calibration in (kind(), *on_test(kind))]
    dry_run([pk.Predictor(model, prompt, [words, calibration]) for calibration in calibrations], pk.task("sentiment"))
    with refused(InputError, "too-few-rows", calibration="proca", given=7, needed=8):
        dry_run([pk.Predictor(model, prompt, [words, ProCa(estimate_on="test")])], pk.task("sentiment"), limit=7)


def on_test(kind: Any) -> list[Any]:
    return [kind(estimate_on="test")] if any(field.name == "estimate_on" for field in fields(kind)) else []


@each_prompt
def test_a_run_that_is_killed_while_prompts_are_built_resumes_with_the_same_files(tmp_path: Any, keywords: Any) -> None:
    task = pk.task("sentiment")
    full = evaluate(predictors(pk.load("fake", batch_tokens=600), keywords), task, limit=8, out=tmp_path / "whole", cache=False)
    for _ in range(2):
        with pytest.raises(Killed):
            evaluate(predictors(killed_after(1, batch_tokens=600), keywords), task, limit=8, out=tmp_path / "killed")
    resumed = evaluate(predictors(pk.load("fake", batch_tokens=600), keywords), task, limit=8, out=tmp_path / "killed")
    for name in ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "summary.json"):
        assert (resumed.path / name).read_bytes() == (full.path / name).read_bytes()
    (note,) = [note for note in resumed.notes if "while prompts were built" in note]
    assert int(re.findall(r"\d+", note)[-1]) > 0


@each_prompt
def test_merged_shards_equal_the_run_of_one_process(tmp_path: Any, keywords: Any) -> None:
    task, model = pk.task("sentiment"), pk.load("fake", batch_tokens=600)
    full = evaluate(predictors(model, keywords), task, limit=8, out=tmp_path / "whole")
    shards = [
        pk.evaluate_shard(predictors(model, keywords), task, pk.Shard(number, 2), limit=8, out=tmp_path / f"{number}")
        for number in (1, 2)
    ]
    merged = pk.merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert (merged.path / "samples.jsonl").read_bytes() == (full.path / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(("name", "template"), [("sentiment", "sentiment/review"), ("capitals", "facts/capital")])
@pytest.mark.parametrize("cot", [pk.cot.ZeroShot(max_tokens=4), pk.cot.LeastToMost(max_tokens=4)])
def test_a_run_records_each_row_s_reasoning_and_recomputes_changed_rows(
    tmp_path: Any, name: str, template: str, cot: Any
) -> None:
    task = pk.task(name)
    prompt = pk.Prompt(template, demos=pk.demos.First(k=1), cot=cot)
    predictor = pk.Predictor(pk.load("fake"), prompt, reader_for(task))
    run = evaluate(predictor, task, limit=4, out=tmp_path)
    samples = run.path / "samples.jsonl"
    for line in map(json.loads, samples.read_text().splitlines()):
        assert line["reasoning"].startswith((f" {cot.trigger}", f" {cot.answer_trigger}"))
        assert line["reasoning"].endswith(cot.answer_trigger)
    full = samples.read_bytes()
    samples.write_bytes(full.replace(b"Therefore", b"Hence", 1))
    (run.path / "summary.json").unlink()
    again = evaluate(predictor, task, limit=4, out=tmp_path)
    assert samples.read_bytes() == full
    assert "1 of 1 answers were taken from the score cache" in again.notes
