"""Inputs of every modality implement one protocol, and a value of another modality raises a clear error."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import as_array, zeros
from promptkit.core.errors import Unsupported
from promptkit.core.inputs import ImageInput, Span, TextInput, image_input, text_input
from promptkit.core.interventions import HiddenEdit, InputOperation, Interventions, KVPrefix
from promptkit.core.model import image_card, text_card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Classify, Prepared, Request, Score
from tests.models.vision.tiny import convolutional
from tests.support.errors import refused

texts = st.builds(
    lambda ids, parts: TextInput(ids=tuple(ids), spans=tuple(Span(part=part, start=0, stop=1) for part in parts)),
    st.lists(st.integers(-3, 40), max_size=4),
    st.lists(st.sampled_from(["query", "instruction"]), max_size=2),
)
images = st.builds(
    lambda shape, value: ImageInput(pixels=as_array(np.full(shape, value))),
    st.sampled_from([(3, 1, 2), (3, 2, 1), (1, 2, 3), (3, 2, 2)]),
    st.sampled_from([0.0, 0.25, 1.0]),
)
inputs = st.one_of(texts, images)


@given(inputs, inputs)
def test_fingerprints_differ_exactly_if_inputs_differ(one: Any, other: Any) -> None:
    equal = one == other
    assert ((one.modality, one.fingerprint()) == (other.modality, other.fingerprint())) is equal
    assert not equal or hash(one) == hash(other)
    assert len({one, other}) == (1 if equal else 2)


@given(inputs)
def test_an_input_survives_pickling_and_has_a_cost(value: Any) -> None:
    copy = pickle.loads(pickle.dumps(value))
    assert (copy, copy.fingerprint(), hash(copy)) == (value, value.fingerprint(), hash(value))
    assert value.cost == (len(value.ids) if value.modality == "text" else 1)


@given(inputs)
def test_an_input_is_refused_as_another_modality(value: Any) -> None:
    right, wrong = (text_input, image_input) if value.modality == "text" else (image_input, text_input)
    assert right(value) is value
    with refused(Unsupported, "needs-image-input" if value.modality == "text" else "needs-text-input", modality=value.modality):
        wrong(value)


# ---- what a model reads -----------------------------------------------------------------------------------

EDIT = HiddenEdit(layer=1, operation="add", arrays=(zeros(4),), last=1)
PREFIX = KVPrefix(length=1, layers=(1,), keys=zeros(1, 1, 1, 2), values=zeros(1, 1, 1, 2))
INVERT: InputOperation[Any] = InputOperation(name="invert")


def test_interventions_are_added_after_existing_ones() -> None:
    first = Prepared(input=TextInput(ids=(1,)), interventions=Interventions(vectors=zeros(1, 4)))
    once = first.adding(edits=(EDIT,), prefixes=(PREFIX,), operations=(INVERT,))
    twice = once.adding(edits=(EDIT,))
    assert once.interventions == Interventions(vectors=zeros(1, 4), edits=(EDIT,), prefixes=(PREFIX,), operations=(INVERT,))
    assert (len(twice.interventions.edits), len(twice.interventions.prefixes)) == (2, 1)
    assert first.interventions == Interventions(vectors=zeros(1, 4))


@given(inputs)
def test_a_request_has_what_was_rendered_and_modified(value: Any) -> None:
    rendered = Rendered(input=value).modified(lambda prepared: prepared.adding(operations=(INVERT,)))
    request = rendered.request(Classify())
    assert request == Request(input=value, verb=Classify(), interventions=Interventions(operations=(INVERT,)))
    assert request.prepared.request(Classify()) == request
    assert request != Request(input=value, verb=Classify())


# ---- cards ------------------------------------------------------------------------------------------------


def test_cards_of_another_modality_are_refused() -> None:
    text, image = pk.load("fake").card, convolutional().card
    assert text_card(text) is text
    assert image_card(image) is image
    with refused(Unsupported, "needs-text-model", modality="image"):
        text_card(image)
    with refused(Unsupported, "needs-image-model", modality="text"):
        image_card(text)


@pytest.mark.parametrize("align", [pk.Verbalizer({"a": "x", "b": "y"}), pk.extract.FinalNumber()], ids=["words", "answers"])
def test_a_prompt_for_an_image_classifier_is_refused_before_weights_load(align: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = convolutional()
    monkeypatch.setattr(type(model), "load", lambda self: pytest.fail("weights loaded"))
    with refused(Unsupported, "needs-text-model", model=model.name):
        pk.Predictor(model, pk.Prompt("sentiment/review"), align)


def test_a_program_for_images_is_refused_by_a_language_model() -> None:
    words = pk.Verbalizer({"a": "x", "b": "y"})
    with refused(Unsupported, "needs-image-model", model="fake", manipulation="invert"):
        pk.Predictor(pk.load("fake"), [pk.Prompt("sentiment/review"), pk.Invert()], words)


def test_an_image_classifier_refuses_a_text() -> None:
    model = convolutional()
    with refused(Unsupported, "needs-text-model", model=model.name):
        model.check_supported([Request(input=TextInput(ids=(1,)), verb=Score(continuations=((2,),)))])
