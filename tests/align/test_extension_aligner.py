"""A first aligner, an extraction and a calibration that are defined here: nothing of promptkit knows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.candidates import CandidateScorer
from promptkit.align.chain import chain_from_settings
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.extract.base import Extraction
from promptkit.analysis.realign import align
from promptkit.cli.main import app
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.calibration import Fitted
from promptkit.core.class_table import ClassTable
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.model import TextCard
from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Read, ReadOutput, Score
from tests.support.errors import refused
from tests.support.runs import Killed, contents, killed_after, lines

WORDS = {"negative": " bad", "positive": " good"}


class FirstTokens(CandidateScorer):
    """Scores each label by the first token of its word alone, which a model returns without scoring the whole word."""

    name: ClassVar[str] = "first-tokens"
    verb = "Read"

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words, self.labels = dict(words), tuple(words)
        self._tokens: tuple[int, ...] = ()

    def settings(self) -> Mapping[str, object]:
        return {"name": self.name, "words": self._words}

    def label_words(self) -> Mapping[str, str]:
        return self._words

    def candidates(self, example: Example) -> tuple[str, ...]:
        return self.labels

    def words(self, example: Example) -> tuple[str, ...]:
        return ()

    def for_model(self, card: object) -> Self:
        assert isinstance(card, TextCard)
        bound = type(self)(self._words)
        bound._tokens = tuple(card.tokenizer.encode(word.strip()).ids[0] for word in self._words.values())
        return bound

    def request(self, example: Example, rendered: Rendered) -> Read:
        return Read(token_ids=self._tokens)

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...]:
        assert isinstance(output, ReadOutput)
        return output.logprobs

    def record_scores(self, rendered: Rendered, output: Output) -> AnswerRecord:
        return {}

    def has_details(self, record: Mapping[str, object]) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class LastWord(Extraction):
    """Extracts the last word of a text."""

    lower: bool = False
    """Whether it is converted to lower case."""
    name: ClassVar[str] = "last_word"

    def find(self, text: str, choices: Any = ()) -> str | None:
        words = text.split()
        return (words[-1].lower() if self.lower else words[-1]) if words else None


@dataclass(frozen=True, kw_only=True)
class Sharpen:
    """Multiplies label log-probabilities by a constant."""

    power: float = 2.0
    """The constant; a negative one predicts the least likely label."""
    name: ClassVar[str] = "sharpen"
    needs: ClassVar[Needs] = ()

    def fit(self, data: FitData) -> Fitted:
        return Sharpened(self.power)


@dataclass(frozen=True)
class Sharpened:
    """The fitted calibration."""

    power: float

    def apply(self, outputs: Outputs) -> Any:
        return outputs.logprobs * self.power


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (CALIBRATIONS, EXTRACTIONS, FIRST_ALIGNERS):
        monkeypatch.setattr(table, "_entries", dict(table))
    pk.calibrate.register(Sharpen)
    pk.extract.register(LastWord)
    FIRST_ALIGNERS.register(FirstTokens)


def predictors(model: Any = None) -> list[pk.Predictor]:
    prompt, reader = pk.Prompt("sentiment/review", demos=pk.demos.balanced(k=2)), FirstTokens(WORDS)
    chains: list[Any] = [reader, [reader, Sharpen(power=-1.0)], [reader, pk.calibrate.Batch(rows=16)]]
    loaded = model or pk.load("fake", batch_tokens=600)
    return [pk.Predictor(loaded, prompt, chain) for chain in chains]


def invoke(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


# ---- a first aligner --------------------------------------------------------------------------------


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


# ---- calibrations and extractions by name -----------------------------------------------------------


def test_a_calibration_is_used_from_everywhere(tmp_path: Path) -> None:
    words = ["eval", "sentiment", "--model", "fake", "--shots", "0", "--limit", "8", "--no-cache", "--out", str(tmp_path)]
    printed = invoke(*words, "--calibrate", "sharpen:power=-1")
    assert [result["align"] for result in printed["results"]] == ["verbalizer", "sharpen:power=-1.0"]
    file = tmp_path / "eval.yaml"
    file.write_text("{task: sentiment, model: fake, shots: 0, limit: 8, calibrate: {sharpen: {power: -1}}}")
    run = pk.EvalConfig.from_yaml(file).run(out=tmp_path, cache=False)
    assert str(run.path) == printed["run"]
    config = pk.EvalConfig(task="sentiment", model="fake", shots=0, limit=8, calibrate=[Sharpen(power=-1.0)])
    assert config.run(out=tmp_path, cache=False).path == run.path
    assert run.results[1].logprobs.tolist() == (-run.results[0].logprobs).tolist()
    (_, sharpened) = invoke("align", str(run.path), "--calibrate", "sharpen:power=-1")["results"]
    assert sharpened["metrics"] == printed["results"][1]["metrics"]


def test_an_extraction_is_used_from_everywhere(tmp_path: Path) -> None:
    words = ["eval", "arithmetic", "--model", "fake", "--shots", "0", "--limit", "4", "--no-cache", "--out", str(tmp_path)]
    printed = invoke(*words, "--extract", "last_word:lower=true", "--max-tokens", "8")
    assert [result["align"] for result in printed["results"]] == ["last_word"]
    file = tmp_path / "eval.yaml"
    file.write_text("{task: arithmetic, model: fake, shots: 0, limit: 4, max_tokens: 8, extract: {last_word: {lower: true}}}")
    run = pk.EvalConfig.from_yaml(file).run(out=tmp_path, cache=False)
    assert str(run.path) == printed["run"]
    for record in lines(run):
        (text,) = record["generations"]
        assert text["answer"] == (text["text"].split()[-1].lower() if text["text"].split() else None)
    shown = " ".join(CliRunner().invoke(app, ["eval", "--help"]).output.split())
    assert "last_word" in shown
    assert "sharpen" in shown


def test_classes_that_cannot_be_registered_are_refused() -> None:
    table: ClassTable[OutputReader] = ClassTable("first aligner", (FirstTokens,), group="promptkit.none", has_keywords=False)

    class Nameless(FirstTokens):
        pass

    with refused(InputError, "incomplete-class", name="Nameless"):
        table.register(Nameless)
    assert dict(table) == {"first-tokens": FirstTokens}
