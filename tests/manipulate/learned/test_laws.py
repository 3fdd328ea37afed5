"""Properties of all learned manipulations: training, saving, composition, and equal results in every forward pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import CheckpointError, InputError, TaskError
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import BindContext, Learnable
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Output, Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.storage import PARAMETERS, load_manipulation, read_manifest
from promptkit.manipulate.learned.storage import save as save_manipulation
from promptkit.manipulate.modifiers import LEARNABLE
from promptkit.models.client import CachedModel
from tests.support.errors import refused
from tests.support.tiny import make_model, save, save_reviews

WORDS = {"no": "bad, really", "yes": "good"}
ROWS = [Example(id=f"q{i}", inputs={"text": "so " * i + "it was"}) for i in range(1, 6)]
KINDS: dict[str, Learnable] = {
    "soft": pk.SoftPrompt(4),
    "prefix": pk.Prefix(4),
    "random prefix in some layers": pk.Prefix(15, layers=(1, 3), init="random", seed=1),
    "prefix of a text with a network": pk.Prefix(5, init="Say how it was.", mlp=8),
    "steering": pk.SteeringVector(),
    "steering at all tokens": pk.SteeringVector((2,), at="all"),
    "task vector": pk.SteeringVector((2,), operation="replace"),
    "loreft": pk.LoReFT(3),
    "loreft first and last": pk.LoReFT(2, layers=(1, 2), first=3, last=2, seed=1),
}
each_manipulation = pytest.mark.parametrize("manipulation", KINDS.values(), ids=KINDS)
STEP = 0.01
"""The step of a central difference."""
MODELS = ("llama", "gemma3", "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learnable")
    for kind in MODELS:
        save(path / kind, kind)
    save_reviews(path, 60)
    return path


@pytest.fixture(scope="module")
def load(folder: Path) -> Any:
    models: dict[str, Any] = {}

    def loaded(kind: str = "gemma3", **options: object) -> Any:
        return models.setdefault(f"{kind}{options}", pk.load(str(folder / kind), **options))

    return loaded


def context(model: Any) -> BindContext:
    return BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))


def perturbed(manipulation: Learnable, model: Any, seed: int = 0) -> Learnable:
    """Returns the manipulation with parameters moved away from the initial ones."""
    draw = np.random.default_rng(seed)
    initial = manipulation.initial_parameters(context(model))
    moved = {
        name: array if name == "units" else as_array(array.numpy() + 0.3 * draw.normal(size=array.shape))
        for name, array in initial.items()
    }
    return manipulation.with_parameters(moved, {})


def prompts(model: Any, *manipulations: Learnable) -> list[Rendered]:
    return composed([pk.Prompt("sentiment/review"), *manipulations]).bind(context(model))(ROWS)


def scores(model: Any, inputs: list[Rendered]) -> Any:
    requests = [prompt.request(Score(continuations=((5, 6), (5, 7, 8), (9,)))) for prompt in inputs]
    result: dict[int, Output] = {}
    for indices, outputs in model.answer(requests):
        result |= zip(indices, outputs, strict=True)
    return np.array([[x for row in result[i].logprobs for x in row] for i in range(len(requests))])


def test_the_examples_cover_every_learned_manipulation() -> None:
    searched = {"trigger-tokens"}  # tested in test_trigger_tokens
    for_images = {name for name, kind in LEARNABLE.items() if "image" in kind.requires}
    assert {manipulation.name for manipulation in KINDS.values()} == {*LEARNABLE} - searched - for_images


# ---- forward passes ------------------------------------------------------------------------------------


@each_manipulation
@pytest.mark.parametrize("kind", MODELS)
def test_packed_padded_and_single_passes_are_equal(manipulation: Learnable, kind: str, load: Any) -> None:
    model = load(kind)
    inputs = prompts(model, perturbed(manipulation, model))
    packed = scores(model, inputs)
    assert np.abs(packed - scores(model, prompts(model))).max() > 1e-3
    assert packed == pytest.approx(np.concatenate([scores(model, [prompt]) for prompt in inputs]), abs=1e-4)
    if not (manipulation.name == "prefix" and manipulation.settings()["layers"]):  # not supported by transformers' attention
        assert packed == pytest.approx(scores(load(kind, attention="eager"), inputs), abs=1e-4)


@each_manipulation
def test_generation_equals_greedy_scoring_of_each_token(manipulation: Learnable, load: Any) -> None:
    model = load()
    inputs = prompts(model, perturbed(manipulation, model))
    outputs: dict[int, Any] = {}
    for indices, result in model.answer([prompt.request(Generate(max_tokens=4)) for prompt in inputs]):
        outputs |= zip(indices, result, strict=True)
    for index, prompt in enumerate(inputs[:2]):
        ids = outputs[index].generations[0].ids
        requests = prompt.request(Score(continuations=(ids,)))
        ((_, (output,)),) = model.answer([requests])
        for step in range(len(ids)):
            others = tuple((*ids[:step], token) for token in range(model.card.vocabulary))
            ((_, (every_token,)),) = model.answer([prompt.request(Score(continuations=others))])
            assert output.logprobs[0][step] >= max(row[step] for row in every_token.logprobs) - 1e-4


@pytest.mark.parametrize(
    "parts",
    [
        ("soft", "prefix"),
        ("soft", "steering"),
        ("prefix", "loreft first and last"),
        ("prefix", "soft", "random prefix in some layers", "steering at all tokens"),
    ],
    ids=" + ".join,
)
def test_manipulations_compose_and_each_has_an_effect(parts: tuple[str, ...], load: Any) -> None:
    model = load()
    manipulations = [perturbed(KINDS[name], model, seed) for seed, name in enumerate(parts)]
    full = scores(model, prompts(model, *manipulations))
    for index in range(len(manipulations)):
        without = manipulations[:index] + manipulations[index + 1 :]
        assert np.abs(full - scores(model, prompts(model, *without))).max() > 1e-3
    one, other = (manipulation for manipulation in manipulations[:2])
    assert scores(model, prompts(model, one, other)) == pytest.approx(scores(model, prompts(model, other, one)), abs=1e-4)


@pytest.mark.parametrize("name", ["steering", "steering at all tokens", "loreft", "loreft first and last"])
def test_initial_edits_change_nothing(name: str, load: Any) -> None:
    model = load()
    assert scores(model, prompts(model, KINDS[name])) == pytest.approx(scores(model, prompts(model)), abs=1e-5)


def test_a_prefix_of_a_text_equals_the_text_before_the_prompt(load: Any) -> None:
    model = load()
    tokens = (*model.card.tokenizer.bos, *model.card.tokenizer.encode("Say how it was.").ids)
    result = scores(model, prompts(model, pk.Prefix(len(tokens), init="Say how it was.")))
    full = [replace(prompt, input=TextInput(ids=tokens + prompt.text.ids)) for prompt in prompts(model)]
    assert result == pytest.approx(scores(model, full), abs=1e-4)


def test_a_prefix_uses_context_and_edits_do_not(load: Any) -> None:
    model = load()
    longest = 512 - max(len(prompt.text.ids) for prompt in prompts(model)) - 40
    assert pk.Prefix(longest).context_tokens == longest
    assert KINDS["steering"].context_tokens == KINDS["loreft"].context_tokens == 0
    with refused(TaskError, "prompt-too-long", row="q1", context_tokens=12):
        prompts(model, pk.Prefix(500))


# ---- training, saving ----------------------------------------------------------------------------------


@each_manipulation
def test_training_starts_from_the_current_parameters(manipulation: Learnable, load: Any) -> None:
    model = load()
    initial = manipulation.initial_parameters(context(model))
    again = manipulation.with_parameters(initial, {})
    assert scores(model, prompts(model, again)) == pytest.approx(scores(model, prompts(model, manipulation)), abs=1e-4)
    further = again.with_parameters(again.initial_parameters(context(model)), {})
    for name, array in again.parameters.items():
        assert further.parameters[name].numpy() == pytest.approx(array.numpy(), abs=1e-4)


@each_manipulation
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_gradients_equal_slopes_and_do_not_reach_frozen_weights(
    manipulation: Learnable, kind: str, attention: str, load: Any
) -> None:
    if attention == "eager" and manipulation.name == "prefix" and manipulation.settings()["layers"]:
        pytest.skip("a model's model attention takes a prefix at all layers or none")
    model = load(kind, attention=attention)
    requests = [prompt.request(Score(continuations=((5, 6), (9,)))) for prompt in prompts(model, manipulation)]
    forward, initial = model.differentiable(requests), perturbed_parameters(manipulation, model)
    weight = torch.randn(3, generator=torch.Generator().manual_seed(1))

    def total(tensors: Any) -> torch.Tensor:
        rows = forward.scores(range(len(requests)), manipulation.interventions(tensors, forward.embed))
        return sum((torch.cat(row) @ weight for row in rows), torch.zeros(()))

    tensors = {name: torch.from_numpy(array.numpy().copy()) for name, array in initial.items()}
    trained = [tensor.requires_grad_() for name, tensor in tensors.items() if name not in manipulation.fixed_parameters]
    total(tensors).backward()
    assert not any(item.grad is not None or item.requires_grad for item in model._forward.model.parameters())
    slopes = {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}
    assert len(slopes) == len(trained)
    assert all(slope.abs().max() > 0 for slope in slopes.values())
    steepest = float(sum(slope.square().sum() for slope in slopes.values())) ** 0.5
    with torch.no_grad():
        up, down = (
            total({name: x + way * slopes[name] / steepest if name in slopes else x for name, x in tensors.items()})
            for way in (STEP, -STEP)
        )
    assert float(up - down) / (2 * STEP) == pytest.approx(steepest, rel=0.03)


def perturbed_parameters(manipulation: Learnable, model: Any) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    return {
        name: array if name == "units" else as_array(array.numpy() + 0.1 * draw.normal(size=array.shape))
        for name, array in manipulation.initial_parameters(context(model)).items()
    }


@each_manipulation
def test_training_saving_and_loading_leave_the_model_unchanged(
    manipulation: Learnable, folder: Path, load: Any, tmp_path: Path
) -> None:
    task, model = pk.task(folder / "task.yaml"), load()
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), manipulation], pk.Verbalizer({"no": "bad", "yes": "good"}))
    full = len(task.part("pool"))
    config: dict[str, Any] = {"steps": 4, "batch_size": full, "eval_every": 2, "dev": 8, "out": tmp_path, "cache": False}
    fit = pk.train(predictor, task, **config)
    assert min(fit.losses[1:]) < fit.losses[0]
    before = make_model("gemma3").state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in model._forward.model.state_dict().items())
    (learned,) = fit.learned
    loaded = load_manipulation(fit.path)
    assert loaded == learned
    assert loaded.settings() == learned.settings()
    assert np.array_equal(scores(model, prompts(model, loaded)), scores(model, prompts(model, learned)))
    numbers = sum(int(np.prod(array.shape)) for array in loaded.parameters.values())
    assert (fit.path / PARAMETERS).stat().st_size < 4 * numbers + 1000
    on = pk.Predictor(model, [pk.Prompt("sentiment/review"), loaded], predictor.reader)
    again = pk.train(on, task, **{**config, "steps": 1})
    assert again.dev_evaluations[0].loss == pytest.approx(fit.best.loss, abs=1e-4)


def test_several_manipulations_train_together_at_their_learning_rates(folder: Path, load: Any, tmp_path: Path) -> None:
    task, manipulations = pk.task(folder / "task.yaml"), [KINDS["soft"], KINDS["prefix"], KINDS["loreft"]]
    predictor = pk.Predictor(
        load(), [pk.Prompt("sentiment/review"), *manipulations], pk.Verbalizer({"no": "bad", "yes": "good"})
    )
    fit = pk.train(predictor, task, steps=4, batch_size=4, dev=8, out=tmp_path, cache=False)
    assert [item.name for item in fit.learned] == ["soft", "prefix", "loreft"]
    assert fit.learning_rates == tuple(item.learning_rate for item in manipulations)
    assert len({*fit.learning_rates}) == 3
    manifests: list[Any] = [*map(read_manifest, fit.saved)]
    assert [item.model_extra["training"]["learning_rate"] for item in manifests] == [*fit.learning_rates]
    assert [*map(load_manipulation, fit.saved)] == [*fit.learned]


def test_the_rows_of_a_loreft_rotation_stay_orthonormal(load: Any) -> None:
    trained = perturbed(pk.LoReFT(4), load())
    rows = trained.parameters["rotation"].numpy()
    assert rows @ rows.swapaxes(1, 2) == pytest.approx(np.broadcast_to(np.eye(4), (3, 4, 4)), abs=1e-6)
    assert np.abs(rows - pk.LoReFT(4).initial_parameters(context(load()))["rotation"].numpy()).max() > 0.05


def test_only_the_output_of_a_network_is_saved(load: Any, tmp_path: Path) -> None:
    direct, predictor = pk.Prefix(5), pk.Prefix(5, mlp=16)
    assert scores(load(), prompts(load(), predictor)) == pytest.approx(scores(load(), prompts(load(), direct)), abs=1e-3)
    trained = perturbed(predictor, load())
    assert {name: array.shape for name, array in trained.parameters.items()} == {"keys": (3, 2, 5, 8), "values": (3, 2, 5, 8)}
    assert load_manipulation(save_manipulation(trained, tmp_path)) == trained


# ---- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "manipulation", [pk.Prefix(2), pk.SteeringVector(), pk.LoReFT()], ids=lambda manipulation: manipulation.name
)
@pytest.mark.parametrize("engine", ["fake", "http", "vllm"])
def test_other_engines_are_refused_before_weights_load(manipulation: Any, engine: str, folder: Path) -> None:
    if engine == "vllm":
        pytest.importorskip("vllm")
    options = {"base_url": "http://127.0.0.1:9/v1"} if engine == "http" else {}
    model = pk.load("fake") if engine == "fake" else pk.load(f"{engine}:{folder / 'llama'}", **options)
    with refused(pk.Unsupported, "no-prefixes-or-edits", model=model.name, manipulation=manipulation.name):
        pk.Predictor(model, [pk.Prompt("sentiment/review"), manipulation], WORDS)


def named(kind: Learnable, *shapes: tuple[int, ...]) -> dict[str, Array]:
    """Returns parameters with the names of a kind and these shapes, or one shape for all."""
    names = {"prefix": ("keys", "values"), "loreft": ("rotation", "source", "bias")}[kind.name]
    return {name: as_array(np.ones(shape)) for name, shape in zip(names, shapes * (len(names) // len(shapes)), strict=True)}


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (lambda: pk.Prefix(0), "out-of-range", {"length": 0}),
        (lambda: pk.Prefix(2, init="vocabulry"), "unknown-name", {"name": "vocabulry", "close": ["vocabulary"]}),
        (lambda: pk.Prefix(9, mlp=4), "network-too-narrow", {"mlp": 4, "length": 9}),
        (lambda: pk.Prefix(2, layers=(0,)), "invalid-layers", {"layers": (0,)}),
        (lambda: pk.SteeringVector((2, 2)), "invalid-layers", {"layers": (2, 2)}),
        (lambda: pk.SteeringVector(at="first"), "unknown-name", {"kind": "at of steering", "name": "first"}),
        (
            lambda: pk.SteeringVector(operation="multiply"),
            "unknown-name",
            {"kind": "operation of steering", "name": "multiply"},
        ),
        (lambda: pk.SteeringVector(operation="replace"), "needs-one-layer", {"layers": ()}),
        (lambda: pk.LoReFT(0), "out-of-range", {"rank": 0}),
        (lambda: pk.LoReFT(last=0), "no-edited-token", {"first": 0, "last": 0}),
    ],
)
def test_invalid_settings_are_refused(action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (
            lambda: pk.SteeringVector((1,)).with_parameters({"vectors": as_array(np.ones((2, 4)))}, {}),
            "wrong-parameter-shape",
            {"parameter": "vectors", "shape": (2, 4), "expected": "1 layers, d_model"},
        ),
        (
            lambda: pk.Prefix(3, parameters=named(KINDS["prefix"], (2, 1, 3, 4), (5, 1, 3, 4))),
            "wrong-parameter-shape",
            {"parameter": "values", "shape": (5, 1, 3, 4), "expected": "2 layers, 1 kv_heads, 3 length, 4 head_width"},
        ),
        (
            lambda: pk.Prefix(2).with_parameters(named(KINDS["prefix"], (2, 1, 3, 4)), {}),
            "wrong-parameter-shape",
            {"parameter": "keys", "shape": (2, 1, 3, 4), "expected": "2 layers, 1 kv_heads, 2 length, head_width"},
        ),
        (
            lambda: pk.LoReFT(2).with_parameters(named(KINDS["loreft"], (2, 3)), {}),
            "wrong-parameter-shape",
            {"parameter": "rotation", "shape": (2, 3)},
        ),
        (
            lambda: pk.Prefix(2).with_parameters({"keys": as_array(np.ones((2, 1, 2, 4)))}, {}),
            "wrong-parameter-names",
            {"names": ("keys",), "expected": ("keys", "values")},
        ),
        (
            lambda: pk.SteeringVector().with_parameters({"bias": as_array(np.ones((2, 3)))}, {}),
            "wrong-parameter-names",
            {"names": ("bias",), "expected": ("vectors",)},
        ),
        (
            lambda: pk.LoReFT(3).with_parameters(named(KINDS["prefix"], (2, 3)), {}),
            "wrong-parameter-names",
            {"names": ("keys", "values"), "expected": ("rotation", "source", "bias")},
        ),
    ],
)
def test_parameters_of_wrong_names_or_shapes_are_refused(action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(CheckpointError, code, **fields):
        action()


def test_a_prefix_that_does_not_fit_the_model_is_refused(load: Any) -> None:
    array = as_array(np.ones((3, 2, 4, 5)))
    prefix = pk.Prefix(4).with_parameters({"keys": array, "values": array}, {})
    with refused(CheckpointError, "wrong-prefix-shape", kv_heads=2, width=5, model_kv_heads=2, model_width=8):
        scores(load(), prompts(load(), prefix))


@pytest.mark.parametrize("manipulation", [pk.Prefix(2, layers=(9,)), pk.SteeringVector((9,)), pk.LoReFT(layers=(9,))])
def test_layers_that_do_not_exist_in_the_model_are_refused(manipulation: Any, load: Any) -> None:
    with refused(InputError, "unknown-layer", layer=9, model_layers=3):
        prompts(load(), manipulation)
    with refused(InputError, "rank-too-large", rank=33, d_model=32):
        prompts(load(), pk.LoReFT(33))
