"""Labels by the classes of an image classifier: the hand-written label map, its loss, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.chain import chain_from_settings, make_chain, reader_for
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.model import ImageCard
from promptkit.core.output_reader import OutputReader, Target
from promptkit.core.requests import Classify, ClassifyOutput
from tests.models.vision.tiny import convolutional
from tests.support.errors import refused
from tests.support.image_runs import Brightness
from tests.support.images import rendered_image

NAMES = ("jersey", "running shoe", "sandal", "sandal", "crane")
CARD = ImageCard(size=(8, 8), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, class_names=NAMES, layers=("pooled",), widths=(4,))
LABELS = ("shoe", "shirt")
MAP = {"shirt": "jersey", "shoe": ["running shoe", "sandal"]}
ROW = LabeledExample(id="x", inputs={}, label="shirt")
RENDERED = rendered_image(np.zeros((3, 4, 4)))
INDICES = {"shoe": [1, 2, 3], "shirt": [0]}
"""Two classes have the name sandal."""

logit = st.floats(-20, 20, width=32)


def output_of(logits: list[float]) -> ClassifyOutput:
    return ClassifyOutput(logits=as_array(logits), log_normalizer=float(np.logaddexp.reduce(np.array(logits, np.float32))))


@given(st.lists(logit, min_size=5, max_size=5), st.integers(0, 1))
def test_scores_are_the_summed_probabilities_of_the_classes(logits: list[float], gold: int) -> None:
    reader, output = pk.Classes(LABELS, classes=MAP).for_model(CARD), output_of(logits)
    total = sum(map(exp, logits))
    shares = [sum(exp(logits[index]) for index in INDICES[label]) / total for label in LABELS]
    scores = reader.scores(RENDERED, output)
    assert scores is not None
    assert [*map(exp, scores)] == pytest.approx(shares, abs=1e-5)
    for given_logits in (torch.tensor(logits), torch.tensor(logits).log_softmax(0)):
        assert reader.align_tensors([given_logits]).exp().tolist() == pytest.approx(shares, abs=1e-5)
    loss, loss_scores = reader.loss(Target(gold=gold), [torch.tensor(logits)])
    plain, plain_scores = reader.loss_of_output(Target(gold=gold), output)
    assert loss.item() == pytest.approx(plain, abs=1e-4)
    assert plain == pytest.approx(np.log(sum(shares) / shares[gold]), abs=1e-3)
    assert loss_scores is not None
    assert loss_scores.tolist() == pytest.approx(scores, abs=1e-4)
    assert plain_scores == pytest.approx(scores)


def test_records_have_scores_only_with_a_label_map() -> None:
    output = output_of([0.0, 1.0, 2.0, 3.0, 4.0])
    reader = pk.Classes(LABELS, classes=MAP).for_model(CARD)
    record = reader.record(ROW, RENDERED, output, ROW)
    assert record.keys() == {"gold", "prediction", "logprobs"}
    assert record["prediction"] == reader.prediction(ROW, RENDERED, output) == "shoe"
    assert tuple(record["logprobs"]) == LABELS
    assert reader.is_complete(record, ROW, ROW)
    assert not reader.is_complete({**record, "logprobs": {"shoe": 0.0}}, ROW, ROW)
    bare = pk.Classes(LABELS).for_model(CARD)
    assert bare.record(ROW, RENDERED, output, ROW) == {"gold": "shirt"}
    assert bare.record(ROW, RENDERED, output, None) == {}
    assert bare.scores(RENDERED, output) is None
    assert bare.is_complete({"gold": "shirt"}, ROW, ROW)
    assert not bare.is_complete({"gold": "shoe"}, ROW, ROW)
    assert bare.label_scores([{"gold": "shirt"}]).tolist() == [[0.0, 0.0]]


def test_all_classes_are_requested_and_settings_rebuild_the_aligner() -> None:
    reader = pk.Classes(LABELS, classes=MAP)
    assert isinstance(reader, OutputReader)
    assert reader.request(ROW, RENDERED) == Classify()
    assert reader.for_model(CARD).settings() == reader.settings()
    assert chain_from_settings([dict(reader.settings())]).reader.settings() == reader.settings()
    assert reader.notes() == ("label shoe: running shoe, sandal", "label shirt: jersey")
    assert pk.Classes(LABELS).notes() == ()


@pytest.mark.parametrize(
    ("classes", "code", "fields"),
    [
        ({"shoe": "sandal"}, "incomplete-label-map", {"labels": ("shirt",)}),
        ({**MAP, "hat": "crane"}, "incomplete-label-map", {"labels": ("hat",)}),
        ({**MAP, "shirt": []}, "incomplete-label-map", {"labels": ("shirt",)}),
        ({**MAP, "shirt": "sandal"}, "shared-class", {"name": "sandal", "labels": LABELS}),
    ],
)
def test_an_invalid_label_map_is_refused(classes: dict[str, str | list[str]], code: str, fields: dict[str, object]) -> None:
    with refused(InputError, code, **fields):
        pk.Classes(LABELS, classes=classes)


def test_labels_must_differ() -> None:
    with refused(InputError, "too-few-labels", labels=("a", "a")):
        pk.Classes(["a", "a"])


def test_an_unknown_class_is_refused_with_similar_names() -> None:
    with refused(InputError, "unknown-class", label="shoe", name="sandals", close=["sandal", "sandal"]):
        pk.Classes(LABELS, classes={**MAP, "shoe": "sandals"}).for_model(CARD)


def test_names_are_looked_up_when_the_predictor_is_created() -> None:
    labels = {"animal": ["cat", "dog"], "thing": ["boat", "house"]}
    with refused(InputError, "unknown-class", label="thing", name="house"):
        pk.Predictor(convolutional(), Brightness(), pk.Classes([*labels], classes=labels))


# ---- chains -----------------------------------------------------------------------------------------


def test_without_a_label_map_a_later_aligner_must_not_read_label_scores() -> None:
    with refused(InputError, "needs-label-map", aligner="classes"):
        make_chain(pk.Classes(LABELS))
    for calibration in (
        pk.calibrate.Batch(),
        pk.labelmap.Bayesian(manual=0.5),
        pk.labelmap.Bayesian(sources="words"),
        pk.labelmap.Full(towards="verbalizer"),
        pk.probes.LinearProbe(on="words"),
    ):
        with refused(Unsupported, "no-label-scores", aligner="classes", calibration=calibration.name):
            make_chain([pk.Classes(LABELS), calibration])
        assert make_chain([pk.Classes(LABELS, classes=MAP), calibration]).calibration is calibration
    for learned in (pk.labelmap.Bayesian(), pk.labelmap.Full(), pk.probes.LinearProbe(), pk.probes.PrototypicalVerbalizer()):
        assert make_chain([pk.Classes(LABELS), learned]).calibration is learned


def test_without_a_label_map_there_is_nothing_to_train() -> None:
    reader = pk.Classes(LABELS).for_model(CARD)
    with refused(Unsupported, "untrainable-aligner", aligner="classes"):
        reader.loss(Target(gold=0), [torch.zeros(5)])
    with refused(Unsupported, "untrainable-aligner", aligner="classes"):
        reader.loss_of_output(Target(gold=0), output_of([0.0] * 5))


def test_a_language_model_has_no_classes() -> None:
    with refused(Unsupported, "cannot-classify"):
        pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Classes(LABELS, classes=MAP))


# ---- tasks of images --------------------------------------------------------------------------------


def test_a_task_of_images_is_read_by_classes() -> None:
    task = pk.task("digits")
    assert reader_for(task).settings() == pk.Classes(task.labels).settings()
    with_map = task.spec.model_copy(update={"classes": {label: f"class {label}" for label in task.labels}})
    reader = reader_for(replace(task, spec=with_map))
    assert reader.settings()["classes"] == {label: [f"class {label}"] for label in task.labels}
    options: tuple[tuple[str, Any], ...] = (("score", "mean"), ("extract", "first_line"), ("max_tokens", 8))
    for option, value in options:
        with refused(InputError, "option-not-applicable", option=option, task="digits"):
            reader_for(task, **{option: value})
