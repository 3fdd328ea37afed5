"""Optimisers: estimates that are the gradient in the mean, optima that are found, steps that depend on a checkpoint alone."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, TrainingError
from promptkit.training import checkpoint
from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.dataset import Rows, TrainingData
from promptkit.training.losses import BlackBoxLosses, GradientLosses
from promptkit.training.optimizers.base import Parameters
from promptkit.training.recipe import OPTIMIZERS, TrainingConfig
from tests.support.errors import refused
from tests.support.tiny import save

TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.8}]
"""


class Bowl:
    """The loss (p - target)^2 / 2 of vectors; of tokens, a table's loss for each place, and what crosses two places."""

    def __init__(self, target: Any, table: Any = None) -> None:
        self.target, self.table = np.asarray(target, np.float64), table
        self.tried: list[Any] = []

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        self.tried += [each["x"].numpy().copy() for each in candidates]
        return [self._loss(each["x"].numpy()) for each in candidates]

    def _loss(self, p: Any) -> float:
        if self.table is None:
            return float(((p - self.target) ** 2).sum() / 2)
        ids = p.astype(int)
        return float(self.table[np.arange(len(ids)), ids].sum() + np.cos(ids[:-1] * ids[1:]).sum())

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        p = parameters["x"].numpy()
        return self._loss(p), {"x": as_array(p - self.target)}

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        p = parameters["x"].numpy()
        return self._loss(p), {"x": self.table - self.table[np.arange(len(p)), p.astype(int)][:, None]}


def standing(numbers: Any) -> TrainingState:
    held = {"x": as_array(np.asarray(numbers))}
    return TrainingState(parameters=held, best=dict(held))


def steps(optimizer: Any, at: TrainingState, objective: Any, count: int, rate: float = 0.1, seed: int = 0) -> list[float]:
    step, losses = optimizer.begin(at, seed), []
    for _ in range(count):
        losses.append(step(objective, {"x": rate}))
        at.step += 1
    return losses


# ---- SPSA -------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.floats(0.01, 2))
@settings(max_examples=5, deadline=None)
def test_an_estimate_by_simultaneous_perturbation_is_the_gradient_in_the_mean(seed: int, perturbation: float) -> None:
    """On a quadratic the two-sided difference is exact, so that only the signs are left to chance."""
    begin, target = np.array([[1.0, -2.0], [2.0, 0.5]]), np.array([[0.5, 1.0], [2.0, -1.0]])
    at, scale, rate, count = standing(begin), math.sqrt(np.mean(begin**2)), 0.1, 1000
    steps(pk.Spsa(perturbation=perturbation, averaged=count), at, Bowl(target), 1, rate, seed)
    gradient = (begin - target) * scale
    estimated = -(at.parameters["x"].numpy() - begin) / scale / rate
    assert estimated == pytest.approx(gradient, abs=6 * np.linalg.norm(gradient) / math.sqrt(count))


@given(st.integers(0, 20))
def test_one_estimate_is_the_slope_along_its_own_signs(seed: int) -> None:
    begin, target = np.array([3.0, -1.0, 2.0]), np.array([0.0, 1.0, 5.0])
    at, bowl, scale = standing(begin), Bowl(target), math.sqrt(14 / 3)
    steps(pk.Spsa(), at, bowl, 1, 0.1, seed)
    signs = (bowl.tried[0] - begin) / (0.1 * scale)
    assert np.abs(signs) == pytest.approx(np.ones(3), abs=1e-5)
    assert bowl.tried[1] == pytest.approx(2 * begin - bowl.tried[0], abs=1e-5)
    slope = float((begin - target) @ signs) * scale
    assert at.parameters["x"].numpy() == pytest.approx(begin - 0.1 * scale * slope * signs, abs=1e-4)


def test_simultaneous_perturbation_comes_to_the_optimum() -> None:
    at, target = standing(np.ones(6)), np.arange(6.0) / 5
    steps(pk.Spsa(averaged=2), at, Bowl(target), 200, 0.1)
    assert at.parameters["x"].numpy() == pytest.approx(target, abs=0.05)


# ---- CMA-ES -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_evolution_comes_to_the_optimum_of_its_subspace_and_never_leaves_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    begin, target = chance.normal(size=(6, 5)), chance.normal(size=(6, 5))
    at, bowl = standing(begin), Bowl(target)
    steps(pk.CmaEs(subspace=4, sigma=0.5), at, bowl, 90, seed=seed)
    moved = np.array([each - begin for each in bowl.tried]).reshape(-1, 30)
    sizes, basis = np.linalg.svd(moved[:50])[1:]
    assert (sizes > 1e-4).sum() == 4
    wanted = begin.ravel() + basis[:4].T @ (basis[:4] @ (target - begin).ravel())
    assert at.parameters["x"].numpy().ravel() == pytest.approx(wanted, abs=0.02)


