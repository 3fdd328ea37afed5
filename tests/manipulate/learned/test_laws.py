"""Laws of everything that is learned, whatever it is: trained alone, saved, composed, and read by every forward alike."""

from __future__ import annotations

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
from promptkit.core.requests import Generate, Output, Request, Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.storage import LEARNABLE, PARAMETERS, load_manipulation, read_manifest
from promptkit.manipulate.learned.storage import save as written
from promptkit.models.client import CachedModel
from tests.support.errors import refused
from tests.support.tiny import make_model, save, save_reviews

WORDS = {"no": "bad, really", "yes": "good"}
ROWS = [Example(id=f"q{i}", inputs={"text": "so " * i + "it was"}) for i in range(1, 6)]
KINDS: dict[str, Learnable] = {
    "soft": pk.SoftPrompt(4),
    "prefix": pk.Prefix(4),
    "prefix of some layers by chance": pk.Prefix(15, layers=(1, 3), init="random", seed=1),
    "prefix of a text, by a network": pk.Prefix(5, init="Say how it was.", mlp=8),
    "steering": pk.SteeringVector(),
    "shift everywhere": pk.SteeringVector((2,), at="all"),
    "replacing shift": pk.SteeringVector((2,), operation="replace"),
    "low rank": pk.LoReFT(3),
    "low rank first and last": pk.LoReFT(2, layers=(1, 2), first=3, last=2, seed=1),
}
every = pytest.mark.parametrize("change", KINDS.values(), ids=KINDS)
STEP = 0.01
"""How far to either side a slope is measured."""
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
    held: dict[str, Any] = {}

    def loaded(kind: str = "gemma3", **options: object) -> Any:
        return held.setdefault(f"{kind}{options}", pk.load(str(folder / kind), **options))

    return loaded


def around(model: Any) -> BindContext:
    return BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS))


def disturbed(change: Learnable, model: Any, seed: int = 0) -> Learnable:
    """As if it had been trained: away from where it begins."""
    draw = np.random.default_rng(seed)
    begun = change.initial_parameters(around(model))
    moved = {
        name: array if name == "units" else as_array(array.numpy() + 0.3 * draw.normal(size=array.shape))
        for name, array in begun.items()
    }
    return change.with_parameters(moved, {})


def prompts(model: Any, *changes: Learnable) -> list[TextInput]:
    return [each.input for each in composed([pk.Prompt("sentiment/review"), *changes]).bind(around(model))(ROWS)]


def scores(model: Any, inputs: list[TextInput]) -> Any:
    asked = [Request(input=each, verb=Score(continuations=((5, 6), (5, 7, 8), (9,)))) for each in inputs]
    found: dict[int, Output] = {}
    for indices, outputs in model.answer(asked):
        found |= zip(indices, outputs, strict=True)
    return np.array([[x for row in found[i].logprobs for x in row] for i in range(len(asked))])  # type: ignore[union-attr]


def test_every_kind_that_is_learned_is_among_the_examples() -> None:
    searched = {"trigger-tokens"}  # along no gradient: see test_tokens
    assert {change.name for change in KINDS.values()} == {*LEARNABLE} - searched


# ---- read by every forward alike -----------------------------------------------------------------------


@every
@pytest.mark.parametrize("kind", MODELS)
def test_packed_padded_and_single_are_equal(change: Learnable, kind: str, load: Any) -> None:
    model = load(kind)
    inputs = prompts(model, disturbed(change, model))
    packed = scores(model, inputs)
    assert np.abs(packed - scores(model, prompts(model))).max() > 1e-3
    assert packed == pytest.approx(np.concatenate([scores(model, [each]) for each in inputs]), abs=1e-4)
    if not (change.name == "prefix" and getattr(change, "layers", ())):  # which transformers' own attention does not take
        assert packed == pytest.approx(scores(load(kind, attention="eager"), inputs), abs=1e-4)


