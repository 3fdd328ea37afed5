"""All optimizers: steps that depend only on the checkpoint, settings and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.training import checkpoint
from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.config import TrainingConfig
from promptkit.training.optimizers import OPTIMIZERS
from tests.support.errors import refused
from tests.support.objectives import QuadraticObjective, initial_state, steps

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
        cut.dev_evaluations, cut.rows_computed = [DevEvaluation(step=place, loss=0.5)], {"steps": place}
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
