"""Trigger tokens: where they stand, what they are saved as, and estimates that are the model's own slopes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError, InputError, TrainingError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Request, Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.storage import load_manipulation, read_manifest
from promptkit.manipulate.learned.storage import save as keep
from promptkit.manipulate.learned.trigger_tokens import ids_of
from promptkit.manipulate.learned.vocabulary import forbidden
from promptkit.models.client import CachedModel
from promptkit.predictor.compatibility import base_of
from promptkit.training.dataset import Rows, TrainingData
from promptkit.training.losses import BlackBoxLosses, GradientLosses
from promptkit.training.recipe import TrainingConfig
from tests.support.errors import refused
from tests.support.tiny import save

WORDS = {"no": "bad", "yes": "good"}
ROW = Example(id="q", inputs={"text": "so it was"})
POOL = [LabeledExample(id=f"r{i}", inputs={"text": f"row {i}"}, label="yes") for i in range(3)]
IDS = (70, 300, 71)
TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.8}]
"""
SLOT = (
    '{% block input %}Text: {{ text }}{{ soft("end", 3) }} So{% endblock %}{% block target %} {{ label }}{% endblock %}'
    "{% block separator %}\n\n{% endblock %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens")
    save(path / "model", "gemma3")
    rows = [{"text": f"{'a long evening' if i % 2 else 'liked it'} {i}", "label": ("yes", "no")[i % 2]} for i in range(60)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.yaml").write_text(TASK)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return pk.load(str(folder / "model"))


def tokens(ids: tuple[int, ...] = IDS, **keywords: Any) -> pk.TriggerTokens:
    return pk.TriggerTokens(len(ids), **keywords).with_parameters({"ids": as_array(np.array(ids))}, {})


def rendered(model: Any, *changes: Any, template: str = "sentiment/review", **prompt: Any) -> Rendered:
    around = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS), rows={"pool": POOL})
    return composed([pk.Prompt(template, **prompt), *changes]).bind(around)([ROW])[0]


# ---- where they stand ------------------------------------------------------------------------------


def test_they_stand_as_ids_where_they_are_placed_and_nothing_else_moves(model: Any) -> None:
    plain = rendered(model).input.ids
    for change, expected in ((tokens(), (plain[0], *IDS, *plain[1:])), (tokens(place="start"), (*IDS, *plain))):
        found = rendered(model, change)
        assert found.input.ids == expected
        assert found.continuations == rendered(model).continuations
        (span,) = [span for span in found.input.spans if span.part == "tokens"]
        assert found.input.ids[span.start : span.stop] == IDS
        assert [place for span in found.input.spans for place in range(span.start, span.stop)] == [*range(len(expected))]


def test_they_stand_in_a_slot_as_often_as_it_does(model: Any) -> None:
    found = rendered(model, tokens(slot="end"), template=SLOT, demos=pk.demos.first(k=2)).input
    spans = [span for span in found.spans if span.part == "soft end"]
    assert [found.ids[span.start : span.stop] for span in spans] == [IDS] * 3
    assert min(found.ids) >= 0


def test_the_order_of_a_list_is_the_order_in_the_prompt(model: Any) -> None:
    soft = pk.SoftPrompt(2)
    plain = rendered(model).input.ids
    assert rendered(model, soft, tokens()).input.ids == (plain[0], -1, -2, *IDS, *plain[1:])
    assert rendered(model, tokens(), soft).input.ids == (plain[0], *IDS, -1, -2, *plain[1:])
    assert rendered(model, tokens(), tokens((9,))).input.ids == (plain[0], *IDS, 9, *plain[1:])


def test_as_vectors_they_are_the_tokens(model: Any) -> None:
    around = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS), rows={"pool": POOL})
    scored = []
    for change in (tokens(), tokens().as_vectors(around)):
        found = rendered(model, change)
        (output,) = CachedModel(model)([Request(input=found.input, verb=Score(continuations=found.continuations))])
        scored.append([number for row in output.logprobs for number in row])  # type: ignore[union-attr]
    assert scored[0] == pytest.approx(scored[1], abs=1e-5)


