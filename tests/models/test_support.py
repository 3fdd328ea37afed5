"""Engines support what they declare, and errors name the engines and models that can be used instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import promptkit as pk
from promptkit.cli.main import main
from promptkit.core.arrays import as_array, zeros
from promptkit.core.capabilities import FEATURES, VERBS, Capabilities, Feature, InterventionName, union
from promptkit.core.errors import InputError, ModelError, Unsupported
from promptkit.core.heads import ExposesHeads
from promptkit.core.inputs import ImageInput, Modality, TextInput
from promptkit.core.interventions import HiddenEdit, InputOperation, Interventions, KVPrefix
from promptkit.core.model import Differentiable
from promptkit.core.requests import Classify, Generate, Read, Request, Score
from promptkit.models.registry import ENGINES
from promptkit.models.support import capabilities_table, check_requests, check_supports, features_of
from tests.models.vision.tiny import convolutional
from tests.support import bidirectional, tiny
from tests.support.errors import refused
from tests.support.hf_models import answer
from tests.support.servers import Script, reply, serving

PROMPT = TextInput(ids=(5, 6, 7))
KV = zeros(2, 2, 1, 16)
REQUESTS: Mapping[Feature, Request] = {
    "text": Request(input=PROMPT, verb=Read(hidden_layer=-1, mean_from=0)),
    "image": Request(input=ImageInput(pixels=zeros(3, 2, 2)), verb=Classify()),
    "Score": Request(input=PROMPT, verb=Score(continuations=((8,), (9,)))),
    "Read": Request(input=PROMPT, verb=Read(top_m=1)),
    "Generate": Request(input=PROMPT, verb=Generate(max_tokens=1)),
    "json_schema": Request(input=PROMPT, verb=Generate(max_tokens=2, json_schema='{"type": "object"}')),
    "Classify": Request(input=PROMPT, verb=Classify()),
    "hidden_states": Request(input=PROMPT, verb=Read(hidden_layer=-1, mean_from=0)),
    "vectors": Request(
        input=TextInput(ids=(5, -1, 7)), verb=Score(continuations=((8,),)), interventions=Interventions(vectors=zeros(1, 32))
    ),
    "prefixes": Request(
        input=PROMPT,
        verb=Score(continuations=((8,),)),
        interventions=Interventions(prefixes=(KVPrefix(length=1, layers=(1, 2), keys=KV, values=KV),)),
    ),
    "edits": Request(
        input=PROMPT,
        verb=Score(continuations=((8,),)),
        interventions=Interventions(edits=(HiddenEdit(layer=1, operation="add", arrays=(zeros(32),), last=1),)),
    ),
    "operations": Request(
        input=PROMPT,
        verb=Score(continuations=((8,),)),
        interventions=Interventions(operations=(InputOperation(name="invert"),)),
    ),
}
"""For each feature that requests need, a request that needs it."""
IMAGE = ImageInput(pixels=zeros(3, 8, 8))
IMAGE_REQUESTS: Mapping[Feature, Request] = {
    "image": Request(input=IMAGE, verb=Classify()),
    "Classify": Request(input=IMAGE, verb=Classify(classes=(1,))),
    "Read": Request(input=IMAGE, verb=Read(hidden_layer=0)),
    "hidden_states": Request(input=IMAGE, verb=Read(hidden_layer=-1)),
    "operations": Request(
        input=IMAGE, verb=Classify(), interventions=Interventions(operations=(InputOperation(name="invert"),))
    ),
}
"""The same for models that read images."""


def test_there_is_a_request_for_every_feature_that_requests_need() -> None:
    assert {*FEATURES} - {*REQUESTS} == {"heads", "gradients"}
    assert all(feature in features_of(request) for feature, request in REQUESTS.items())
    assert {*FEATURES} >= {*get_args(Modality), *VERBS, *get_args(InterventionName)}


# ---- engines ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A tiny model of each kind of the hf engine, and an encoder."""
    base = tmp_path_factory.mktemp("models")
    return {
        "causal": tiny.save(base / "causal", "llama"),
        "encoder-decoder": bidirectional.save(base / "t5", "t5"),
        "masked": bidirectional.save(base / "bert", "bert"),
    }


