"""Needs of aligners that an image classifier meets: its classes, its features, and the names of its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.align.labelmap.full import HAND_WRITTEN_WEIGHT
from promptkit.analysis.realign import align
from promptkit.collect.fit_data import StoredAnswers
from promptkit.collect.read_outputs import from_bytes
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.needs import FitData
from promptkit.core.registry import build
from promptkit.core.requests import Classify, Read, Request
from promptkit.evaluation.evaluate import evaluate
from promptkit.needs.hidden_states import HiddenState
from promptkit.needs.name_vectors import NameVectors
from promptkit.needs.source_logprobs import SourceLogprobs, distinct_names
from promptkit.runs.finished import read_rows
from tests.models.vision.tiny import NAMES, convolutional
from tests.support.errors import refused
from tests.support.image_runs import CLASSES, LABELS, Brightness, write_task
from tests.support.probe_runs import contents
from tests.support.runs import Killed

SPELLINGS = [
    *("blm+:per_class=3", "frequency:per_class=2", "linear:on=tokens:per_class=3", "knn:per_class=2"),
    *("hidden:per_class=3", "linear:per_class=3:layer=0", "prototypical:per_class=3:layer=-1", "semantic:encoder=fake"),
]
HAND_WRITTEN = {"dark": ["boat", "tree"], "light": ["cat", "dog"]}
KEYS = {"id", "gold", "skipped", "no_answer", "logprobs", "demos"}


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    return write_task(tmp_path / "task")


def branches(model: Any, *spellings: str, **classes: Any) -> list[pk.Predictor]:
    aligners = [build("calibration", CALIBRATIONS, spelling) for spelling in spellings]
    return [pk.Predictor(model, Brightness(), [pk.Classes(LABELS, **classes), aligner]) for aligner in aligners]


def run(task: pk.Task, out: Path, *spellings: str, model: Any = None) -> pk.Run:
    return evaluate(branches(model or convolutional(batch_size=4), *spellings), task, limit=12, out=out, cache=False)


def stored(finished: pk.Run, *spellings: str, **classes: Any) -> StoredAnswers:
    _, samples, support = read_rows(finished.path, KEYS)
    reads = from_bytes((finished.path / "outputs.safetensors").read_bytes())[0]
    return StoredAnswers(
        [predictor.chain for predictor in branches(convolutional(), *spellings, **classes)], samples, support, reads
    )


def metrics(results: Any) -> dict[str, Any]:
    return {result.align: result.metrics for result in results}


def test_stored_classes_and_features_equal_the_outputs_of_the_model(task: pk.Task, tmp_path: Path) -> None:
    finished, model = run(task, tmp_path, *SPELLINGS), convolutional()
    answers = stored(finished, *SPELLINGS)
    rows = {row.id: row for row in (*task.rows("test"), *task.part("fit"))}
    ids: Any = answers.metadata["rows"]
    assert len(ids) > len(finished.ids)
    bound = branches(model, "blm")[0].bind(task)
    prompts = bound.encode([rows[record.removeprefix("fit ")].unlabeled() for record in ids])
    verbs = (Classify(), Read(hidden_layer=0), Read(hidden_layer=-1), Read(hidden_layer=round(0.6 * model.card.depth)))
    requests = [prompt.request(verb) for verb in verbs for prompt in prompts]
    answered = dict(pair for batch, outputs in model.answer(requests) for pair in zip(batch, outputs, strict=True))
    outputs, count = answers.outputs(ids), len(ids)
    for need in answers.needs:
        if isinstance(need, SourceLogprobs):
            assert need.load(answers) == NAMES
            expected = [answered[index].logprobs.numpy() for index in range(count)]
            np.testing.assert_allclose(outputs[need], expected, atol=1e-5)
    for number, layer in enumerate((0, -1, 0.6), start=1):
        expected = [answered[number * count + index].hidden.numpy() for index in range(count)]
        np.testing.assert_allclose(outputs[HiddenState(layer)], expected, atol=1e-5)


def test_probes_and_label_maps_predict_without_label_scores(task: pk.Task, tmp_path: Path) -> None:
    finished = run(task, tmp_path, *SPELLINGS)
    predictions = {result.align: {*result.predictions} for result in finished.results}
    assert len(predictions) == len(SPELLINGS)
    assert predictions["linear:per_class=3:layer=0"] == {"dark"}, "all evaluated rows are as dark as the dark train rows"
    assert all(np.isfinite(result.logprobs).all() for result in finished.results)


def test_a_finished_run_is_aligned_again_and_other_maps_need_no_new_run(task: pk.Task, tmp_path: Path) -> None:
    finished = run(task, tmp_path, *SPELLINGS)
    again = align(finished.path, ",".join(SPELLINGS))
    assert not again.unavailable
    assert {name: metric for name, metric in metrics(again.results).items() if name != "classes"} == metrics(finished.results)
    spellings = ["blm:per_class=1", "iterative:per_class=3", "hidden:layer=1", "frequency:per_class=3:per_label=3"]
    other = align(finished.path, ",".join(spellings))
    assert [(item.code, item.fields) for item in other.unavailable] == [
        ("missing-hidden-states", {"layer": 1}),
        ("too-few-source-classes", {"labels": 2, "needed": 6, "given": 4}),
    ]


def test_an_interrupted_run_continues_to_the_same_bytes(task: pk.Task, tmp_path: Path) -> None:
    whole = run(task, tmp_path / "whole", *SPELLINGS)
    model = convolutional(batch_size=4)
    original = model.answer

    def answer(requests: Any, done: Any = frozenset()) -> Any:
        for number, batch in enumerate(original(requests, done)):
            if number == 3:
                raise Killed
            yield batch

    model.answer = answer  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(task, tmp_path / "killed", *SPELLINGS, model=model)
    assert contents(run(task, tmp_path / "killed", *SPELLINGS)) == contents(whole)


def test_names_are_embedded_by_the_encoder(task: pk.Task, tmp_path: Path) -> None:
    answers = stored(run(task, tmp_path, "semantic:encoder=fake"), "semantic:encoder=fake")
    (need,) = (need for need in answers.needs if isinstance(need, NameVectors))
    vectors, encoder = need.load(answers), pk.load("fake")
    texts = [*NAMES, *LABELS]
    requests = [Request(input=TextInput(ids=(256, *text.encode())), verb=Read(hidden_layer=-1, mean_from=1)) for text in texts]
    answered = dict(pair for batch, outputs in encoder.answer(requests) for pair in zip(batch, outputs, strict=True))
    expected = [answered[index].hidden.numpy() for index in range(len(texts))]
    np.testing.assert_allclose(np.vstack([vectors.sources, vectors.labels]), expected, rtol=1e-6)


def test_classes_that_were_written_by_hand_need_no_encoder(task: pk.Task, tmp_path: Path) -> None:
    predictors = branches(convolutional(), "semantic:per_class=1", "semantic:per_class=1:per_label=2", classes=HAND_WRITTEN)
    finished = evaluate(predictors, task, limit=12, out=tmp_path, cache=False)
    answers = stored(finished, "semantic:per_class=1", "semantic:per_class=1:per_label=2", classes=HAND_WRITTEN)
    values = {need: need.load(answers) for need in answers.needs}
    data = FitData(labels=LABELS, items=answers.outputs(answers.evaluated), values=values)
    one, two = (predictor.chain.calibration.fit(data).label_map.table() for predictor in predictors)  # type: ignore[union-attr]
    assert one == {"dark": {"boat": 1.0}, "light": {"cat": 1.0}}
    assert two == {"dark": {"boat": 0.5, "tree": 0.5}, "light": {"cat": 0.5, "dog": 0.5}}
    again = align(finished.path, "semantic:per_class=1")
    assert metrics(again.results)["semantic:per_class=1"] == metrics(finished.results)["semantic:per_class=1"]


def test_the_full_map_is_pulled_towards_all_hand_written_classes(task: pk.Task, tmp_path: Path) -> None:
    spelling = "full:per_class=0:towards=semantic"
    predictors = branches(convolutional(), spelling, classes=HAND_WRITTEN)
    answers = stored(evaluate(predictors, task, limit=12, out=tmp_path, cache=False), spelling, classes=HAND_WRITTEN)
    values = {need: need.load(answers) for need in answers.needs}
    data = FitData(labels=LABELS, items=answers.outputs(answers.evaluated), values=values)
    table = predictors[0].chain.calibration.fit(data).label_map.table()  # type: ignore[union-attr]
    half = pytest.approx(HAND_WRITTEN_WEIGHT / 2)
    assert table == {"dark": {"boat": half, "tree": half}, "light": {"cat": half, "dog": half}}


@pytest.mark.parametrize(
    ("collected", "other"),
    [
        ("full:towards=semantic:per_class=3", ("semantic:per_class=1", "full:per_class=0:towards=semantic")),
        ("semantic:encoder=fake:per_class=3", ("semantic:encoder=fake:per_class=1",)),
    ],
)
def test_names_are_read_once_for_any_number_of_labeled_rows(
    task: pk.Task, tmp_path: Path, collected: str, other: tuple[str, ...]
) -> None:
    classes: dict[str, Any] = {} if "encoder" in collected else {"classes": HAND_WRITTEN}
    finished = evaluate(branches(convolutional(), collected, **classes), task, limit=12, out=tmp_path, cache=False)
    again = align(finished.path, ",".join(other))
    assert not again.unavailable
    alone = evaluate(branches(convolutional(), *other, **classes), task, limit=12, out=tmp_path / "alone", cache=False)
    predictions = {result.align: result.predictions for result in again.results if result.align != "classes"}
    assert predictions == {result.align: result.predictions for result in alone.results}


def test_repeated_names_are_numbered() -> None:
    assert distinct_names(["crane", "cat", "crane"]) == ["crane (0)", "cat", "crane (2)"]


@pytest.mark.parametrize(
    ("spelling", "code", "fields"),
    [
        ("semantic", "needs-encoder", {}),
        ("frequency:per_label=3", "too-few-source-classes", {"labels": 2, "needed": 6, "given": 4}),
        ("blm:tokens=50", "option-not-applicable", {"option": "tokens", "value": 50}),
        ("full:tokens=600", "option-not-applicable", {"option": "tokens", "value": 600}),
        ("knn:tokens=50", "option-not-applicable", {"option": "tokens"}),
        ("linear:on=tokens:tokens=50", "option-not-applicable", {"option": "tokens"}),
        ("hidden:layer=9", "unknown-layer", {"layer": 9}),
    ],
)
def test_needs_that_an_image_classifier_cannot_meet_are_refused(
    task: pk.Task, tmp_path: Path, spelling: str, code: str, fields: Any
) -> None:
    with refused(InputError, code, **fields):
        run(task, tmp_path, spelling)


@pytest.mark.parametrize("spelling", ["contextual", "domain", "pmi"])
def test_needs_of_texts_are_refused_for_images(spelling: str) -> None:
    with refused(Unsupported, "needs-text-model", aligner=spelling):
        branches(convolutional(), spelling, classes=CLASSES)