@every
def test_a_text_is_what_every_step_computed_anew_would_write(change: Learnable, load: Any) -> None:
    model = load()
    inputs = prompts(model, disturbed(change, model))
    outputs: dict[int, Any] = {}
    for indices, found in model.answer([Request(input=each, verb=Generate(max_tokens=4)) for each in inputs]):
        outputs |= zip(indices, found, strict=True)
    for index, prompt in enumerate(inputs[:2]):
        ids = outputs[index].generations[0].ids
        asked = Request(input=prompt, verb=Score(continuations=(ids,)))
        ((_, (told,)),) = model.answer([asked])
        for step in range(len(ids)):
            others = tuple((*ids[:step], token) for token in range(model.card.vocabulary))
            ((_, (every_token,)),) = model.answer([Request(input=prompt, verb=Score(continuations=others))])
            assert told.logprobs[0][step] >= max(row[step] for row in every_token.logprobs) - 1e-4


@pytest.mark.parametrize(
    "parts",
    [
        ("soft", "prefix"),
        ("soft", "steering"),
        ("prefix", "low rank first and last"),
        ("prefix", "soft", "prefix of some layers by chance", "shift everywhere"),
    ],
    ids=" + ".join,
)
def test_they_compose_and_each_is_read(parts: tuple[str, ...], load: Any) -> None:
    model = load()
    changes = [disturbed(KINDS[name], model, seed) for seed, name in enumerate(parts)]
    whole = scores(model, prompts(model, *changes))
    for index in range(len(changes)):
        without = changes[:index] + changes[index + 1 :]
        assert np.abs(whole - scores(model, prompts(model, *without))).max() > 1e-3
    one, other = (change for change in changes[:2])
    assert scores(model, prompts(model, one, other)) == pytest.approx(scores(model, prompts(model, other, one)), abs=1e-4)


@pytest.mark.parametrize("name", ["steering", "shift everywhere", "low rank", "low rank first and last"])
def test_at_the_beginning_nothing_is_changed(name: str, load: Any) -> None:
    model = load()
    assert scores(model, prompts(model, KINDS[name])) == pytest.approx(scores(model, prompts(model)), abs=1e-5)


def test_a_prefix_of_a_text_is_that_text_before_the_prompt(load: Any) -> None:
    model = load()
    tokens = (*model.card.tokenizer.bos, *model.card.tokenizer.encode("Say how it was.").ids)
    found = scores(model, prompts(model, pk.Prefix(len(tokens), init="Say how it was.")))
    whole = [TextInput(ids=tokens + each.ids) for each in prompts(model)]
    assert found == pytest.approx(scores(model, whole), abs=1e-4)


def test_a_prefix_takes_room_and_edits_take_none(load: Any) -> None:
    model = load()
    longest = 512 - max(len(each.ids) for each in prompts(model)) - 40
    assert pk.Prefix(longest).context_tokens == longest
    assert KINDS["steering"].context_tokens == KINDS["low rank"].context_tokens == 0
    with refused(TaskError, "prompt-too-long", row="q1", context_tokens=12):
        prompts(model, pk.Prefix(500))


# ---- trained, saved ------------------------------------------------------------------------------------


@every
def test_what_it_begins_as_is_what_is_trained_first(change: Learnable, load: Any) -> None:
    model = load()
    begun = change.initial_parameters(around(model))
    again = change.with_parameters(begun, {})
    assert scores(model, prompts(model, again)) == pytest.approx(scores(model, prompts(model, change)), abs=1e-4)
    further = again.with_parameters(again.initial_parameters(around(model)), {})
    for name, array in again.parameters.items():
        assert further.parameters[name].numpy() == pytest.approx(array.numpy(), abs=1e-4)


