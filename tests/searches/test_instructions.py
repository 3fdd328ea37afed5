"""Tests of the instruction search with a fake model that follows some instructions better than others."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Request, Score, ScoreOutput
from promptkit.metrics.intervals import Estimate, difference, wilson
from promptkit.models.fake import FakeModel
from promptkit.runs.records import DECIMALS
from promptkit.searches import instructions as searching
from promptkit.searches.scorer import InstructionScorer
from tests.support.errors import refused

WORDS = {"no": "bad", "yes": "good"}
SKILL = {f"Obey {number}.": number / 10 for number in range(11)}
"""Instruction -> accuracy of the model; rows correct with a worse instruction are also correct with a better one."""
BLOCKS = (
    "{% block instruction %}OWN{% endblock %}{% block input %}{{ text }} ->{% endblock %}"
    "{% block target %} {{ label }}{% endblock %}"
)


def hardness(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


class Obedient(FakeModel):
    """A model that is correct on rows easier than the skill of the instruction; it counts its requests."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        super().__init__("obedient", FakeModel.Settings(batch_tokens=600))
        self.answered: Counter[str] = Counter()
        self.stop_after = stop_after

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        for indices, outputs in super().answer(requests, done):
            if self.stop_after is not None and self.answered.total() + len(indices) > self.stop_after:
                raise KeyboardInterrupt
            self.answered.update(type(requests[i].verb).__name__ for i in indices if i not in done)
            yield indices, outputs

    def _output(self, request: Request) -> Output:
        prompt = self.card.tokenizer.decode(request.input.ids).removeprefix("<bos>")
        verb = request.verb
        if isinstance(verb, Generate) and verb.temperature > 0:
            first = verb.seed % len(SKILL)
            texts = [list(SKILL)[(first + number) % len(SKILL)] for number in range(verb.n)]
            return GenerateOutput(generations=tuple(Generation(ids=(1,), text=f" {text}", ended="stop") for text in texts))
        instruction, _, query = prompt.rpartition("\n\n")
        text = query.removesuffix(" ->")
        skilled = hardness(text) < SKILL.get(instruction.partition("\n\n")[0], 0.25)
        said = TRUTH[text] if skilled else {"bad": "good", "good": "bad"}[TRUTH[text]]
        if isinstance(verb, Generate):
            return GenerateOutput(generations=(Generation(ids=(1,), text=f" {said}", ended="stop"),))
        assert isinstance(verb, Score)
        words = [self.card.tokenizer.decode(ids).strip() for ids in verb.continuations]
        likely = [-1.0 if word == said else -2.0 for word in words]
        return ScoreOutput(
            logprobs=tuple((x, *[0.0] * (len(ids) - 1)) for x, ids in zip(likely, verb.continuations, strict=True))
        )


ROWS = [
    {"text": f"row {number}", "label": ("no", "yes")[number % 2], "word": ("bad", "good")[number % 2]} for number in range(400)
]
TRUTH = {str(row["text"]): str(row["word"]) for row in ROWS}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split, rows in (("train", ROWS[:300]), ("test", ROWS[300:])):
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    Path("t.j2").write_text(BLOCKS, "utf-8")
    kinds: dict[str, dict[str, Any]] = {
        "labels": {"labels": WORDS, "label": "label"},
        "texts": {"answer": "first_line", "label": "word"},
    }
    for name, kind in kinds.items():
        files = {"train": "train.jsonl", "test": "test.jsonl"}
        source = {"files": files, "inputs": {"text": "text"}, "label": kind.pop("label")}
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"description": "x", "template": "t.j2", **kind, "sources": [source]}))


def predictor(task: pk.Task, model: Any = None, **prompt: Any) -> pk.Predictor:
    reading = pk.Verbalizer(WORDS) if task.labels else pk.extract.first_line()
    return pk.Predictor(model or Obedient(), pk.Prompt(task.spec.template, **prompt), reading)


def search(kind: str = "labels", model: Any = None, task: Any = None, **keywords: Any) -> pk.SearchResult:
    loaded = task or pk.task(f"{kind}.yaml")
    return pk.search(predictor(loaded, model), loaded, **{"candidates": 16, **keywords})


def standings(actual: pk.SearchResult) -> list[Any]:
    return [(rung.rows, list(rung.standings.items())) for rung in actual.rungs]


