"""Trigger tokens: placement, saving, and first-order estimates that equal the slopes of the model's losses."""

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
from promptkit.core.requests import Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.learned.storage import load_manipulation, read_manifest
from promptkit.manipulate.learned.storage import save as save_manipulation
from promptkit.manipulate.learned.trigger_tokens import token_ids
from promptkit.manipulate.learned.vocabulary import non_text_ids
from promptkit.models.client import CachedModel
from promptkit.training.black_box import BlackBoxLosses
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.gradients import GradientLosses
from promptkit.training.rows import TrainingRows
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


def rendered(model: Any, *modifiers: Any, template: str = "sentiment/review", **prompt: Any) -> Rendered:
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS), rows={"pool": POOL})
    return composed([pk.Prompt(template, **prompt), *modifiers]).bind(context)([ROW])[0]


# ---- placement -------------------------------------------------------------------------------------


def test_tokens_are_inserted_as_ids_without_moving_other_tokens(model: Any) -> None:
    plain = rendered(model).input.ids
    for change, expected in ((tokens(), (plain[0], *IDS, *plain[1:])), (tokens(place="start"), (*IDS, *plain))):
        result = rendered(model, change)
        assert result.input.ids == expected
        assert result.continuations == rendered(model).continuations
        (span,) = [span for span in result.input.spans if span.part == "tokens"]
        assert result.input.ids[span.start : span.stop] == IDS
        assert [place for span in result.input.spans for place in range(span.start, span.stop)] == [*range(len(expected))]


def test_tokens_fill_every_occurrence_of_a_slot(model: Any) -> None:
    result = rendered(model, tokens(slot="end"), template=SLOT, demos=pk.demos.First(k=2)).input
    spans = [span for span in result.spans if span.part == "soft end"]
    assert [result.ids[span.start : span.stop] for span in spans] == [IDS] * 3
    assert min(result.ids) >= 0


def test_modifiers_are_placed_in_the_order_of_the_list(model: Any) -> None:
    soft = pk.SoftPrompt(2)
    plain = rendered(model).input.ids
    assert rendered(model, soft, tokens()).input.ids == (plain[0], -1, -2, *IDS, *plain[1:])
    assert rendered(model, tokens(), soft).input.ids == (plain[0], *IDS, -1, -2, *plain[1:])
    assert rendered(model, tokens(), tokens((9,))).input.ids == (plain[0], *IDS, 9, *plain[1:])


def test_the_differentiable_form_gives_the_same_scores(model: Any) -> None:
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS), rows={"pool": POOL})
    scored = []
    for change in (tokens(), tokens().differentiable_form(context)):
        result = rendered(model, change)
        (output,) = CachedModel(model)([result.request(Score(continuations=result.continuations))])
        scored.append([number for row in output.logprobs for number in row])
    assert scored[0] == pytest.approx(scored[1], abs=1e-5)


def test_control_tokens_and_unused_rows_are_not_inserted(model: Any) -> None:
    card = model.card
    excluded = set(non_text_ids(card))
    assert set(card.tokenizer.control.values()) <= excluded
    assert len(excluded) < card.vocabulary
    assert all(card.tokenizer.decode([token]) for token in range(card.vocabulary) if token not in excluded)
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    initial = token_ids(pk.TriggerTokens(40).initial_parameters(context))
    assert not excluded & set(initial)
    assert len(set(initial)) == 40
    text = card.tokenizer.encode("Say how it was.").ids
    assert token_ids(pk.TriggerTokens(30, init="Say how it was.").initial_parameters(context)) == (text * 30)[:30]


# ---- saving ----------------------------------------------------------------------------------------


def test_loading_returns_what_was_saved(model: Any, tmp_path: Path) -> None:
    result = pk.TriggerTokens(3, seed=4).with_parameters({"ids": as_array(np.array([0, 262143, 2**24 - 1]))}, base_of(model))
    loaded = load_manipulation(save_manipulation(result, tmp_path))
    assert loaded == result
    assert loaded.settings()["ids"] == [0, 262143, 2**24 - 1]
    assert set(result.base) == {"name", "tokenizer"}


def test_models_with_the_same_tokenizer_accept_them_and_others_do_not(model: Any, tmp_path: Path) -> None:
    result = pk.TriggerTokens(3).with_parameters(tokens().parameters, base_of(model))
    larger = pk.load(str(save(tmp_path / "llama", "llama")))
    prompt = pk.Prompt("sentiment/review")
    pk.Predictor(model, [prompt, result], pk.Verbalizer(WORDS))
    with refused(CheckpointError, "other-model", manipulation="trigger-tokens", model="fake", differs="tokenizer"):
        pk.Predictor(pk.load("fake"), [prompt, result], pk.Verbalizer(WORDS))
    same_tokenizer = {**result.base, "tokenizer": base_of(larger)["tokenizer"]}
    pk.Predictor(larger, [prompt, result.with_parameters(result.parameters, same_tokenizer)], pk.Verbalizer(WORDS))


# ---- search --------------------------------------------------------------------------------------------


