"""Steering vectors extracted from demonstrations: means of the model's hidden states over pool rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Read
from promptkit.models.client import CachedModel
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.tiny import make_model, save, save_reviews


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extraction")
    save(path / "model", "gemma3")
    save_reviews(path, 40, hold_out=0.5)
    return path


def make_predictor(folder: Path, *modifiers: Any, **prompt: Any) -> pk.Predictor:
    prompt = pk.Prompt("sentiment/review", **{"demos": pk.demos.RandomEach(k=2), **prompt})
    return pk.Predictor(pk.load(str(folder / "model")), [prompt, *modifiers], pk.Verbalizer({"no": "bad", "yes": "good"}))


@pytest.mark.parametrize("how", ["difference", "mean", "replace"])
def test_the_vector_is_the_mean_state_of_transformers(folder: Path, how: Any) -> None:
    task, predictor, reference = pk.task(folder / "task.yaml"), make_predictor(folder), make_model("gemma3")
    strength = 1.0 if how == "replace" else 3.0
    steering = pk.extract_steering_vector(predictor, task, layer=2, how=how, rows=5, strength=strength, cache=False)
    rows = sorted(task.part("pool"), key=lambda row: row.id)
    means = []
    for prompt in (predictor.manipulate, replace(predictor.manipulate, demos=pk.demos.Zero())):
        bound = prompt.bind(
            BindContext(ask=CachedModel(predictor.model), reader=predictor.reader, rows={"pool": task.part("pool")})
        )
        states = {}
        for rendered, row in zip(bound(rows), rows, strict=True):
            with torch.no_grad():
                hidden = reference(torch.tensor([rendered.input.ids]), output_hidden_states=True).hidden_states[2]
            states[row.id] = hidden[0, -1].numpy()
        means.append(states)
    (vector,) = steering.parameters["vectors"].numpy()
    selected = [row.id for row in by_hash(task.part("pool"), 5)]
    with_, without = (np.mean([states[row] for row in selected], axis=0) for states in means)
    expected = {"difference": 3 * (with_ - without), "mean": 3 * with_, "replace": with_}[how]
    assert vector == pytest.approx(expected, abs=1e-4)
    assert (steering.operation, steering.layers) == ("replace" if how == "replace" else "add", (2,))


def test_a_saved_vector_changes_a_prompt_without_demonstrations(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    steering = pk.extract_steering_vector(make_predictor(folder), task, layer=1, rows=4)
    loaded = pk.load_manipulation(pk.save_manipulation(steering, tmp_path / "steering"))
    assert loaded == steering
    plain, moved = (
        pk.evaluate(make_predictor(folder, *modifiers, demos=pk.demos.Zero()), task, out=tmp_path, cache=False)
        for modifiers in ((), (loaded,))
    )
    assert (plain.path / "samples.jsonl").read_bytes() != (moved.path / "samples.jsonl").read_bytes()


def test_replacing_a_state_with_itself_changes_nothing(folder: Path) -> None:
    predictor = make_predictor(folder, demos=pk.demos.Zero())
    row = pk.task(folder / "task.yaml").rows("test")[0]
    bound = predictor.manipulate.bind(BindContext(ask=CachedModel(predictor.model), reader=predictor.reader))
    (rendered,) = bound([row])
    ask = CachedModel(predictor.model)
    (read,) = ask([rendered.request(Read(hidden_layer=2))])
    state = read.hidden.numpy()[None]
    steering = pk.SteeringVector((2,), operation="replace").with_parameters({"vectors": as_array(state)}, {})
    context = BindContext(ask=ask, reader=predictor.reader)
    changed = rendered.modified(steering.bind(context))
    one, other = (ask([prompt.request(Read(token_ids=(5, 6, 7)))])[0] for prompt in (rendered, changed))
    assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (
            lambda f: pk.extract_steering_vector(make_predictor(f, demos=pk.demos.Zero()), pk.task(f / "task.yaml"), layer=1),
            "no-demonstrations",
            {},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f, pk.SteeringVector()), pk.task(f / "task.yaml"), layer=1),
            "no-demonstrations",
            {},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=3),
            "out-of-range",
            {"layer": 3, "most": 2},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, how="sum"),
            "unknown-name",
            {"kind": "how of extract_steering_vector", "name": "sum"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f, channel=True), pk.task(f / "task.yaml"), layer=1),
            "channel-prompt",
            {},
        ),
        (
            lambda f: pk.extract_steering_vector(
                make_predictor(f), pk.task(f / "task.yaml"), layer=1, how="replace", strength=2
            ),
            "strength-with-replace",
            {"strength": 2},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, strength=1e99),
            "overflow",
            {"strength": 1e99},
        ),
        (lambda f: pk.extract_steering_vector(make_predictor(f), "sentiment", layer=1), "not-a-task", {"value": "'sentiment'"}),
        (lambda f: pk.extract_steering_vector("x", pk.task(f / "task.yaml"), layer=1), "not-a-predictor", {"value": "'x'"}),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1.5),
            "invalid-value",
            {"keyword": "layer", "value": "1.5"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=True),
            "invalid-value",
            {"keyword": "layer", "value": "True"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, strength=float("nan")),
            "not-finite",
            {"keyword": "strength", "value": "nan"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, strength="2"),
            "invalid-value",
            {"keyword": "strength", "value": "'2'"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, rows=0),
            "invalid-value",
            {"keyword": "rows", "value": "0"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, rows="a"),
            "invalid-value",
            {"keyword": "rows", "value": "'a'"},
        ),
        (
            lambda f: pk.extract_steering_vector(make_predictor(f), pk.task(f / "task.yaml"), layer=1, at="first"),
            "unknown-name",
            {"kind": "at of extract_steering_vector", "name": "first"},
        ),
    ],
)
def test_invalid_arguments_are_refused(folder: Path, action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action(folder)