# ---- results ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "texts"])
@pytest.mark.parametrize("method", ["ape", "opro", "list"])
@pytest.mark.parametrize("by", ["accuracy", "logprob"])
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
    assert actual.instruction == max(every, key=lambda text: every[text].accuracy) == best
    assert (
        actual.on_dev.value
        == every[best].accuracy
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
            assert f"Instruction: {text}\nScore: {round(100 * score.accuracy)}\n" in prompts[1]


# ---- scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["sentiment", "capitals", "arithmetic"])
@pytest.mark.parametrize("shots", [0, 2])
def test_scores_equal_a_run(task: str, shots: int, tmp_path: Path) -> None:
    from promptkit.align.chain import reader_for

    loaded, model = pk.task(task), pk.load("fake")
    prompt = pk.Prompt(loaded.spec.template, demos=pk.demos.random(k=shots))
    base = pk.Predictor(model, prompt, reader_for(loaded))
    rows = searching.by_hash(loaded.rows("test"), 12)
    scorer = InstructionScorer(base, prompt, loaded, rows, None)
    subset, scores = scorer(["Say it."], 5), scorer(["Say it.", ""], 12)
    assert subset == InstructionScorer(base, prompt, loaded, rows, None)(["Say it."], 5)
    for text, score in zip(["Say it.", ""], scores, strict=True):
        exchanged = pk.Predictor(model, replace(prompt, instruction=text), base.reader)
        run = pk.evaluate(exchanged, loaded, limit=12, out=tmp_path)
        assert score.accuracy == pytest.approx(run.results[0].correct.mean())
        if loaded.labels:
            golds = [run.results[0].logprobs[index, run.labels.index(gold)] for index, gold in enumerate(run.gold)]
            assert score.logprob == pytest.approx(sum(golds) / 12, abs=10**-DECIMALS)


def test_the_log_probability_of_a_correct_text_equals_the_model_output() -> None:
    loaded, model = pk.task("capitals"), pk.load("fake")
    prompt = pk.Prompt("facts/capital", instruction="Well.")
    (row,) = searching.by_hash(loaded.rows("test"), 1)
    ((_, logprob),) = InstructionScorer(pk.Predictor(model, prompt, pk.extract.first_line()), prompt, loaded, [row], None)(
        ["Well."], 1
    )
    ids = model.card.tokenizer.bos + tuple(f"Well.\nThe capital of {row.inputs['place']} is".encode())
    assert isinstance(model, FakeModel)
    expected = 0.0
    for token in f" {row.label}.".encode():
        expected += model._next(ids)[token]
        ids += (token,)
    assert logprob == pytest.approx(expected, abs=10**-DECIMALS)


# ---- data access ------------------------------------------------------------------------------------


class RecordingExample(LabeledExample):
    """Records each access to its answer."""

    read: ClassVar[list[tuple[str, str]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("label", "accepted"):
            part = object.__getattribute__(self, "rationale")["part"]
            RecordingExample.read.append((part, object.__getattribute__(self, "id")))
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", ["labels", "texts"])
def test_each_stage_reads_only_the_labels_of_its_part(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spied(row: LabeledExample, part: str) -> LabeledExample:
        return RecordingExample(id=row.id, inputs=row.inputs, label=row.label, accepted=row.accepted, rationale={"part": part})

    full = pk.Task
    part, rows, compare, propose = full.part, full.rows, searching.compare, searching._proposer
    monkeypatch.setattr(full, "part", lambda self, name: [spied(row, name) for row in part(self, name)])
    monkeypatch.setattr(full, "rows", lambda self, split: [spied(row, split) for row in rows(self, split)])
    seen: dict[str, set[str]] = {}

    def until(stage: str) -> None:
        seen[stage] = {part for part, _ in RecordingExample.read}
        RecordingExample.read.clear()

    def proposing(*args: Any) -> Any:
        until("before")
        result = propose(*args)
        until("pairs")
        return result

    def comparing(*args: Any, **options: Any) -> Any:
        until("choice")
        result = compare(*args, **options)
        until("confirmation")
        return result

    monkeypatch.setattr(searching, "_proposer", proposing)
    monkeypatch.setattr(searching, "compare", comparing)
    RecordingExample.read.clear()
    search(kind, method="opro")
    assert seen == {"before": set(), "pairs": {"pool"}, "choice": {"dev"}, "confirmation": {"test"}}


@pytest.mark.parametrize("method", ["ape", "opro"])
def test_test_labels_change_only_the_confirmation(method: Any) -> None:
    before = search(method=method)
    flipped = [{**row, "label": {"no": "yes", "yes": "no"}[str(row["label"])]} for row in ROWS[300:]]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flipped), "utf-8")
    after = search(method=method)
    assert standings(after) == standings(before)
    assert after.held_out.value == pytest.approx(1 - before.held_out.value)


def test_rows_of_the_evaluated_split_are_not_used_before_the_confirmation() -> None:
    shared = pk.task("labels.yaml").part("dev")[:20]
    kept = [{"text": row.inputs["text"], "label": row.label} for row in shared]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS[300:], *kept]), "utf-8")
    task = pk.task("labels.yaml")
    actual = search(task=task)
    assert actual.settings["dev_rows"] == len(task.part("dev")) - 20
    dev_rows = len(task.part("dev"))
    with refused(TaskError, "rows-are-evaluated", task="labels", part="dev", rows=dev_rows):
        search(split="train")