def test_the_first_population_is_as_far_off_as_the_parameters_are_long() -> None:
    begin = np.full((20, 30), 7.0)
    bowl = Bowl(begin)
    steps(pk.CmaEs(subspace=40, population=30), standing(begin), bowl, 1)
    lengths = [np.sqrt(np.mean((each - begin) ** 2)) for each in bowl.tried]
    assert np.mean(lengths) == pytest.approx(7, rel=0.1)
    assert len(bowl.tried) == 30


# ---- tokens -----------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 5))
def test_the_loss_never_rises_from_one_accepted_token_to_the_next(seed: int, candidates: int, length: int) -> None:
    table = np.random.default_rng(seed).normal(size=(length, 12))
    at, bowl = standing(np.zeros(length)), Bowl(0, table)
    losses = steps(pk.HotFlip(candidates=candidates), at, bowl, 3 * length, seed=seed)
    losses.append(bowl._loss(at.parameters["x"].numpy()))
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def test_every_place_is_tried_once_a_sweep_and_only_what_promises_most() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 5] = np.inf  # may not stand there
    at, bowl = standing(np.zeros(4)), Bowl(0, table)
    step, places = pk.HotFlip(candidates=3).begin(at, 0), []
    for _ in range(8):
        before = at.parameters["x"].numpy().astype(int)
        bowl.tried.clear()
        step(bowl, {})
        at.step += 1
        (place,) = {int(np.flatnonzero(each != before)[0]) for each in bowl.tried}
        places.append(place)
        others = [token for token in np.argsort(table[place]) if token != before[place]]
        assert [int(each[place]) for each in bowl.tried] == others[:3]
    assert sorted(places[:4]) == sorted(places[4:]) == [0, 1, 2, 3]


def test_a_token_that_may_not_stand_there_is_never_tried() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 2:] = np.inf
    at, bowl = standing(np.zeros(4)), Bowl(0, table)
    steps(pk.HotFlip(candidates=100), at, bowl, 8)
    assert {int(token) for each in bowl.tried for token in each} <= {0, 1}
    table[:, 1] = np.inf
    steps(pk.HotFlip(), standing(np.zeros(4)), Bowl(0, table), 4)  # there is nothing to try


# ---- all of them --------------------------------------------------------------------------------------

EVERY = [pk.AdamW(weight_decay=0.1), pk.Spsa(), pk.Spsa(averaged=3), pk.CmaEs(subspace=5), pk.HotFlip()]


def bowl_for(optimizer: Any) -> tuple[TrainingState, Bowl]:
    chance = np.random.default_rng(1)
    begin = np.zeros(4) if optimizer.discrete else chance.normal(size=(4, 3))
    return standing(begin), Bowl(chance.normal(size=(4, 3)), chance.normal(size=(4, 20)) if optimizer.discrete else None)


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_a_step_depends_on_what_a_checkpoint_holds_and_on_nothing_else(optimizer: Any, tmp_path: Path) -> None:
    whole, bowl = bowl_for(optimizer)
    losses = steps(optimizer, whole, bowl, 9)
    cut = bowl_for(optimizer)[0]
    for place in range(9):
        cut.losses += steps(optimizer, cut, bowl, 1)
        cut.looks, cut.evaluations = [DevEvaluation(step=place, loss=0.5, accuracy=None)], {"steps": place}
        checkpoint.write(tmp_path, cut)
        read = checkpoint.read(tmp_path)
        assert read is not None
        assert read == cut
        cut = read
    assert cut.parameters == whole.parameters
    assert cut.losses == losses


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_another_seed_is_another_way_and_the_same_seed_the_same(optimizer: Any) -> None:
    ends = []
    for seed in (0, 0, 1):
        at, bowl = bowl_for(optimizer)
        steps(optimizer, at, bowl, 2, seed=seed)
        ends.append((at.parameters, [each.tolist() for each in bowl.tried]))
    assert ends[0] == ends[1]
    assert (ends[0] != ends[2]) == (optimizer.name != "adamw")


