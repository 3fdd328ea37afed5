"""Asking while prompts are made: once, in whole batches, counted, and never in a rehearsal."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import promptkit as pk
from promptkit.align.calibrate import Proca
from promptkit.align.chain import CALIBRATIONS, reading
from promptkit.core.errors import InputError, TemplateError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Request, Score
from promptkit.evaluation.evaluate import dry_run, evaluate
from promptkit.models.cache import ScoreCache
from promptkit.models.client import LOG_EVERY, CachedModel, DryRunModel, NeedsAnswer
from tests.support.errors import refused


def requests(count: int, begin: int = 0) -> list[Request]:
    return [
        Request(input=TextInput(ids=(1, 2, i)), verb=Score(continuations=((3,), (4, 5)))) for i in range(begin, begin + count)
    ]


class Killed(BaseException):
    """Stands for a signal that no code catches."""


def killed_after(batches: int, **settings: Any) -> Any:
    model: Any = pk.load("fake", **settings)
    whole = model.answer

    def answer(*arguments: Any) -> Any:
        for number, batch in enumerate(whole(*arguments)):
            if number == batches:
                raise Killed
            yield batch

    model.answer = answer
    return model


def test_answers_come_in_the_order_of_the_requests_and_equal_ones_are_asked_once(scripted: Any) -> None:
    model = scripted()
    asked = [*requests(5), *requests(3), *reversed(requests(5))]
    ask = CachedModel(model)
    answers = ask(asked)
    assert answers == [model._output(request) for request in asked]
    assert ask.computed == 5
    assert model.rounds == [5]


def test_nothing_is_asked_that_the_cache_knows(scripted: Any) -> None:
    model, cache = scripted(), ScoreCache()
    first = CachedModel(model, cache)(requests(6))
    again = CachedModel(model, cache)
    assert again(requests(6)) == first
    assert (again.computed, again.cached, model.rounds) == (0, 6, [6])
    assert again.notes() == ("0 requests were asked while prompts were made (0.0 s), and 6 were known from the score cache",)


def test_what_is_known_changes_no_batch(scripted: Any) -> None:
    """So that a model whose sums depend on the batch gives a run that was broken off the very same numbers."""
    cache = ScoreCache()
    with pytest.raises(Killed):
        CachedModel(killed_after(2, batch_tokens=16), cache)(requests(12))
    model: Any = pk.load("fake", batch_tokens=16)
    asked: list[tuple[int, ...]] = []
    whole = model.answer

    def answer(*arguments: Any) -> Any:
        for indices, outputs in whole(*arguments):
            asked.append(indices)
            yield indices, outputs

    model.answer = answer
    CachedModel(model, cache)(requests(12))
    assert asked == list(model.batches(requests(12)))[2:]


def test_long_work_is_told_of_before_it_is_begun(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    ask = CachedModel(scripted())
    with caplog.at_level(logging.WARNING):
        ask(requests(LOG_EVERY - 1))
        assert not caplog.messages
        ask(requests(2, begin=LOG_EVERY))
        ask(requests(5, begin=2 * LOG_EVERY))
        assert caplog.messages == [f"To make the prompts, the model is asked 2 requests ({LOG_EVERY - 1} so far)."]
        ask(requests(2 * LOG_EVERY, begin=3 * LOG_EVERY))
    assert len(caplog.messages) == 2


def test_in_a_rehearsal_no_model_answers() -> None:
    silent = DryRunModel(pk.load("fake").card)
    assert silent([]) == []
    with pytest.raises(NeedsAnswer):
        silent(requests(1))


ASKING: dict[str, dict[str, Any]] = {
    "demos.mdl": {"demos": pk.demos.mdl(k=2, candidates=6, organizations=4)},
    "demos.influence": {"demos": pk.demos.influence(k=2, candidates=6, contexts=6, rows=9)},
    "demos.rerank": {"demos": pk.demos.rerank(k=2, candidates=3, rows=2)},
    "order.least_entropy": {"demos": pk.demos.random_each(k=3), "order": pk.order.least_entropy(permutations=3)},
    "cot.zero_shot": {"demos": pk.demos.random_each(k=1), "cot": pk.cot.zero_shot(max_tokens=4)},
    "cot.least_to_most": {"demos": pk.demos.first(k=1), "cot": pk.cot.least_to_most(max_tokens=4, questions=2)},
}
every = pytest.mark.parametrize("keywords", ASKING.values(), ids=ASKING)


def predictors(model: Any, keywords: Any) -> list[pk.Predictor]:
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    prompt = pk.Prompt("sentiment/review", **keywords)
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in ([], [pk.calibrate.Contextual(content_free=("N/A",))])]


@every
def test_a_rehearsal_asks_nothing_and_finds_what_is_wrong(scripted: Any, keywords: Any) -> None:
    model = scripted()
    dry_run(predictors(model, keywords), pk.task("sentiment"))
    assert model.prompts == []
    wrong = pk.Prompt("facts/capital", **keywords)
    with refused(TemplateError, "missing-variables", template="facts/capital"):
        dry_run([pk.Predictor(model, wrong, {"negative": "bad", "positive": "good"})], pk.task("sentiment"))


def test_a_rehearsal_refuses_no_calibration_that_the_run_would_take(scripted: Any) -> None:
    model, words, prompt = scripted(), pk.Verbalizer({"negative": "bad", "positive": "good"}), pk.Prompt("sentiment/review")
    wanted = [each for kind in CALIBRATIONS.values() for each in (kind(), *on_test(kind))]
    dry_run([pk.Predictor(model, prompt, [words, each]) for each in wanted], pk.task("sentiment"))
    with refused(InputError, "too-few-rows", calibration="proca", given=7, needed=8):
        dry_run([pk.Predictor(model, prompt, [words, Proca(estimate_on="test")])], pk.task("sentiment"), limit=7)


def on_test(kind: Any) -> list[Any]:
    return [kind(estimate_on="test")] if hasattr(kind, "estimate_on") else []


@every
def test_a_run_that_is_killed_while_prompts_are_made_continues_to_the_same_bytes(tmp_path: Any, keywords: Any) -> None:
    task = pk.task("sentiment")
    whole = evaluate(
        predictors(pk.load("fake", batch_tokens=600), keywords), task, limit=8, out=tmp_path / "whole", cache=False
    )
    for _ in range(2):
        with pytest.raises(Killed):
            evaluate(predictors(killed_after(1, batch_tokens=600), keywords), task, limit=8, out=tmp_path / "killed")
    resumed = evaluate(predictors(pk.load("fake", batch_tokens=600), keywords), task, limit=8, out=tmp_path / "killed")
    for name in ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "summary.json"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()
    (note,) = [note for note in resumed.notes if "while prompts were made" in note]
    assert "known from the score cache" in note


@every
def test_merged_shards_are_the_run_of_one_process(tmp_path: Any, keywords: Any) -> None:
    task, model = pk.task("sentiment"), pk.load("fake", batch_tokens=600)
    whole = evaluate(predictors(model, keywords), task, limit=8, out=tmp_path / "whole")
    shards = [
        pk.evaluate_shard(predictors(model, keywords), task, pk.Shard(number, 2), limit=8, out=tmp_path / f"{number}")
        for number in (1, 2)
    ]
    merged = pk.merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert (merged.path / "samples.jsonl").read_bytes() == (whole.path / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(("name", "template"), [("sentiment", "sentiment/review"), ("capitals", "facts/capital")])
@pytest.mark.parametrize("cot", [pk.cot.zero_shot(max_tokens=4), pk.cot.least_to_most(max_tokens=4)])
def test_a_run_keeps_each_row_s_reasoning_and_is_read_again(tmp_path: Any, name: str, template: str, cot: Any) -> None:
    task = pk.task(name)
    prompt = pk.Prompt(template, demos=pk.demos.first(k=1), cot=cot)
    predictor = pk.Predictor(pk.load("fake"), prompt, reading(task))
    run = evaluate(predictor, task, limit=4, out=tmp_path)
    samples = run.path / "samples.jsonl"
    for line in map(json.loads, samples.read_text().splitlines()):
        assert line["reasoning"].startswith((f" {cot.trigger}", f" {cot.answer_trigger}"))
        assert line["reasoning"].endswith(cot.answer_trigger)
    whole = samples.read_bytes()
    samples.write_bytes(whole.replace(b"Therefore", b"Hence", 1))
    (run.path / "summary.json").unlink()
    again = evaluate(predictor, task, limit=4, out=tmp_path)
    assert samples.read_bytes() == whole
    assert again.notes[-1] == "1 of 1 answers were taken from the score cache"