@every
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_gradients_are_the_slopes_of_scores_and_reach_nothing_frozen(
    change: Learnable, kind: str, attention: str, load: Any
) -> None:
    if attention == "eager" and getattr(change, "layers", ()) and change.name == "prefix":
        pytest.skip("a model's own attention takes a prefix at all layers or none")
    own = load(kind, attention=attention)
    asked = [Request(input=each, verb=Score(continuations=((5, 6), (9,)))) for each in prompts(own, change)]
    forward, begun = own.differentiable(asked), disturbed_start(change, own)
    weight = torch.randn(3, generator=torch.Generator().manual_seed(1))

    def total(tensors: Any) -> torch.Tensor:
        rows = forward.scores(range(len(asked)), change.interventions(tensors))
        return sum((torch.cat(row) @ weight for row in rows), torch.zeros(()))

    tensors = {name: torch.from_numpy(array.numpy().copy()) for name, array in begun.items()}
    trained = [tensor.requires_grad_() for name, tensor in tensors.items() if name not in change.fixed_parameters]
    total(tensors).backward()
    assert not any(each.grad is not None or each.requires_grad for each in own._forward.model.parameters())
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


def disturbed_start(change: Learnable, model: Any) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    return {
        name: array if name == "units" else as_array(array.numpy() + 0.1 * draw.normal(size=array.shape))
        for name, array in change.initial_parameters(around(model)).items()
    }


@every
def test_it_is_trained_saved_and_used_and_the_model_stays_as_it_was(
    change: Learnable, folder: Path, load: Any, tmp_path: Path
) -> None:
    task, model = pk.task(folder / "task.yaml"), load()
    made = pk.Predictor(model, [pk.Prompt("sentiment/review"), change], pk.Verbalizer({"no": "bad", "yes": "good"}))
    whole = len(task.part("pool"))
    recipe: dict[str, Any] = {"steps": 4, "batch_size": whole, "eval_every": 2, "dev": 8, "out": tmp_path, "cache": False}
    fit = pk.train(made, task, **recipe)
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
    on = pk.Predictor(model, [pk.Prompt("sentiment/review"), loaded], made.reading)
    again = pk.train(on, task, **{**recipe, "steps": 1})
    assert again.looks[0].loss == pytest.approx(fit.chosen.loss, abs=1e-4)


def test_two_kinds_are_learned_at_once_each_at_its_own_rate(folder: Path, load: Any, tmp_path: Path) -> None:
    task, changes = pk.task(folder / "task.yaml"), [KINDS["soft"], KINDS["prefix"], KINDS["low rank"]]
    made = pk.Predictor(load(), [pk.Prompt("sentiment/review"), *changes], pk.Verbalizer({"no": "bad", "yes": "good"}))
    fit = pk.train(made, task, steps=4, batch_size=4, dev=8, out=tmp_path, cache=False)
    assert [each.name for each in fit.learned] == ["soft", "prefix", "loreft"]
    assert fit.rates == tuple(each.learning_rate for each in changes)
    assert len({*fit.rates}) == 3
    manifests: list[Any] = [*map(read_manifest, fit.saved)]
    assert [each.model_extra["recipe"]["learning_rate"] for each in manifests] == [*fit.rates]
    assert [*map(load_manipulation, fit.saved)] == [*fit.learned]


def test_the_rows_of_a_low_rank_edit_stay_orthonormal(load: Any) -> None:
    trained = disturbed(pk.LoReFT(4), load())
    rows = trained.parameters["rotation"].numpy()
    assert rows @ rows.swapaxes(1, 2) == pytest.approx(np.broadcast_to(np.eye(4), (3, 4, 4)), abs=1e-6)
    assert np.abs(rows - pk.LoReFT(4).initial_parameters(around(load()))["rotation"].numpy()).max() > 0.05


def test_of_a_network_only_what_it_makes_is_kept(load: Any, tmp_path: Path) -> None:
    direct, made = pk.Prefix(5), pk.Prefix(5, mlp=16)
    assert scores(load(), prompts(load(), made)) == pytest.approx(scores(load(), prompts(load(), direct)), abs=1e-3)
    trained = disturbed(made, load())
    assert {name: array.shape for name, array in trained.parameters.items()} == {"keys": (3, 2, 5, 8), "values": (3, 2, 5, 8)}
    assert load_manipulation(written(trained, tmp_path)) == trained