# ---- cache -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "texts"])
@pytest.mark.parametrize("method", ["ape", "opro"])
def test_a_repeated_search_does_not_query_the_model(kind: str, method: Any) -> None:
    first, again = Obedient(), Obedient()
    before, after = search(kind, first, method=method), search(kind, again, method=method)
    assert first.answered.total() > 0
    assert again.answered.total() == 0
    assert after.to_json() == before.to_json()
    other = search(kind, Obedient(), method=method, seed=1)
    assert other.origins != before.origins


@pytest.mark.parametrize("stop_after", [0, 12, 200, 500, 640])
def test_an_interrupted_search_continues_where_it_stopped(
    stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Obedient()
    expected = search("texts", full, out=tmp_path / "whole")
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "others.sqlite"))
    broken, later = Obedient(stop_after=stop_after), Obedient()
    with pytest.raises(KeyboardInterrupt):
        search("texts", broken, out=tmp_path / "broken")
    actual = search("texts", later, out=tmp_path / "broken")
    assert standings(actual) == standings(expected)
    assert actual.comparison.to_json() == expected.comparison.to_json()
    assert (broken.answered.total() > 0) == (stop_after > 0)
    assert later.answered.total() == full.answered.total() - broken.answered.total()


def test_without_cache_the_result_is_the_same_and_nothing_is_stored() -> None:
    first, again = Obedient(), Obedient()
    before, after = search(model=first, cache=False, out="one"), search(model=again, cache=False, out="other")
    assert again.answered == first.answered
    assert standings(after) == standings(before)


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
    base = predictor(loaded, Counting(), demos=pk.demos.random(k=shots))
    assert isinstance(base.manipulate, pk.Prompt)
    scorer = InstructionScorer(base, base.manipulate, loaded, loaded.part("dev"), None)
    scores = scorer(["Obey 9.", "Obey 1.", ""], 20)
    assert (len(call_sizes), sum(call_sizes)) == (calls, 60)
    assert scores == [scorer([text], 20)[0] for text in ("Obey 9.", "Obey 1.", "")]


# ---- estimates -------------------------------------------------------------------------------------


def test_optimism_is_the_dev_score_minus_the_held_out_score() -> None:
    actual = search()
    record = json.loads(json.dumps(actual.to_json()))
    last = record["rungs"][-1]
    best = last["instructions"][0]
    assert best["instruction"] == record["instruction"] == actual.instruction
    assert record["dev"]["value"] == best["accuracy"] == actual.on_dev.value
    assert record["held_out"] == record["comparison"]["branches"][1]["accuracy"]
    assert record["optimism"]["value"] == best["accuracy"] - record["held_out"]["value"]
    assert f"{actual.on_dev.value:.3f} on dev" in str(actual)
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


# ---- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "code", "fields"),
    [
        ({"method": "appe"}, "unknown-name", {"kind": "method of search", "name": "appe", "close": ["ape"]}),
        ({"by": "acuracy"}, "unknown-name", {"name": "acuracy", "close": ["accuracy"]}),
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
    mute.verbs = frozenset({"Score"})
    with refused(Unsupported, "cannot-generate", model=mute.name):
        search(model=mute)
    assert search(model=mute, instructions=["Obey 9."]).instruction == "Obey 9."
    loaded = pk.task("labels.yaml")
    calibrated = pk.Predictor(Obedient(), pk.Prompt("t.j2"), [pk.Verbalizer(WORDS), pk.calibrate.Contextual()])
    with refused(InputError, "calibrated-predictor", predictor=calibrated.name):
        pk.search(calibrated, loaded)