def model_of(engine: str, kind: str, folders: Mapping[str, Path]) -> Any:
    if engine == "hf":
        return pk.load(folders[kind])
    if engine == "encoder":
        return pk.load(f"encoder:{folders['masked']}")
    if engine == "vision":
        return convolutional()
    if engine == "http":
        return pk.load("http:tiny", base_url="http://127.0.0.1:9/v1")
    return pk.load(f"{engine}:tiny")


LOCAL = [(engine, kind) for engine in ("hf", "encoder", "http", "vision", "fake") for kind in ENGINES[engine].kinds]
each_kind = pytest.mark.parametrize(("engine", "kind"), LOCAL, ids=lambda name: name or "models")


@each_kind
def test_a_model_has_the_capabilities_of_the_table(engine: str, kind: str, folders: Mapping[str, Path]) -> None:
    model = model_of(engine, kind, folders)
    assert model.capabilities == ENGINES[engine].kinds[kind]
    if "gradients" in model.capabilities:
        assert isinstance(model, Differentiable)
    if "heads" in model.capabilities:
        assert isinstance(model, ExposesHeads)


@each_kind
@pytest.mark.parametrize("feature", REQUESTS)
def test_a_request_is_refused_exactly_if_the_model_does_not_support_it(
    engine: str, kind: str, feature: Feature, folders: Mapping[str, Path]
) -> None:
    model = model_of(engine, kind, folders)
    request = (IMAGE_REQUESTS if engine == "vision" else {}).get(feature, REQUESTS[feature])
    if engine == "encoder" and feature == "Read":
        request = REQUESTS["hidden_states"]  # its only request
    if feature in ("vectors", "edits") and feature in model.capabilities:
        request = _sized(request, model.card.d_model)
    if feature == "prefixes" and feature in model.capabilities:
        prefix = model.keys_values((5,))
        request = Request(input=PROMPT, verb=request.verb, interventions=Interventions(prefixes=(prefix,)))
    if kind == "masked":
        request = _with_mask(request, model.card.format.mask)
    if all(needed in model.capabilities for needed in features_of(request)):
        assert engine == "http" or answer(model, [request])  # tests/models/http has servers for it
    else:
        with pytest.raises(Unsupported) as caught:
            answer(model, [request])
        assert caught.value.fields["model"] == model.name


def _with_mask(request: Request, mask: int) -> Request:
    """Returns the request with a mask at the end of its prompt, if it has one."""
    text = isinstance(request.input, TextInput)
    return replace(request, input=TextInput(ids=(*request.text.ids, mask))) if text else request


def _sized(request: Request, width: int) -> Request:
    """Returns the request with vectors and edits of the model's width."""
    vectors = as_array(np.full((1, width), 0.1))
    edit = HiddenEdit(layer=1, operation="add", arrays=(as_array(np.full(width, 0.1)),), last=1)
    has_vectors = request.interventions.vectors is not None
    changed = Interventions(vectors=vectors) if has_vectors else Interventions(edits=(edit,))
    return Request(input=request.input, verb=request.verb, interventions=changed)


def test_a_server_answers_what_its_engine_declares() -> None:
    with serving(Script(chat=lambda body: reply("yes"))) as url:
        model: Any = pk.load("http:tiny", base_url=url)
        assert answer(model, [Request(input=TextInput(ids=tuple(map(ord, "Is it?"))), verb=Generate(max_tokens=3))])


@each_kind
def test_embeddings_and_keys_are_refused_exactly_if_they_are_not_supported(
    engine: str, kind: str, folders: Mapping[str, Path]
) -> None:
    model = model_of(engine, kind, folders)
    if "vectors" in model.capabilities:
        assert model.embed((5, 6)).shape == (2, model.card.embedding_width)
    else:
        with refused(Unsupported, "no-learned-vectors", model=model.name):
            model.embed((5, 6))
    if "prefixes" in model.capabilities:
        assert model.keys_values((5, 6)).length == 2
    else:
        with pytest.raises(Unsupported):
            model.keys_values((5, 6))


# ---- errors ----------------------------------------------------------------------------------------------


ALL = union(capabilities for engine in ENGINES.values() for capabilities in engine.kinds.values())


