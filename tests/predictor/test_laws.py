"""Properties of every manipulation. Add an example of a new manipulation to `MANIPULATIONS`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext, Manipulation
from promptkit.core.requests import Output, Request, Score
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.compose import composed
from promptkit.models.client import CachedModel
from promptkit.models.hf.engine import TransformersModel
from tests.support.tiny import make_model, save

POOL = [
    LabeledExample(id=f"r{i}", inputs={"text": f"row {i} is {'good' if i % 2 else 'bad'}"}, label="yes" if i % 2 else "no")
    for i in range(12)
]
DEV = [
    LabeledExample(id=f"d{i}", inputs={"text": f"dev {i} was {'fine' if i % 2 else 'dull'}"}, label="yes" if i % 2 else "no")
    for i in range(6)
]
WORDS = {"no": "bad, really", "yes": "good"}
ROWS = [Example(id=f"q{i}", inputs={"text": "so " * i + "it was"}) for i in range(1, 9)]
MANIPULATIONS: dict[str, Manipulation] = {
    "zero-shot": pk.Prompt("sentiment/review"),
    "few-shot": pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=3, seed=1), order=pk.order.Shuffled(seed=2)),
    "few-shot each": pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2)),
    "least undecided": pk.Prompt("sentiment/review", demos=pk.demos.MDL(k=2, candidates=4, organizations=3)),
    "most influential": pk.Prompt("sentiment/review", demos=pk.demos.Influence(k=2, candidates=6, contexts=6, rows=4)),
    "re-ranked": pk.Prompt("sentiment/review", demos=pk.demos.Rerank(k=2, candidates=4, rows=2)),
    "ordered for each": pk.Prompt("sentiment/review", demos=pk.demos.First(k=3), order=pk.order.LeastEntropy(permutations=4)),
    "step by step": pk.Prompt("sentiment/review", demos=pk.demos.First(k=1), cot=pk.cot.ZeroShot(max_tokens=6)),
    "step by step in a chat": pk.Prompt("sentiment/review", cot=pk.cot.ZeroShot(max_tokens=5), chat=True),
    "least to most": pk.Prompt("sentiment/review", cot=pk.cot.LeastToMost(max_tokens=8, questions=2)),
    "soft": composed([pk.Prompt("sentiment/review"), pk.SoftPrompt(4)]),
    "soft at the start": composed([pk.Prompt("sentiment/review"), pk.SoftPrompt(3, place="start", init="random", seed=2)]),
    "soft through a network": composed(
        [
            pk.Prompt("sentiment/review"),
            pk.SoftPrompt(3, reparameterize="mlp", width=4),
            pk.SoftPrompt(2, reparameterize="lstm"),
        ]
    ),
    "soft as labels in a chat": composed([pk.Prompt("sentiment/review", chat=True), pk.SoftPrompt(3, init="labels")]),
    "soft in slots": composed(
        [
            pk.Prompt(
                '{% block input %}{{ soft("before", 2) }}Review: {{ text }}{{ soft("behind", 1) }}\nSentiment:{% endblock %}'
                "{% block target %} {{ label }}{% endblock %}",
                demos=pk.demos.First(k=2),
            ),
            pk.SoftPrompt(1, slot="behind"),
            pk.SoftPrompt(2, slot="before", init="labels"),
        ]
    ),
    "two soft": composed(
        [
            pk.Prompt("sentiment/review", demos=pk.demos.First(k=1)),
            pk.SoftPrompt(2, init="Say how it was."),
            pk.SoftPrompt(3, place="start"),
        ]
    ),
    "prefix": composed([pk.Prompt("sentiment/review", demos=pk.demos.First(k=1)), pk.Prefix(4)]),
    "prefix of a text in some layers": composed([pk.Prompt("sentiment/review"), pk.Prefix(3, layers=(2,), init="Say it.")]),
    "steering": composed([pk.Prompt("sentiment/review"), pk.SteeringVector()]),
    "replacing shift": composed([pk.Prompt("sentiment/review"), pk.SteeringVector((2,), operation="replace")]),
    "low rank": composed([pk.Prompt("sentiment/review"), pk.LoReFT(2, first=2, last=2)]),
    "soft, prefix and shift": composed(
        [pk.Prompt("sentiment/review"), pk.SoftPrompt(2), pk.Prefix(2, init="random"), pk.SteeringVector((1,), at="all")]
    ),
    "tokens": composed([pk.Prompt("sentiment/review"), pk.TriggerTokens(3)]),
    "tokens at the start of a chat": composed(
        [pk.Prompt("sentiment/review", chat=True), pk.TriggerTokens(2, place="start", init="Say how it was."), pk.SoftPrompt(2)]
    ),
    "instructed chat": pk.Prompt("sentiment/review", demos=pk.demos.First(k=2), instruction="Say it.", chat=True),
}
every = pytest.mark.parametrize("manipulation", MANIPULATIONS.values(), ids=MANIPULATIONS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return pk.load(str(save(tmp_path_factory.mktemp("gemma3"), "gemma3", chat=True)))


def requests(manipulation: Manipulation, model: Any) -> list[Request]:
    bind_context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS), rows={"pool": POOL, "dev": DEV})
    return [r.request(Score(continuations=r.continuations)) for r in manipulation.bind(bind_context)(ROWS)]


def answers(model: Any, batch: list[Request]) -> dict[int, Output]:
    return {i: output for indices, outputs in model.answer(batch) for i, output in zip(indices, outputs, strict=True)}


@every
def test_manipulations_have_taxonomy_coordinates_and_json_settings(manipulation: Manipulation) -> None:
    assert isinstance(manipulation.kind, Kind)
    assert json.loads(json.dumps(manipulation.settings())) == manipulation.settings()


@every
def test_applying_a_manipulation_twice_returns_equal_requests_and_mutates_nothing(
    manipulation: Manipulation, model: Any
) -> None:
    pool, rows = copy.deepcopy(POOL), copy.deepcopy(ROWS)
    first = requests(manipulation, model)
    assert requests(manipulation, model) == first
    assert pool == POOL
    assert rows == ROWS


@every
def test_a_batch_equals_single_requests(manipulation: Manipulation, model: Any) -> None:
    batch = requests(manipulation, model)
    together = answers(model, batch)
    for index, request in enumerate(batch):
        single = answers(model, [request])[0]
        for one, other in zip(together[index].logprobs, single.logprobs, strict=True):
            assert one == pytest.approx(other, abs=1e-4)


@every
def test_the_weights_do_not_change(manipulation: Manipulation, model: Any) -> None:
    answers(model, requests(manipulation, model))
    assert isinstance(model, TransformersModel)
    loaded = dict(model._forward.model.get_decoder().named_parameters())
    original = dict(make_model("gemma3").named_parameters())
    assert all(torch.equal(parameter, original[f"model.{name}"]) for name, parameter in loaded.items())
    assert not any(parameter.requires_grad for parameter in loaded.values())


def test_all_settings_differ() -> None:
    settings = [json.dumps(manipulation.settings(), sort_keys=True) for manipulation in MANIPULATIONS.values()]
    assert len(set(settings)) == len(settings)


def test_bundled_templates_do_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pk.Prompt("sentiment/review").resolved_template.render("input", {"text": "x"}) == "Review: x\nSentiment:"
