"""What was learned survives being saved, exactly; what is damaged is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import promptkit as pk
from promptkit.manipulate.arrays import as_array
from promptkit.manipulate.saved import load_manipulation, read_manifest, save

BASE = {"name": "tiny", "d_model": 3, "tokenizer": "t", "content": "c"}


def learned(numbers: Any, **keywords: Any) -> pk.SoftPrompt:
    return pk.SoftPrompt(len(numbers), **keywords).learned({"vectors": as_array(numbers)}, BASE)


@given(
    arrays.arrays("<f4", st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(allow_nan=False, width=32)),
    st.sampled_from(["after_bos", "start"]),
    st.integers(0, 9),
)
def test_what_is_loaded_is_what_was_saved(tmp_path_factory: Any, numbers: Any, place: Any, seed: int) -> None:
    soft = learned(numbers, place=place, seed=seed, init="Say: how was it?")
    folder = save(soft, tmp_path_factory.mktemp("saved"), told={"metrics": {"dev": 0.5}})
    found = load_manipulation(folder)
    assert found == soft
    assert found.settings() == soft.settings()
    assert read_manifest(folder)["metrics"] == {"dev": 0.5}
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "parameters.safetensors"}


def test_another_seed_or_beginning_is_no_other_prompt_once_it_is_learned() -> None:
    numbers = np.ones((2, 3))
    assert learned(numbers, seed=1).settings() == learned(numbers, init="random").settings()
    assert learned(numbers).settings() != learned(2 * numbers).settings()


def changed(folder: Path, **told: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not what was saved with its manifest"),
        (lambda folder: (folder / "parameters.safetensors").unlink(), "parameters.safetensors is not there"),
        (lambda folder: (folder / "parameters.safetensors").write_bytes(b"PK"), "not what was saved with its manifest"),
        (lambda folder: changed(folder, parameters={"vectors": [3, 3]}), "the shapes of its parameters"),
        (lambda folder: changed(folder, base=3), "no manifest of a learned manipulation"),
        (lambda folder: changed(folder, manipulation={"name": "softer", "length": 2}), "Did you mean soft"),
        (lambda folder: changed(folder, manipulation={"name": "soft", "length": 3}), "not as many as it says"),
        (lambda folder: changed(folder, manipulation={"name": "soft", "long": 3}), "no keyword of the learned manipulation"),
    ],
)
def test_what_is_damaged_is_told(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    damage(tmp_path)
    with pytest.raises(pk.PromptkitError, match=message):
        load_manipulation(tmp_path)


def test_nothing_learned_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(pk.PromptkitError, match="has learned nothing"):
        save(pk.SoftPrompt(2), tmp_path / "x")
    assert not (tmp_path / "x").exists()