@pytest.mark.parametrize("feature", FEATURES)
def test_the_error_names_exactly_the_engines_that_support_a_feature(feature: Feature) -> None:
    nothing = Capabilities(modalities=ALL.modalities, verbs=frozenset())
    if feature in nothing:
        nothing = Capabilities(modalities=frozenset(), verbs=frozenset())
    with refused(Unsupported, FEATURES[feature].code, model="m", manipulation="soft") as caught:
        check_supports("m", nothing, feature, needed_by="soft", manipulation="soft")
    hint = str(caught.value).partition("supports it: ")[2]
    named = {part.partition(" (")[0].strip(" .") for part in hint.replace(", encoder-decoder", "").split(",") if hint}
    assert named == {name for name, engine in ENGINES.items() if feature in engine.capabilities and not engine.simulated}


def test_kinds_of_models_are_named_where_only_some_support_a_feature() -> None:
    masked = ENGINES["hf"].kinds["masked"]
    with refused(Unsupported, "no-prefixes-or-edits") as caught:
        check_supports("m", masked, "edits")
    assert "hf (causal models)" in str(caught.value)
    assert "causal, encoder-decoder" in capabilities_table()


def test_engines_of_another_modality_are_not_named() -> None:
    images = Capabilities(modalities=frozenset({"image"}), verbs=frozenset({"Classify"}))
    with refused(Unsupported, "no-learned-vectors") as caught:
        check_supports("m", images, "vectors")
    assert "hf" not in str(caught.value)


def test_requests_of_several_kinds_are_checked_in_one_order() -> None:
    nothing = Capabilities(modalities=frozenset({"text"}), verbs=frozenset({"Score"}))
    for requests in ([REQUESTS["vectors"], REQUESTS["Generate"]], [REQUESTS["Generate"], REQUESTS["vectors"]]):
        with refused(Unsupported, "cannot-generate", model="m"):
            check_requests("m", nothing, requests)


def test_an_engine_without_a_name_is_refused() -> None:
    for name in ("vision:", "hf:", "fake:"):
        with refused(InputError, "empty-name", engine=name[:-1]):
            pk.load(name)


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns the message of a refused command."""
    monkeypatch.setattr("sys.argv", ["promptkit", *arguments])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "suggested", "others"),
    [
        ("vision:./nowhere", ("vision:demo", "vision:./model"), ("`demo`", "gemma", "fake", "gguf")),
        ("vision:./nowhere.gguf", ("vision:demo",), ("`demo`", "gemma")),
        ("encoder:./nowhere", ("encoder:./model", "encoder:sentence-transformers"), ("demo", "fake", "gguf")),
        ("encoder:./nowhere.gguf", ("encoder:./model",), ("demo", "gemma")),
        ("./nowhere", ("`demo`", "./model", ".gguf"), ("vision", "encoder", "fake")),
        ("./nowhere.gguf", ("`demo`",), ("vision", "encoder")),
    ],
)
def test_the_models_that_are_suggested_are_those_of_the_engine(
    name: str, suggested: tuple[str, ...], others: tuple[str, ...]
) -> None:
    with pytest.raises(ModelError) as caught:
        pk.load(name)
    _, _, hint = str(caught.value).partition("Give ")
    assert all(model in hint for model in suggested)
    assert not any(model in hint for model in others)


def test_a_sentence_encoder_of_the_name_demo_is_not_the_demo_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError) as caught:
        pk.load("encoder:demo")
    assert caught.value.fields["model"] == "demo"
    assert "gemma" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "engines"),
    [
        ("eval sentiment --model vision:demo", "hf, vllm, http"),
        ("eval sentiment --model vision:demo --calibrate linear", "hf"),
        ("eval arithmetic --model vision:demo", "hf (causal, encoder-decoder models), vllm, http"),
        ("eval sentiment --model encoder:x --calibrate linear", "hf"),
        ("eval sentiment --model http:x --set base_url=http://127.0.0.1:9 --calibrate linear", "hf"),
        ("train sentiment --model vision:demo --manipulation prefix", "hf (causal models)"),
        ("train sentiment --model vision:demo --optimizer spsa", "hf, vllm"),
        ("train sentiment --model fake", "hf"),
        ("train digits --model demo --manipulation watermark --labelmap blm+", "vision"),
        ("eval digits --model encoder:x --labelmap blm+", "vision"),
        ("doctor --model vision:demo --against fake", "hf, vllm, http"),
    ],
)
def test_a_hint_names_only_engines_that_can_do_all_that_the_command_needs(
    command: str, engines: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, hint = refusal(monkeypatch, capsys, *command.split()).partition("supports it: ")
    assert re.split(r"\.| \(--model|, or ", hint)[0] == engines
