"""Data that calibrations are fitted on: labels and words of the fit part only, and the premise."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.analysis.realign import align
from promptkit.collect.requirements import fit_part, select_fit_rows
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.hashing import short_hash
from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.evaluation.evaluate import evaluate
from promptkit.evaluation.fit_warnings import ClassSkew, class_skew
from promptkit.models.fake import FakeModel
from promptkit.needs.content_free import ContentFree, RandomWords
from promptkit.needs.fit_rows import FitLabels, FitRows
from promptkit.needs.labeled_rows import LabeledRows, draw_per_class
from promptkit.needs.premise import Premise
from tests.support.calibrations import ONE_LABEL
from tests.support.errors import refused

WORDS = {"no": "bad", "yes": "good"}
WORDS_OF_SENTIMENT = {"negative": "Negative", "positive": "Positive"}
ROWS = 60
BAGS = (RandomWords(0, 0), RandomWords(0, 1), RandomWords(1, 0))


@dataclass(frozen=True)
class Spy:
    """A calibration that records the data it is fitted on."""

    rows: int = 8
    name: ClassVar[str] = "spy"
    seen: ClassVar[list[FitData]] = []

    @property
    def needs(self) -> Needs:
        return (FitLabels(self.rows), *map(ContentFree, BAGS), Premise())

    def fit(self, data: FitData) -> Spy:
        self.seen.append(data)
        return self

    def apply(self, outputs: Outputs) -> Any:
        return outputs.logprobs


def write_task(folder: Path, *, flipped: bool = False, backwards: bool = False) -> pk.Task:
    """Every fifth test row is also a train row."""
    texts = [f"{'one two three ' * (i % 3)}train{i}" for i in range(ROWS)]
    train = [{"text": text, "label": "yes" if i % 2 else "no"} for i, text in enumerate(texts)]
    test = [{"text": texts[i] if i % 5 == 0 else f"test{i}", "label": "no" if i % 2 else "yes"} for i in range(ROWS)]
    if flipped:
        test = [{**row, "label": "yes" if row["label"] == "no" else "no"} for row in test]
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train[::-1] if backwards else train), ("test", test)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"text": "text"}, "label": "label"}
    spec = {"description": "d", "template": "sentiment/review", "labels": WORDS, "sources": [source]}
    (folder / "task.yaml").write_text(json.dumps(spec))
    return pk.task(folder / "task.yaml")


def fitted(
    task: pk.Task, out: Path, *, rows: int = 8, limit: int = 20, **prompt: Any
) -> tuple[FitData, tuple[Outputs, Any], pk.Run]:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", **prompt), [pk.Verbalizer(WORDS), Spy(rows)])
    run = evaluate(predictor, task, limit=limit, out=out, cache=False)
    labeled = Spy.seen[-1][FitLabels(rows)]
    return Spy.seen[-1], (labeled.outputs, labeled.gold), run


def lines(run: pk.Run) -> dict[str, Any]:
    return {line["id"]: line for line in map(json.loads, (run.path / "support.jsonl").read_text().splitlines())}


def test_fits_use_only_labels_of_the_fit_part(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task")
    _, (rows, labels), run = fitted(task, tmp_path, rows=1000)
    part = {row.id: row for row in task.part("fit")}
    read = [name.removeprefix("fit ") for name in lines(run) if name.startswith("fit ")]
    assert sorted(read) == sorted(part)
    tested = {row.id for row in task.rows("test")}
    assert 0 < len(tested & part.keys()) < len(part), "the task has no row in both splits"
    assert labels.tolist() == [-1 if row in tested else list(WORDS).index(part[row].label) for row in read]
    assert len(rows.logprobs) == len(labels)


def test_labels_of_test_rows_do_not_change_fit_data(tmp_path: Path) -> None:
    one, other = (
        fitted(write_task(tmp_path / str(flipped), flipped=flipped), tmp_path / str(flipped), rows=1000)
        for flipped in (False, True)
    )
    assert one[2].gold != other[2].gold
    np.testing.assert_equal(one[1][1], other[1][1])
    np.testing.assert_array_equal(one[1][0].logprobs, other[1][0].logprobs)
    np.testing.assert_array_equal(one[0].items.logprobs, other[0].items.logprobs)
    assert (one[2].path / "support.jsonl").read_bytes() == (other[2].path / "support.jsonl").read_bytes()
    assert {field for field in Outputs.__slots__ if "label" in field or "gold" in field} == set()


def test_fit_data_does_not_depend_on_the_limit_or_the_order_of_a_file(tmp_path: Path) -> None:
    subset = fitted(write_task(tmp_path / "a"), tmp_path / "a", limit=5)
    many = fitted(write_task(tmp_path / "b", backwards=True), tmp_path / "b", limit=30)
    np.testing.assert_array_equal(subset[1][1], many[1][1])
    np.testing.assert_array_equal(subset[1][0].logprobs, many[1][0].logprobs)
    for item in map(ContentFree, BAGS):
        np.testing.assert_array_equal(subset[0][item], many[0][item])


def prompts(task: pk.Task, out: Path, **prompt: Any) -> dict[str, str]:
    """Id of each record in support.jsonl -> its prompt."""
    prompt_texts: dict[str, str] = {}
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", **prompt), [pk.Verbalizer(WORDS), Spy()])
    original = predictor.model.answer

    def answer(requests: Any, done: Any = frozenset()) -> Any:
        for request in requests:
            text = bytes(i for i in request.input.ids if i < 256).decode()
            prompt_texts[short_hash(request.input.fingerprint())] = text
        return original(requests, done)

    predictor.model.answer = answer
    run = evaluate(predictor, task, limit=20, out=out, cache=False)
    return {name: prompt_texts[record["prompt_hash"]] for name, record in lines(run).items()}


def test_random_words_are_words_of_the_fit_part_as_many_as_a_row_has_on_average(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task")
    prompt_texts = prompts(task, tmp_path)
    words = [row.inputs["text"].split() for row in task.part("fit")]
    bags = [
        text.removeprefix("Decide whether each review is bad or good.\n\nReview: ") for text in list(prompt_texts.values())[:3]
    ]
    assert len(set(bags)) == 3
    for bag in bags:
        drawn = bag.removesuffix("\nSentiment:").split(" ")
        assert set(drawn) <= {word for row in words for word in row}
        assert len(drawn) == round(sum(map(len, words)) / len(words))


@pytest.mark.parametrize("instruction", [None, "Say it."])
def test_the_premise_is_the_end_of_the_prompt(tmp_path: Path, instruction: str | None) -> None:
    prompt_texts = prompts(write_task(tmp_path / "task"), tmp_path, demos=pk.demos.First(k=2), instruction=instruction)
    assert prompt_texts["premise"] == "\nSentiment:"
    assert prompts(write_task(tmp_path / "task"), tmp_path, chat=True)["premise"] == "user\nSentiment:\nassistant\n"


def test_a_prompt_with_a_chain_of_thought_has_no_premise(tmp_path: Path) -> None:
    with refused(Unsupported, "no-premise", option="cot"):
        fitted(write_task(tmp_path / "task"), tmp_path, cot=pk.cot.ZeroShot(max_tokens=4))


def test_many_contexts_cause_a_warning_before_the_model_is_queried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = write_task(tmp_path / "task")
    with caplog.at_level(logging.WARNING):
        fitted(task, tmp_path, demos=pk.demos.First(k=2))
        assert not caplog.records
        support, _, _ = fitted(task, tmp_path, demos=pk.demos.RandomEach(k=6))
    assert [record.args for record in caplog.records] == [(20, 20, 60)]
    assert support[ContentFree(RandomWords(0, 0))].shape == (20, 2)
    assert support.items.context.tolist() == [*range(20)]


def test_an_evaluated_fit_part_has_no_labels(tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), Spy()])
    with refused(InputError, "rows-are-evaluated", calibration="spy"):
        evaluate(predictor, write_task(tmp_path / "task"), split="train", out=tmp_path)


def test_a_run_of_the_fit_part_is_aligned_without_labels(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task")
    branches = [pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), pk.calibrate.Batch()])]
    actual = align(evaluate(branches, task, split="train", out=tmp_path).path)
    unavailable = {item.name for item in actual.unavailable if item.code == "rows-are-evaluated"}
    assert unavailable == {"batch-fitted", "temperature", "vector", "affine", *PROBES, *LABEL_MAPPINGS}
    assert "batch" in {result.align for result in actual.results}


def test_a_label_without_a_word_is_refused_in_the_fit_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = write_task(tmp_path / "task")
    foreign: list[LabeledExample] = [replace(row, label="maybe") for row in task.part("fit")]
    monkeypatch.setattr(pk.Task, "part", lambda self, part: foreign)
    with refused(TaskError, "label-without-word", labels=("maybe",)):
        fitted(task, tmp_path)


def test_all_calibrations_share_one_pass_and_equal_the_branch_alone(tmp_path: Path) -> None:
    model, prompt, words = pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS_OF_SENTIMENT)
    every = [CALIBRATIONS[name]() for name in ONE_LABEL]
    task = pk.task("sentiment")
    run = evaluate([pk.Predictor(model, prompt, [words, item]) for item in every], task, limit=30, out=tmp_path)
    assert [result.align for result in run.results] == [*ONE_LABEL]
    assert len(lines(run)) == 3 + 20 + 1 + len(task.part("fit"))
    for item, joint in zip(every, run.results, strict=True):
        single = evaluate(pk.Predictor(model, prompt, [words, item]), task, limit=30, out=tmp_path).results[0]
        np.testing.assert_array_equal(joint.logprobs, single.logprobs)


@pytest.mark.parametrize("on", ["fit", "test"])
def test_a_prior_estimated_on_unequal_classes_causes_a_warning(tmp_path: Path, on: Any) -> None:
    write_task(tmp_path / "task")
    for name in ("train", "test"):  # nine of ten rows are `no`
        rows = [{"text": f"{name} {i}", "label": "yes" if i % 10 == 0 else "no"} for i in range(300)]
        (tmp_path / "task" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for calibration, warned in ((pk.calibrate.Batch(estimate_on=on), True), (pk.calibrate.Temperature(), False)):
        predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), calibration])
        run = evaluate(predictor, pk.task(tmp_path / "task" / "task.yaml"), out=tmp_path)
        assert any(f"calibration {calibration.name} " in note for note in run.notes) is warned


@pytest.mark.parametrize(("labels", "rows"), [(2, 20), (2, 500), (6, 128), (77, 128), (77, 500)])
def test_equal_classes_are_rarely_reported_as_unequal(labels: int, rows: int) -> None:
    generator = np.random.default_rng(0)
    batch, prior = pk.calibrate.Batch(rows=rows), pk.calibrate.Prior(target=(1 / labels,) * labels)
    drawn = [[str(label) for label in generator.integers(labels, size=rows)] for _ in range(200)]
    assert sum(class_skew(batch, [], fit, labels) is not None for fit in drawn) <= 0.05 * len(drawn)
    skewed = ["0"] * rows
    warning = ClassSkew(calibration="batch", label="0", share=1.0)
    assert class_skew(batch, [], skewed, labels) == warning
    assert class_skew(pk.calibrate.Batch(estimate_on="test"), skewed, drawn[0], labels) == warning
    assert class_skew(prior, [], skewed, labels) is None


def test_a_calibration_that_cannot_be_fitted_is_refused_before_the_model_is_queried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = write_task(tmp_path / "task")
    monkeypatch.setattr(FakeModel, "answer", lambda *_: pytest.fail("the model was queried"))
    for calibration, code, fields in (
        (pk.calibrate.ProCa(rows=7), "too-few-rows", {"calibration": "proca", "given": 7, "needed": 8}),
        (pk.calibrate.Prior(target=(0.2, 0.3, 0.5)), "wrong-length", {"calibration": "prior", "given": 3, "needed": 2}),
    ):
        with refused(InputError, code, **fields):
            evaluate(pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), calibration]), task)


def test_rows_drawn_per_class_are_nested_and_independent_of_order(make_rows):
    rows = [(row.id, row.label) for row in make_rows(30, ("a", "a", "b"))]
    subset, many = (set(draw_per_class(count, 1, rows)) for count in (3, 15))
    assert Counter(rows[place][1] for place in subset) == {"a": 3, "b": 3}
    assert Counter(rows[place][1] for place in many) == {"a": 15, "b": 10}
    assert subset < many
    assert set(draw_per_class(3, 2, rows)) != subset
    backwards = {29 - place for place in draw_per_class(3, 1, rows[::-1])}
    assert backwards == subset


def test_evaluated_rows_are_never_drawn(make_rows):
    fit = make_rows(20)
    evaluated = fit[:12]
    drawn, part = LabeledRows(100, 0), fit_part(fit, evaluated)
    assert select_fit_rows((drawn,), part) == fit[12:]
    assert select_fit_rows((FitRows(3), drawn), part) == [*fit[:3], *fit[12:]]