def test_no_control_token_and_no_row_without_a_token_may_be_put_in(model: Any) -> None:
    card = model.card
    never = set(forbidden(card))
    assert set(card.tokenizer.control.values()) <= never
    assert len(never) < card.vocabulary
    assert all(card.tokenizer.decode([token]) for token in range(card.vocabulary) if token not in never)
    around = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS))
    begun = ids_of(pk.TriggerTokens(40).initial_parameters(around))
    assert not never & set(begun)
    assert len(set(begun)) == 40
    text = card.tokenizer.encode("Say how it was.").ids
    assert ids_of(pk.TriggerTokens(30, init="Say how it was.").initial_parameters(around)) == (text * 30)[:30]


# ---- what they are saved as ------------------------------------------------------------------------


def test_what_is_loaded_is_what_was_saved(model: Any, tmp_path: Path) -> None:
    found = pk.TriggerTokens(3, seed=4).with_parameters({"ids": as_array(np.array([0, 262143, 2**24 - 1]))}, base_of(model))
    loaded = load_manipulation(keep(found, tmp_path))
    assert loaded == found
    assert loaded.settings()["ids"] == [0, 262143, 2**24 - 1]
    assert set(found.base) == {"name", "tokenizer"}


def test_they_go_to_any_model_of_their_tokenizer_and_to_no_other(model: Any, tmp_path: Path) -> None:
    found = pk.TriggerTokens(3).with_parameters(tokens().parameters, base_of(model))
    larger = pk.load(str(save(tmp_path / "llama", "llama")))
    prompt = pk.Prompt("sentiment/review")
    pk.Predictor(model, [prompt, found], pk.Verbalizer(WORDS))
    with refused(CheckpointError, "other-model", manipulation="trigger-tokens", model="fake", differs="tokenizer"):
        pk.Predictor(pk.load("fake"), [prompt, found], pk.Verbalizer(WORDS))
    same_tokenizer = {**found.base, "tokenizer": base_of(larger)["tokenizer"]}
    pk.Predictor(larger, [prompt, found.with_parameters(found.parameters, same_tokenizer)], pk.Verbalizer(WORDS))


# ---- how they are searched -----------------------------------------------------------------------------


def material(folder: Path, model: Any, *changes: Any) -> Any:
    task, recipe = pk.task(folder / "task.yaml"), TrainingConfig(batch_size=5, steps=1, dev=4)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), *changes], pk.Verbalizer(WORDS))
    return TrainingData(predictor, task, Rows.of(task, None, recipe), recipe, None)


def test_an_estimate_is_the_slope_from_the_token_that_stands_to_the_other(folder: Path, model: Any) -> None:
    """By answers to learned vectors, a little on either side of the token that stands."""
    of = material(folder, model, tokens())
    chosen = list(of.everything)
    loss, estimates = GradientLosses(of, model).token_swap_scores(of.initial_parameters(), chosen)
    assert estimates["0.ids"].shape == (3, model.card.vocabulary)
    softened = material(folder, model, pk.SoftPrompt(3))
    answers, h = BlackBoxLosses(softened), 0.02

    def rows(ids: Any) -> Any:
        return model.embed(ids).numpy().astype(float)

    def at(numbers: Any) -> float:
        (judged,) = answers.judged([{"0.vectors": as_array(numbers)}], chosen)
        return float(np.mean([each for each, _ in judged]))

    assert loss == pytest.approx(at(rows(IDS)), abs=1e-5)
    for place, other in ((0, 200), (1, 33), (2, 99), (2, 71)):
        way = np.zeros((3, 32))
        way[place] = rows([other])[0] - rows([IDS[place]])[0]
        slope = (at(rows(IDS) + h * way) - at(rows(IDS) - h * way)) / (2 * h)
        assert estimates["0.ids"][place, other] == pytest.approx(slope, abs=0.02 * (1 + abs(slope)))
    assert np.isinf(estimates["0.ids"][:, forbidden(model.card)]).all()