def test_all_have_names_of_their_own_and_are_recorded() -> None:
    assert {each.name for each in EVERY} == set(OPTIMIZERS)
    for spelling in ("adamw:weight_decay=0.1", "spsa:averaged=3", "cma-es:population=20:sigma=2", "hotflip:candidates=4"):
        recipe = TrainingConfig.of({"optimizer": spelling})
        assert json.loads(json.dumps(recipe.settings())) == recipe.settings()
        name = spelling.partition(":")[0]
        assert recipe.resolved(discrete=name == "hotflip").optimizer == recipe.optimizer
        assert TrainingConfig.of(recipe.keywords()) == recipe


@pytest.mark.parametrize(
    ("made", "code", "fields"),
    [
        (lambda: pk.Spsa(perturbation=0), "out-of-range", {"perturbation": 0, "averaged": 1}),
        (lambda: pk.Spsa(averaged=0), "out-of-range", {"averaged": 0}),
        (lambda: pk.CmaEs(subspace=1), "out-of-range", {"subspace": 1, "population": None, "sigma": 1.0}),
        (lambda: pk.CmaEs(population=3), "out-of-range", {"population": 3}),
        (lambda: pk.CmaEs(sigma=1e30), "out-of-range", {"sigma": 1e30}),
        (lambda: pk.CmaEs(sigma=0), "out-of-range", {"sigma": 0}),
        (lambda: pk.HotFlip(candidates=0), "out-of-range", {"candidates": 0}),
        (lambda: pk.AdamW(weight_decay=-1), "out-of-range", {"weight_decay": -1}),
        (
            lambda: TrainingConfig.of({"optimizer": "cmaes"}),
            "unknown-name",
            {"kind": "optimizer", "name": "cmaes", "close": ["cma-es"]},
        ),
        (lambda: TrainingConfig.of({"optimizer": pk.CmaEs}), "class-not-object", {"optimizer": "CmaEs"}),
    ],
)
def test_what_no_optimizer_is_made_of_is_told(made: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        made()


# ---- on models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimizers")
    save(path / "model", "gemma3")
    rows = [{"text": f"{'a long evening' if i % 2 else 'liked it'} {i}", "label": ("yes", "no")[i % 2]} for i in range(60)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.yaml").write_text(TASK)
    return path


def predictor(folder: Path, *changes: Any, model: Any = None, align: Any = None) -> pk.Predictor:
    words = align or pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"})
    loaded = model or pk.load(str(folder / "model"))
    return pk.Predictor(loaded, [pk.Prompt("sentiment/review", instruction="Say."), *(changes or (pk.SoftPrompt(3),))], words)


def material(folder: Path, **keywords: Any) -> TrainingData:
    task, recipe = pk.task(folder / "task.yaml"), TrainingConfig(batch_size=5, steps=2, dev=4)
    return TrainingData(predictor(folder, **keywords), task, Rows.of(task, None, recipe), recipe, None)


@pytest.mark.parametrize(
    "align",
    [
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}, score="mean", pool="max"),
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}),
        pk.extract.first_line(),
    ],
)
def test_losses_from_answers_are_those_that_gradients_follow(folder: Path, align: Any) -> None:
    of: Any = material(folder, align=align)
    begun = of.initial_parameters()
    other = {name: as_array(1.5 * array.numpy()) for name, array in begun.items()}
    every = list(of.everything)
    one, two = (losses.judged([begun, other], every) for losses in (BlackBoxLosses(of), GradientLosses(of, of.model)))
    for mine, theirs in zip(one, two, strict=True):
        assert [loss for loss, _ in mine] == pytest.approx([loss for loss, _ in theirs], abs=1e-4)
        assert [right for _, right in mine] == [right for _, right in theirs]
    assert one[0] != one[1]


def trained(folder: Path, out: Path, *changes: Any, model: Any = None, **recipe: Any) -> Any:
    given = {"steps": 6, "batch_size": 4, "eval_every": 2, "dev": 6, "patience": None, **recipe}
    return pk.train(predictor(folder, *changes, model=model), pk.task(folder / "task.yaml"), out=out, **given)


WAYS = ["spsa:averaged=2", "cma-es:subspace=6:population=5"]