def training_data(folder: Path, model: Any, *modifiers: Any) -> Any:
    task, config = pk.task(folder / "task.yaml"), TrainingConfig(batch_size=5, steps=1, dev=4)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), *modifiers], pk.Verbalizer(WORDS))
    return TrainingData(predictor, task, TrainingRows.from_task(task, None, config), config, None)


def test_an_estimate_is_the_slope_between_two_tokens(folder: Path, model: Any) -> None:
    """The slope is measured from scores with soft prompts on both sides of the current token."""
    data = training_data(folder, model, tokens())
    chosen = list(data.all_rows)
    loss, estimates = GradientLosses(data, model).token_swap_scores(data.initial_parameters(), chosen)
    assert estimates["0.ids"].shape == (3, model.card.vocabulary)
    softened = training_data(folder, model, pk.SoftPrompt(3))
    answers, h = BlackBoxLosses(softened), 0.02

    def rows(ids: Any) -> Any:
        return model.embed(ids).numpy().astype(float)

    def at(numbers: Any) -> float:
        (losses,) = answers.row_losses([{"0.vectors": as_array(numbers)}], chosen)
        return float(np.mean([loss for loss, _ in losses]))

    assert loss == pytest.approx(at(rows(IDS)), abs=1e-5)
    for place, other in ((0, 200), (1, 33), (2, 99), (2, 71)):
        way = np.zeros((3, 32))
        way[place] = rows([other])[0] - rows([IDS[place]])[0]
        slope = (at(rows(IDS) + h * way) - at(rows(IDS) - h * way)) / (2 * h)
        assert estimates["0.ids"][place, other] == pytest.approx(slope, abs=0.02 * (1 + abs(slope)))
    assert np.isinf(estimates["0.ids"][:, non_text_ids(model.card)]).all()


def test_a_search_lowers_the_loss_and_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    def searched(out: Path, **options: Any) -> Any:
        loaded = pk.load(str(folder / "model"))
        modifiers = (pk.TriggerTokens(3), pk.TriggerTokens(1, place="start"))
        predictor = pk.Predictor(loaded, [pk.Prompt("sentiment/review"), *modifiers], pk.Verbalizer(WORDS))
        config = {"steps": 6, "batch_size": 6, "per_class": 3, "eval_every": 2, "dev": 4, "patience": None}
        return pk.train(predictor, pk.task(folder / "task.yaml"), out=out, **config, **options)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise InterruptedError

    search = pk.HotFlip(candidates=4)
    full = searched(tmp_path / "whole", optimizer=search)
    with pytest.raises(InterruptedError):
        searched(tmp_path / "cut", progress=stop, optimizer=search)
    fit = searched(tmp_path / "cut", optimizer=search)
    assert fit.resumed == 4
    assert (fit.learned, fit.losses, fit.dev_evaluations) == (full.learned, full.losses, full.dev_evaluations)
    assert fit.path.name == full.path.name
    assert full.losses[-1] < full.losses[0]
    manifest: Any = read_manifest(full.saved[0])
    metadata = manifest.model_extra
    assert "4 tokens searched on 6 rows" in str(fit)
    ids = metadata["tokens"]
    assert len(ids) == 3
    assert metadata["text"] == fit.predictor.model.card.tokenizer.decode(token_ids(fit.learned[0].parameters))
    (output,) = CachedModel(fit.predictor.model)(fit.predictor.bind(pk.task(folder / "task.yaml")).requests([ROW]))
    assert output.logprobs


@pytest.mark.parametrize(
    ("action", "error", "code", "fields"),
    [
        (lambda: pk.TriggerTokens(0), InputError, "out-of-range", {"length": 0}),
        (lambda: pk.TriggerTokens(2, init="labels"), InputError, "unknown-name", {"name": "labels"}),
        (lambda: pk.TriggerTokens(2, place="end"), InputError, "unknown-name", {"name": "end"}),
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
def test_invalid_settings_are_refused(action: Any, error: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(error, code, **fields):
        action()


@pytest.mark.parametrize(
    ("config", "code", "fields"),
    [
        ({"optimizer": "spsa"}, "wrong-optimizer", {"optimizer": "spsa"}),
        ({"learning_rate": 0.1}, "no-learning-rate", {"optimizer": "hotflip", "learning_rate": 0.1}),
    ],
)
def test_optimizers_that_cannot_search_tokens_are_refused(
    model: Any, config: dict[str, Any], code: str, fields: dict[str, Any]
) -> None:
    with refused(InputError, code, **fields):
        trained(model, pk.TriggerTokens(2), **config)


def test_tokens_and_vectors_cannot_be_trained_together(model: Any) -> None:
    with refused(TrainingError, "tokens-and-vectors", manipulations=("trigger-tokens", "soft")):
        trained(model, pk.TriggerTokens(2), pk.SoftPrompt(2))


def test_a_model_without_gradients_is_refused() -> None:
    with refused(pk.Unsupported, "no-gradients", model="fake"):
        trained(pk.load("fake"), pk.TriggerTokens(2))


def trained(model: Any, *modifiers: Any, **config: Any) -> Any:
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), *modifiers], pk.Verbalizer(WORDS))
    return pk.train(predictor, pk.task("sentiment"), **config)