# ---- who takes them, and what is none -----------------------------------------------------------------------


@pytest.mark.parametrize("change", [pk.Prefix(2), pk.SteeringVector(), pk.LoReFT()], ids=lambda change: change.name)
@pytest.mark.parametrize("engine", ["fake", "http", "vllm"])
def test_other_engines_refuse_them_before_any_weights_load(change: Any, engine: str, folder: Path) -> None:
    if engine == "vllm":
        pytest.importorskip("vllm")
    options = {"base_url": "http://127.0.0.1:9/v1"} if engine == "http" else {}
    model = pk.load("fake") if engine == "fake" else pk.load(f"{engine}:{folder / 'llama'}", **options)
    with refused(pk.Unsupported, "no-prefixes-or-edits", model=model.name, manipulation=change.name):
        pk.Predictor(model, [pk.Prompt("sentiment/review"), change], WORDS)


def named(kind: Learnable, *shapes: tuple[int, ...]) -> dict[str, Array]:
    """Parameters of the names that a kind has, of these shapes, or all of the one."""
    names = {"prefix": ("keys", "values"), "loreft": ("rotation", "source", "bias")}[kind.name]
    return {name: as_array(np.ones(shape)) for name, shape in zip(names, shapes * (len(names) // len(shapes)), strict=True)}


@pytest.mark.parametrize(
    ("made", "code", "fields"),
    [
        (lambda: pk.Prefix(0), "out-of-range", {"length": 0}),
        (lambda: pk.Prefix(2, init="vocabulry"), "unknown-name", {"name": "vocabulry", "close": ["vocabulary"]}),
        (lambda: pk.Prefix(9, mlp=4), "network-too-narrow", {"mlp": 4, "length": 9}),
        (lambda: pk.Prefix(2, layers=(0,)), "invalid-layers", {"layers": (0,)}),
        (lambda: pk.SteeringVector((2, 2)), "invalid-layers", {"layers": (2, 2)}),
        (lambda: pk.SteeringVector(at="first"), "unknown-name", {"kind": "at of steering", "name": "first"}),  # type: ignore[arg-type]
        (
            lambda: pk.SteeringVector(operation="multiply"),
            "unknown-name",
            {"kind": "operation of steering", "name": "multiply"},
        ),  # type: ignore[arg-type]
        (lambda: pk.SteeringVector(operation="replace"), "needs-one-layer", {"layers": ()}),
        (lambda: pk.LoReFT(0), "out-of-range", {"rank": 0}),
        (lambda: pk.LoReFT(last=0), "no-edited-token", {"first": 0, "last": 0}),
    ],
)
def test_what_cannot_be_learned_is_told(made: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        made()


@pytest.mark.parametrize(
    ("made", "code", "fields"),
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
            lambda: pk.LoReFT(2).with_parameters(named(KINDS["low rank"], (2, 3)), {}),
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
def test_parameters_that_do_not_fit_are_told(made: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(CheckpointError, code, **fields):
        made()


def test_a_prefix_of_another_shape_is_told(load: Any) -> None:
    held = as_array(np.ones((3, 2, 4, 5)))
    prefix = pk.Prefix(4).with_parameters({"keys": held, "values": held}, {})
    with refused(CheckpointError, "wrong-prefix-shape", kv_heads=2, width=5, model_kv_heads=2, model_width=8):
        scores(load(), prompts(load(), prefix))


@pytest.mark.parametrize("change", [pk.Prefix(2, layers=(9,)), pk.SteeringVector((9,)), pk.LoReFT(layers=(9,))])
def test_a_layer_that_a_model_does_not_have_is_told(change: Any, load: Any) -> None:
    with refused(InputError, "unknown-layer", layer=9, model_layers=3):
        prompts(load(), change)
    with refused(InputError, "rank-too-large", rank=33, d_model=32):
        prompts(load(), pk.LoReFT(33))