def test_a_search_makes_the_loss_smaller_and_comes_to_the_same_if_it_is_broken_off(folder: Path, tmp_path: Path) -> None:
    def searched(out: Path, **more: Any) -> Any:
        loaded = pk.load(str(folder / "model"))
        changes = (pk.TriggerTokens(3), pk.TriggerTokens(1, place="start"))
        predictor = pk.Predictor(loaded, [pk.Prompt("sentiment/review"), *changes], pk.Verbalizer(WORDS))
        recipe = {"steps": 6, "batch_size": 6, "per_class": 3, "eval_every": 2, "dev": 4, "patience": None}
        return pk.train(predictor, pk.task(folder / "task.yaml"), out=out, **recipe, **more)

    def stop(done: int, total: int, told: str) -> None:
        if done == 5:
            raise InterruptedError

    search = pk.HotFlip(candidates=4)
    whole = searched(tmp_path / "whole", optimizer=search)
    with pytest.raises(InterruptedError):
        searched(tmp_path / "cut", progress=stop, optimizer=search)
    fit = searched(tmp_path / "cut", optimizer=search)
    assert fit.resumed == 4
    assert (fit.learned, fit.losses, fit.looks) == (whole.learned, whole.losses, whole.looks)
    assert fit.path.name == whole.path.name
    assert whole.losses[-1] < whole.losses[0]
    told: Any = read_manifest(whole.saved[0])
    manifest = told.model_extra
    assert "4 tokens searched on 6 rows" in str(fit)
    ids = manifest["tokens"]
    assert len(ids) == 3
    assert manifest["text"] == fit.predictor.model.card.tokenizer.decode(ids_of(fit.learned[0].parameters))
    (output,) = CachedModel(fit.predictor.model)(fit.predictor.bind(pk.task(folder / "task.yaml")).requests([ROW]))
    assert output.logprobs  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("made", "error", "code", "fields"),
    [
        (lambda: pk.TriggerTokens(0), InputError, "out-of-range", {"length": 0}),
        (lambda: pk.TriggerTokens(2, init="labels"), InputError, "unknown-name", {"name": "labels"}),
        (lambda: pk.TriggerTokens(2, place="end"), InputError, "unknown-name", {"name": "end"}),  # type: ignore[arg-type]
        (
            lambda: tokens((1, 2)).with_parameters({"ids": as_array(np.array([1.5, 2]))}, {}),
            CheckpointError,
            "invalid-token-ids",
            {"ids": (1.5, 2.0)},
        ),
        (
            lambda: tokens((1, 2)).with_parameters({"ids": as_array(np.array([1.0]))}, {}),
            CheckpointError,
            "wrong-parameter-shape",
            {"parameter": "ids", "shape": (1,), "expected": "2 length"},
        ),
    ],
)
def test_what_makes_no_trigger_tokens_is_told(made: Any, error: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(error, code, **fields):
        made()


@pytest.mark.parametrize(
    ("recipe", "code", "fields"),
    [
        ({"optimizer": "spsa"}, "wrong-optimizer", {"optimizer": "spsa"}),
        ({"learning_rate": 0.1}, "no-learning-rate", {"optimizer": "hotflip", "learning_rate": 0.1}),
    ],
)
def test_a_training_that_cannot_search_tokens_is_told(
    model: Any, recipe: dict[str, Any], code: str, fields: dict[str, Any]
) -> None:
    with refused(InputError, code, **fields):
        trained(model, pk.TriggerTokens(2), **recipe)


def test_tokens_and_vectors_are_not_trained_together(model: Any) -> None:
    with refused(TrainingError, "tokens-and-vectors", manipulations=("trigger-tokens", "soft")):
        trained(model, pk.TriggerTokens(2), pk.SoftPrompt(2))


def test_a_model_without_gradients_has_no_tokens_searched() -> None:
    with refused(pk.Unsupported, "no-gradients", model="fake"):
        trained(pk.load("fake"), pk.TriggerTokens(2))


def trained(model: Any, *changes: Any, **recipe: Any) -> Any:
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), *changes], pk.Verbalizer(WORDS))
    return pk.train(predictor, pk.task("sentiment"), **recipe)
