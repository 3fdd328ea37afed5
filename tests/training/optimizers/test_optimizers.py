"""Optimizers: unbiased estimates, convergence, and steps that depend only on the checkpoint."""

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
from promptkit.training.black_box import BlackBoxLosses
from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.config import OPTIMIZERS, TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.gradients import GradientLosses
from promptkit.training.optimizers.base import Parameters
from promptkit.training.rows import TrainingRows
from tests.support.errors import refused
from tests.support.tiny import save

TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.8}]
"""


class QuadraticObjective:
    """The loss (p - target)^2 / 2 for vectors; for tokens, a table of losses per position and per pair of neighbors."""

    def __init__(self, target: Any, table: Any = None) -> None:
        self.target, self.table = np.asarray(target, np.float64), table
        self.tried: list[Any] = []

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        self.tried += [item["x"].numpy().copy() for item in candidates]
        return [self._loss(item["x"].numpy()) for item in candidates]

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


def initial_state(numbers: Any) -> TrainingState:
    parameters = {"x": as_array(np.asarray(numbers))}
    return TrainingState(parameters=parameters, best_parameters=dict(parameters))


def steps(optimizer: Any, state: TrainingState, objective: Any, count: int, rate: float = 0.1, seed: int = 0) -> list[float]:
    step, losses = optimizer.begin(state, seed), []
    for _ in range(count):
        losses.append(step(objective, {"x": rate}))
        state.step += 1
    return losses


# ---- SPSA -------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.floats(0.01, 2))
@settings(max_examples=5, deadline=None)
def test_spsa_estimates_the_gradient_without_bias(seed: int, perturbation: float) -> None:
    """On a quadratic the two-sided difference is exact, and only the signs are random."""
    begin, target = np.array([[1.0, -2.0], [2.0, 0.5]]), np.array([[0.5, 1.0], [2.0, -1.0]])
    state, scale, rate, count = initial_state(begin), math.sqrt(np.mean(begin**2)), 0.1, 1000
    steps(pk.Spsa(perturbation=perturbation, averaged=count), state, QuadraticObjective(target), 1, rate, seed)
    gradient = (begin - target) * scale
    estimated = -(state.parameters["x"].numpy() - begin) / scale / rate
    assert estimated == pytest.approx(gradient, abs=6 * np.linalg.norm(gradient) / math.sqrt(count))


@given(st.integers(0, 20))
def test_one_spsa_estimate_is_the_slope_along_its_signs(seed: int) -> None:
    begin, target = np.array([3.0, -1.0, 2.0]), np.array([0.0, 1.0, 5.0])
    state, objective, scale = initial_state(begin), QuadraticObjective(target), math.sqrt(14 / 3)
    steps(pk.Spsa(), state, objective, 1, 0.1, seed)
    signs = (objective.tried[0] - begin) / (0.1 * scale)
    assert np.abs(signs) == pytest.approx(np.ones(3), abs=1e-5)
    assert objective.tried[1] == pytest.approx(2 * begin - objective.tried[0], abs=1e-5)
    slope = float((begin - target) @ signs) * scale
    assert state.parameters["x"].numpy() == pytest.approx(begin - 0.1 * scale * slope * signs, abs=1e-4)


def test_spsa_converges_to_the_optimum() -> None:
    state, target = initial_state(np.ones(6)), np.arange(6.0) / 5
    steps(pk.Spsa(averaged=2), state, QuadraticObjective(target), 200, 0.1)
    assert state.parameters["x"].numpy() == pytest.approx(target, abs=0.05)


# ---- CMA-ES -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_cma_es_finds_the_optimum_of_its_subspace_and_stays_in_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    begin, target = chance.normal(size=(6, 5)), chance.normal(size=(6, 5))
    state, objective = initial_state(begin), QuadraticObjective(target)
    steps(pk.CmaEs(subspace=4, sigma=0.5), state, objective, 90, seed=seed)
    moved = np.array([item - begin for item in objective.tried]).reshape(-1, 30)
    sizes, basis = np.linalg.svd(moved[:50])[1:]
    assert (sizes > 1e-4).sum() == 4
    optimum = begin.ravel() + basis[:4].T @ (basis[:4] @ (target - begin).ravel())
    assert state.parameters["x"].numpy().ravel() == pytest.approx(optimum, abs=0.02)


def test_the_first_population_deviates_by_the_scale_of_the_parameters() -> None:
    begin = np.full((20, 30), 7.0)
    objective = QuadraticObjective(begin)
    steps(pk.CmaEs(subspace=40, population=30), initial_state(begin), objective, 1)
    lengths = [np.sqrt(np.mean((item - begin) ** 2)) for item in objective.tried]
    assert np.mean(lengths) == pytest.approx(7, rel=0.1)
    assert len(objective.tried) == 30


# ---- tokens -----------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 5))
def test_hotflip_does_not_increase_the_loss(seed: int, candidates: int, length: int) -> None:
    table = np.random.default_rng(seed).normal(size=(length, 12))
    state, objective = initial_state(np.zeros(length)), QuadraticObjective(0, table)
    losses = steps(pk.HotFlip(candidates=candidates), state, objective, 3 * length, seed=seed)
    losses.append(objective._loss(state.parameters["x"].numpy()))
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def test_hotflip_visits_every_position_once_a_sweep_and_tries_the_best_tokens() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 5] = np.inf  # not allowed
    state, objective = initial_state(np.zeros(4)), QuadraticObjective(0, table)
    step, places = pk.HotFlip(candidates=3).begin(state, 0), []
    for _ in range(8):
        before = state.parameters["x"].numpy().astype(int)
        objective.tried.clear()
        step(objective, {})
        state.step += 1
        (place,) = {int(np.flatnonzero(item != before)[0]) for item in objective.tried}
        places.append(place)
        others = [token for token in np.argsort(table[place]) if token != before[place]]
        assert [int(item[place]) for item in objective.tried] == others[:3]
    assert sorted(places[:4]) == sorted(places[4:]) == [0, 1, 2, 3]


def test_hotflip_tries_only_allowed_tokens() -> None:
    table = np.random.default_rng(0).normal(size=(4, 12))
    table[:, 2:] = np.inf
    state, objective = initial_state(np.zeros(4)), QuadraticObjective(0, table)
    steps(pk.HotFlip(candidates=100), state, objective, 8)
    assert {int(token) for item in objective.tried for token in item} <= {0, 1}
    table[:, 1] = np.inf
    steps(pk.HotFlip(), initial_state(np.zeros(4)), QuadraticObjective(0, table), 4)  # no candidates


# ---- all optimizers------------------------------------------------------------------------------------

OPTIMIZER_EXAMPLES = [pk.AdamW(weight_decay=0.1), pk.Spsa(), pk.Spsa(averaged=3), pk.CmaEs(subspace=5), pk.HotFlip()]


def objective_for(optimizer: Any) -> tuple[TrainingState, QuadraticObjective]:
    chance = np.random.default_rng(1)
    begin = np.zeros(4) if optimizer.is_discrete else chance.normal(size=(4, 3))
    return initial_state(begin), QuadraticObjective(
        chance.normal(size=(4, 3)), chance.normal(size=(4, 20)) if optimizer.is_discrete else None
    )


@pytest.mark.parametrize("optimizer", OPTIMIZER_EXAMPLES, ids=str)
def test_a_step_depends_only_on_the_checkpoint(optimizer: Any, tmp_path: Path) -> None:
    complete, objective = objective_for(optimizer)
    losses = steps(optimizer, complete, objective, 9)
    cut = objective_for(optimizer)[0]
    for place in range(9):
        cut.losses += steps(optimizer, cut, objective, 1)
        cut.dev_evaluations, cut.rows_computed = [DevEvaluation(step=place, loss=0.5, accuracy=None)], {"steps": place}
        checkpoint.write(tmp_path, cut)
        read = checkpoint.read(tmp_path)
        assert read is not None
        assert read == cut
        cut = read
    assert cut.parameters == complete.parameters
    assert cut.losses == losses


@pytest.mark.parametrize("optimizer", OPTIMIZER_EXAMPLES, ids=str)
def test_results_depend_on_the_seed(optimizer: Any) -> None:
    ends = []
    for seed in (0, 0, 1):
        state, objective = objective_for(optimizer)
        steps(optimizer, state, objective, 2, seed=seed)
        ends.append((state.parameters, [item.tolist() for item in objective.tried]))
    assert ends[0] == ends[1]
    assert (ends[0] != ends[2]) == (optimizer.name != "adamw")


def test_names_are_unique_and_settings_are_recorded() -> None:
    assert {item.name for item in OPTIMIZER_EXAMPLES} == set(OPTIMIZERS)
    for spelling in ("adamw:weight_decay=0.1", "spsa:averaged=3", "cma-es:population=20:sigma=2", "hotflip:candidates=4"):
        config = TrainingConfig.from_keywords({"optimizer": spelling})
        assert json.loads(json.dumps(config.settings())) == config.settings()
        name = spelling.partition(":")[0]
        assert config.resolved(discrete=name == "hotflip").optimizer == config.optimizer
        assert TrainingConfig.from_keywords(config.keywords()) == config


@pytest.mark.parametrize(
    ("action", "code", "fields"),
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
            lambda: TrainingConfig.from_keywords({"optimizer": "cmaes"}),
            "unknown-name",
            {"kind": "optimizer", "name": "cmaes", "close": ["cma-es"]},
        ),
        (
            lambda: TrainingConfig.from_keywords({"optimizer": pk.CmaEs}),
            "not-an-instance",
            {"keyword": "optimizer", "value": repr(pk.CmaEs)},
        ),
    ],
)
def test_invalid_settings_are_refused(action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()


# ---- with models ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimizers")
    save(path / "model", "gemma3")
    rows = [{"text": f"{'a long evening' if i % 2 else 'liked it'} {i}", "label": ("yes", "no")[i % 2]} for i in range(60)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.yaml").write_text(TASK)
    return path


def predictor(folder: Path, *modifiers: Any, model: Any = None, align: Any = None) -> pk.Predictor:
    words = align or pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"})
    loaded = model or pk.load(str(folder / "model"))
    return pk.Predictor(loaded, [pk.Prompt("sentiment/review", instruction="Say."), *(modifiers or (pk.SoftPrompt(3),))], words)


def training_data(folder: Path, **keywords: Any) -> TrainingData:
    task, config = pk.task(folder / "task.yaml"), TrainingConfig(batch_size=5, steps=2, dev=4)
    return TrainingData(predictor(folder, **keywords), task, TrainingRows.from_task(task, None, config), config, None)


@pytest.mark.parametrize(
    "align",
    [
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}, score="mean", pool="max"),
        pk.Verbalizer({"no": ["bad, really", "dull"], "yes": "good"}),
        pk.extract.first_line(),
    ],
)
def test_black_box_losses_equal_gradient_losses(folder: Path, align: Any) -> None:
    data: Any = training_data(folder, align=align)
    initial = data.initial_parameters()
    other = {name: as_array(1.5 * array.numpy()) for name, array in initial.items()}
    every = list(data.all_rows)
    one, two = (
        losses.row_losses([initial, other], every) for losses in (BlackBoxLosses(data), GradientLosses(data, data.model))
    )
    for mine, theirs in zip(one, two, strict=True):
        assert [loss for loss, _ in mine] == pytest.approx([loss for loss, _ in theirs], abs=1e-4)
        assert [right for _, right in mine] == [right for _, right in theirs]
    assert one[0] != one[1]


def trained(folder: Path, out: Path, *modifiers: Any, model: Any = None, **config: Any) -> Any:
    given = {"steps": 6, "batch_size": 4, "eval_every": 2, "dev": 6, "patience": None, **config}
    return pk.train(predictor(folder, *modifiers, model=model), pk.task(folder / "task.yaml"), out=out, **given)


BLACK_BOX = ["spsa:averaged=2", "cma-es:subspace=6:population=5"]


@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_training_from_scores_alone_lowers_the_loss_without_caching(
    folder: Path, tmp_path: Path, optimizer: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("promptkit.models.cache.ScoreCache.add", lambda *_: pytest.fail("a candidate was cached"))
    monkeypatch.setattr("promptkit.models.hf.engine.TransformersModel.differentiable", lambda *_: pytest.fail("gradients"))
    model: Any = pk.load(str(folder / "model"))
    model.load()
    before = {name: weight.clone() for name, weight in model._forward.model.state_dict().items()}
    result = trained(folder, tmp_path, model=model, optimizer=optimizer, steps=20)
    assert result.best.loss < result.dev_evaluations[0].loss
    candidates = 4 if optimizer.startswith("spsa") else 5
    assert result.rows_computed == {"steps": 20 * 4 * candidates, "dev": 11 * 6}
    assert all(bool((weight == before[name]).all()) for name, weight in model._forward.model.state_dict().items())
    assert pk.load_manipulation(result.saved[0]) == result.learned[0]


@pytest.mark.parametrize("change", [pk.Prefix(2), pk.SteeringVector((1,)), pk.LoReFT(2)], ids=lambda item: item.name)
@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_layer_manipulations_train_from_scores_and_keep_their_units(
    folder: Path, tmp_path: Path, optimizer: str, change: Any
) -> None:
    result = trained(folder, tmp_path, change, optimizer=optimizer, steps=2)
    (learned,), state = result.learned, checkpoint.read(result.path)
    assert state is not None
    assert {*state.fixed_parameters} == {"0.units"}
    assert {*state.parameters} == {f"0.{name}" for name in learned.parameters}
    assert result.trainable == sum(array.numpy().size for array in learned.parameters.values())
    assert len({*result.losses, *(evaluation.loss for evaluation in result.dev_evaluations)}) > 1


@pytest.mark.parametrize("optimizer", BLACK_BOX)
def test_training_without_gradients_resumes_exactly(folder: Path, tmp_path: Path, optimizer: str) -> None:
    def stop(done: int, total: int, metrics: str) -> None:
        if done == 5:
            raise InterruptedError

    complete = trained(folder, tmp_path / "whole", model=pk.load("fake"), optimizer=optimizer)
    with pytest.raises(InterruptedError):
        trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer, progress=stop)
    result = trained(folder, tmp_path / "cut", model=pk.load("fake"), optimizer=optimizer)
    assert result.resumed == 4
    resumed, expected = [
        (result.learned, result.losses, result.dev_evaluations, result.rows_computed) for result in (result, complete)
    ]
    assert resumed == expected
    assert len(set(complete.losses)) == 6


def test_a_killed_training_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    """Kills the process at an arbitrary point of a step; steps with the fake model are short."""
    command = [sys.executable, "-m", "promptkit", "train", "task.yaml", "--model", "fake", "--steps", "60", "--eval-every", "1"]
    command += ["--dev", "4", "--batch-size", "4", "--optimizer", "cma-es:subspace=30", "--patience", "99"]

    def start(out: str) -> subprocess.Popen[bytes]:
        complete = [*command, "--out", str(tmp_path / out)]
        return subprocess.Popen(complete, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)

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
    ("config", "error", "code", "fields"),
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
def test_invalid_trainings_are_refused(
    folder: Path, tmp_path: Path, config: Any, error: type[pk.PromptkitError], code: str, fields: dict[str, Any]
) -> None:
    with refused(error, code, **fields):
        trained(folder, tmp_path, **config)
