"""Needs and an aligner that are defined here, outside of promptkit.

`Reversed` asks further rows, `Punctuation` reads a token at the answer slot of every row, and `WordStates` reads hidden states
and stores numbers that are known before the model is queried. The aligner averages the label scores of a row and of its
reversed words, and adds the rest as features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.analysis.realign import align
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.inputs import TextInput
from promptkit.core.need_context import Counts, InputRead, KnownRead, NeedContext, Problem, PromptedRow, Reads, RowRead
from promptkit.core.needs import FitData, Need, Needs, Outputs, RowNeed, Stored
from promptkit.core.requests import Read, Request
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.runs.shard import Shard
from tests.support.errors import refused
from tests.support.probe_runs import contents, predictors, read_outputs, run, write_task
from tests.support.runs import Killed, killed_after
from tests.support.tables import isolate

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

SPELLINGS = ["mirrored", "mirrored:weight=0.25", "knn:per_class=2:tokens=9", "hidden:per_class=2", "contextual"]


@dataclass(frozen=True)
class Reversed(RowNeed[int]):
    """Label log-probabilities of each row with its words in reverse order, shape (rows, K). Its value is how many there are."""

    kind: ClassVar[str] = "reversed words"

    def check(self, counts: Counts, aligner: str) -> None:
        if counts.labels > 2:
            raise InputError("Only two labels", code="too-many-labels", aligner=aligner)

    @classmethod
    def further_rows(cls, needs: Sequence[Self], need_context: NeedContext) -> Sequence[PromptedRow]:
        rows = [*need_context.evaluated, *need_context.fit_rows]
        texts = [{name: " ".join(reversed(text.split())) for name, text in row.example.texts.items()} for row in rows]
        examples = [replace(row.example, inputs=inputs) for row, inputs in zip(rows, texts, strict=True)]
        rendered = need_context.encode(examples)
        return [
            PromptedRow(id=f"reversed {row.id}", example=example, rendered=prompt)
            for row, example, prompt in zip(rows, examples, rendered, strict=True)
        ]

    def load(self, stored: Stored) -> int:
        return sum(f"reversed {row}" in stored for row in stored.evaluated)

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        return stored.scores([f"reversed {record}" for record in records])

    def missing(self, stored: Stored) -> Problem | None:
        absent = [row for row in stored.evaluated if f"reversed {row}" not in stored]
        return Problem(code="missing-reversed", text="reversed rows", fields={"rows": len(absent)}) if absent else None


@dataclass(frozen=True)
class Punctuation(RowNeed[None]):
    """Log-probabilities of a mark at the answer slot of every row, shape (rows, 1)."""

    mark: str

    kind: ClassVar[str] = "punctuation"

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        ids = {need.mark: need_context.ask.card.tokenizer.encode(need.mark).ids[:1] for need in needs}
        rows = [
            RowRead(tensor=f"mark {mark}", verb=Read(token_ids=token), field="logprobs", width=1) for mark, token in ids.items()
        ]
        return Reads(metadata={"marks": [*ids]}, rows=rows)

    def load(self, stored: Stored) -> None: ...

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        return stored.tensor(f"mark {self.mark}")[stored.positions(records)].astype(float)


@dataclass(frozen=True)
class WordStates(Need["Floats"]):
    """The hidden state of each label word, and its length, shape (K, d_model + 1)."""

    kind: ClassVar[str] = "word states"

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        words, width = [*need_context.label_words.values()], need_context.ask.card.d_model
        requests = [
            Request(input=TextInput(ids=need_context.ask.card.tokenizer.encode(word).ids), verb=Read(hidden_layer=0))
            for word in words
        ]
        return Reads(
            inputs=[
                InputRead(tensor="word states", key=word, request=request, field="hidden", width=width)
                for word, request in zip(words, requests, strict=True)
            ],
            known=[KnownRead(tensor="word lengths", key=word, numbers=as_array(np.array([len(word)]))) for word in words],
        )

    def load(self, stored: Stored) -> Floats:
        return np.hstack([stored.tensor("word states"), stored.tensor("word lengths")]).astype(float)


@dataclass(frozen=True, slots=True)
class Mirror:
    weight: float
    bias: Floats

    def apply(self, outputs: Outputs) -> Floats:
        mirrored = (1 - self.weight) * outputs.logprobs + self.weight * outputs[Reversed()]
        scores: Floats = mirrored + self.bias * outputs[Punctuation("!")]
        return scores


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """Averages the scores of a row and of its reversed words."""

    weight: float = 0.5
    name: ClassVar[str] = "mirrored"
    seen: ClassVar[list[FitData]] = []

    @property
    def needs(self) -> Needs:
        return (Reversed(), Punctuation("!"), WordStates(), LabeledRows(3, 0))

    def fit(self, data: FitData) -> Mirror:
        self.seen.append(data)
        rows = data[LabeledRows(3, 0)]
        right = rows.outputs[Reversed()][np.arange(len(rows.gold)), rows.gold]
        return Mirror(self.weight, right.mean() * data[WordStates()][:, -1] / 100)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, CALIBRATIONS)
    pk.calibrate.register(Mirrored)


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    return write_task(tmp_path / "task")


def metrics(results: Sequence[Any]) -> dict[str, Any]:
    return {result.align: result.metrics for result in results}


def test_an_aligner_gets_what_its_needs_have_asked(task: pk.Task, tmp_path: Path) -> None:
    finished = run(task, tmp_path, SPELLINGS)
    data = Mirrored.seen[-1]
    assert data[Reversed()] == len(finished.ids) == len(data.items)
    model = pk.load("fake")
    bound = predictors(model, SPELLINGS)[0].bind(task)
    row = next(row for row in task.rows("test") if row.id == finished.ids[0])
    backwards = replace(row.unlabeled(), inputs={"text": " ".join(reversed(row.texts["text"].split()))})
    (request,) = bound.requests([backwards])
    ((_, (output,)),) = model.answer([request])
    np.testing.assert_allclose(data.items[Reversed()][0], [sum(tokens) for tokens in output.logprobs], atol=1e-5)
    prompt = bound.requests([row.unlabeled()])[0]
    ((_, (mark,)),) = model.answer([replace(prompt, verb=Read(token_ids=(ord("!"),)))])
    np.testing.assert_allclose(data.items[Punctuation("!")][0], mark.logprobs, atol=1e-6)
    assert data[WordStates()][:, -1].tolist() == [3, 4]
    assert read_outputs(finished).metadata["marks"] == ["!"]
    assert data[LabeledRows(3, 0)].outputs[Reversed()].shape == (6, 2)


def test_a_value_that_an_aligner_does_not_declare_is_not_there(task: pk.Task, tmp_path: Path) -> None:
    run(task, tmp_path, ["mirrored"])
    with pytest.raises(KeyError):
        Mirrored.seen[-1][LabeledRows(5, 0)]
    with pytest.raises(KeyError):
        Mirrored.seen[-1].items[Punctuation("?")]


@pytest.mark.parametrize("batches", [1, 6])
def test_an_interrupted_run_continues_to_the_same_bytes(task: pk.Task, tmp_path: Path, batches: int) -> None:
    whole = run(task, tmp_path / "whole", SPELLINGS)
    with pytest.raises(Killed):
        run(task, tmp_path / "killed", SPELLINGS, model=killed_after(batches, batch_tokens=600))
    assert contents(run(task, tmp_path / "killed", SPELLINGS)) == contents(whole)
    again = run(task, tmp_path / "whole", SPELLINGS, model=killed_after(0, batch_tokens=600))
    assert metrics(again.results) == metrics(whole.results)


def test_shards_are_merged_to_the_same_bytes(task: pk.Task, tmp_path: Path) -> None:
    whole, branches = run(task, tmp_path, SPELLINGS), predictors(pk.load("fake", batch_tokens=600), SPELLINGS)
    shards = [evaluate_shard(branches, task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False) for n in (1, 2)]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(whole)
    assert metrics(merged.results) == metrics(whole.results)


def test_a_finished_run_is_aligned_again_from_its_files(task: pk.Task, tmp_path: Path) -> None:
    finished = run(task, tmp_path, SPELLINGS)
    again = align(finished.path, ",".join(["mirrored:weight=0.25", "mirrored"]))
    assert not again.unavailable
    expected = metrics(finished.results)
    assert metrics(again.results[1:]) == {name: expected[name] for name in ("mirrored:weight=0.25", "mirrored")}


def test_a_run_without_the_need_says_what_is_missing_and_how_to_collect_it(task: pk.Task, tmp_path: Path) -> None:
    again = align(run(task, tmp_path, ["hidden:per_class=4"]).path, "mirrored")
    (unavailable,) = again.unavailable
    assert (unavailable.code, unavailable.fields) == ("missing-reversed", {"rows": 12})
    assert again.command is not None
    assert again.command.endswith("hidden:per_class=4,mirrored")


def test_a_need_refuses_a_task_before_the_model_is_queried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"a": "one", "b": "two", "c": "three"}
    lines = [{"text": f"text {i}", "label": "abc"[i % 3]} for i in range(30)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(
            "".join(json.dumps({**line, "text": split + line["text"]}) + "\n" for line in lines)
        )
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"text": "text"}, "label": "label"}
    spec = {"description": "d", "template": "sentiment/review", "labels": words, "sources": [source]}
    (tmp_path / "task.yaml").write_text(json.dumps(spec))
    model: Any = pk.load("fake")
    monkeypatch.setattr(model, "answer", lambda *_: pytest.fail("the model was queried"))
    predictor = pk.Predictor(model, pk.Prompt("sentiment/review"), [pk.Verbalizer(words), Mirrored()])
    with refused(InputError, "too-many-labels", aligner="mirrored"):
        evaluate(predictor, pk.task(tmp_path / "task.yaml"), out=tmp_path)