@pytest.mark.parametrize("optimizer", WAYS)
def test_it_learns_from_scores_alone_and_keeps_none_of_them(
    folder: Path, tmp_path: Path, optimizer: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("promptkit.models.cache.ScoreCache.add", lambda *_: pytest.fail("a trial was kept"))
    monkeypatch.setattr("promptkit.models.hf.engine.TransformersModel.differentiable", lambda *_: pytest.fail("gradients"))
    model: Any = pk.load(str(folder / "model"))
    model.load()
    before = {name: weight.clone() for name, weight in model._forward.model.state_dict().items()}
    fit = trained(folder, tmp_path, model=model, optimizer=optimizer, steps=20)
    assert fit.chosen.loss < fit.looks[0].loss
    candidates = 4 if optimizer.startswith("spsa") else 5
    assert fit.evaluations == {"steps": 20 * 4 * candidates, "dev": 11 * 6}
    assert all(bool((weight == before[name]).all()) for name, weight in model._forward.model.state_dict().items())
    assert pk.load_manipulation(fit.saved[0]) == fit.learned[0]


@pytest.mark.parametrize("change", [pk.Prefix(2), pk.SteeringVector((1,)), pk.LoReFT(2)], ids=lambda each: each.name)
@pytest.mark.parametrize("optimizer", WAYS)
def test_what_stands_in_the_layers_is_learned_so_too_and_its_units_stay(
    folder: Path, tmp_path: Path, optimizer: str, change: Any
) -> None:
    fit = trained(folder, tmp_path, change, optimizer=optimizer, steps=2)
    (learned,), held = fit.learned, checkpoint.read(fit.path)
    assert held is not None
    assert {*held.fixed_parameters} == {"0.units"}
    assert {*held.parameters} == {f"0.{name}" for name in learned.parameters}
    assert fit.trainable == sum(array.numpy().size for array in learned.parameters.values())
    assert len({*fit.losses, *(look.loss for look in fit.looks)}) > 1


@pytest.mark.parametrize("optimizer", WAYS)
def test_it_runs_on_a_model_without_gradients_and_comes_to_the_very_same_if_it_is_broken_off(
    folder: Path, tmp_path: Path, optimizer: str
) -> None:
    def stop(done: int, total: int, told: str) -> None:
        if done == 5:
            raise InterruptedError

    whole = trained(folder, tmp_path / "whole", model=pk.load("fake"), optimizer=optimizer)
    with pytest.raises(InterruptedError):
        trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer, progress=stop)
    fit = trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer)
    assert fit.resumed == 4
    told = [(each.learned, each.losses, each.looks, each.evaluations) for each in (fit, whole)]
    assert told[0] == told[1]
    assert len(set(whole.losses)) == 6


def test_one_that_is_killed_comes_to_the_very_same(folder: Path, tmp_path: Path) -> None:
    """On `fake` no step takes long, so that the kill falls anywhere."""
    command = [sys.executable, "-m", "promptkit", "train", "task.yaml", "--model", "fake", "--steps", "60", "--eval-every", "1"]
    command += ["--dev", "4", "--batch-size", "4", "--optimizer", "cma-es:subspace=30", "--patience", "99"]

    def start(out: str) -> subprocess.Popen[bytes]:
        whole = [*command, "--out", str(tmp_path / out)]
        return subprocess.Popen(whole, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)

    cut = start("cut")
    while not list((tmp_path / "cut").glob("*/checkpoint.safetensors")):
        assert cut.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    assert not list((tmp_path / "cut").glob("*/parameters.safetensors"))
    assert start("cut").wait() == start("whole").wait() == 0
    one, other = (next((tmp_path / out).glob("*/parameters.safetensors")).read_bytes() for out in ("cut", "whole"))
    assert one == other


@pytest.mark.parametrize(
    ("recipe", "error", "code", "fields"),
    [
        (
            {"optimizer": "spsa", "learning_rate": 1e300},
            TrainingError,
            "diverged",
            {"optimizer": "spsa", "learning_rates": (1e300,)},
        ),
        ({"optimizer": "cma-es:subspace=5:sigma=1e38"}, InputError, "out-of-range", {"sigma": 1e38}),
        (
            {"optimizer": "cma-es", "learning_rate": 0.1},
            InputError,
            "no-learning-rate",
            {"optimizer": "cma-es", "learning_rate": 0.1},
        ),
        (
            {"optimizer": "hotflip"},
            InputError,
            "wrong-optimizer",
            {"optimizer": "hotflip", "fitting": ("adamw", "spsa", "cma-es")},
        ),
    ],
)
def test_what_cannot_go_on_is_told(
    folder: Path, tmp_path: Path, recipe: Any, error: type[pk.PromptkitError], code: str, fields: dict[str, Any]
) -> None:
    with refused(error, code, **fields):
        trained(folder, tmp_path, **recipe)
