"""What was learned survives being saved, exactly; what is damaged is told."""

from __future__ import annotations

import hashlib
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
    manifest: Any = read_manifest(folder)
    assert manifest.model_extra == {"metrics": {"dev": 0.5}}
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "parameters.safetensors"}


def test_another_seed_or_beginning_is_no_other_prompt_once_it_is_learned() -> None:
    numbers = np.ones((2, 3))
    assert learned(numbers, seed=1).settings() == learned(numbers, init="random").settings()
    assert learned(numbers).settings() != learned(2 * numbers).settings()


def changed(folder: Path, **told: Any) -> None:
    """A manifest that says other things, as one that was edited."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))


def forged(folder: Path, **told: Any) -> None:
    """The same, with the hash of what it says."""
    changed(folder, **told)
    whole = json.loads((folder / "manifest.json").read_text())
    del whole["sha256"]
    content = (folder / "parameters.safetensors").read_bytes() + json.dumps(whole, sort_keys=True).encode()
    changed(folder, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "no manifest of a learned manipulation: Input should be"),
        (lambda folder: (folder / "parameters.safetensors").unlink(), "parameters.safetensors is not there"),
        (lambda folder: (folder / "parameters.safetensors").write_bytes(b"PK"), "not what was saved together"),
        (lambda folder: forged(folder, parameters={"vectors": [3, 3]}), "the shapes of its parameters"),
        (lambda folder: forged(folder, manipulation={"name": "softer", "length": 2}), "Did you mean soft"),
        (lambda folder: forged(folder, manipulation={"name": "soft", "length": 3}), "not of the shape that it says"),
        (lambda folder: forged(folder, manipulation={"name": "soft", "long": 3}), "no keyword of the learned manipulation"),
        (lambda folder: forged(folder, manipulation={"name": "soft", "base": {}}), "no keyword of the learned manipulation"),
        (lambda folder: forged(folder, manipulation={"name": "prefix", "length": 2}), "a prefix has learned is keys, values"),
        (lambda folder: forged(folder, manipulation={"name": "shift", "layers": 2}), "cannot be made so.*Given: layers=2"),
        (lambda folder: forged(folder, format=2, promptkit="9.9"), "by another version.*format 2, by promptkit 9.9"),
        (lambda folder: changed(folder, format=2, parameters=3, prompt=None), "by another version.*pip install -U promptkit"),
    ],
)
def test_what_is_damaged_is_told(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    damage(tmp_path)
    with pytest.raises(pk.PromptkitError, match=message):
        load_manipulation(tmp_path)


WRONG = [None, 3, "x", [], ["soft"], {"name": ["soft"]}, {"vectors": None}]
KEYS = ["format", "promptkit", "manipulation", "parameters", "base", "prompt", "sha256"]
FITTING = [("promptkit", "x"), ("prompt", {"name": ["soft"]}), ("prompt", {"vectors": None})]


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key in KEYS for wrong in WRONG if (key, wrong) not in FITTING])
def test_a_value_of_the_wrong_kind_is_told(tmp_path: Path, key: str, wrong: Any) -> None:
    save(learned(np.ones((2, 3))), tmp_path, told={"prompt": {"template": "t"}})
    (changed if key == "sha256" else forged)(tmp_path, **{key: wrong})
    with pytest.raises(pk.PromptkitError, match=r"is damaged|another version"):
        load_manipulation(tmp_path)
    with pytest.raises(pk.PromptkitError, match=r"is damaged|another version"):
        pk.convert(tmp_path, tmp_path / "theirs")


@pytest.mark.parametrize("key", ["format", "promptkit", "manipulation", "parameters", "base", "sha256"])
def test_a_value_that_is_lost_is_told(tmp_path: Path, key: str) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with pytest.raises(pk.PromptkitError, match=f"no manifest of a learned manipulation: {key}: Field required"):
        load_manipulation(tmp_path)


@pytest.mark.parametrize(
    "told", [{"base": {}}, {"base": {"name": "tiny", "d_model": 3}}, {"prompt": {}}, {"metrics": {"dev": 0.9}}, {"more": 1}]
)
def test_what_was_changed_since_is_told_whatever_it_says(tmp_path: Path, told: dict[str, Any]) -> None:
    """Among it the model that it was learned on, without which no other model would be refused."""
    save(learned(np.ones((2, 3))), tmp_path, told={"prompt": {"template": "t"}, "metrics": {"dev": 0.5}})
    changed(tmp_path, **told)
    with pytest.raises(pk.PromptkitError, match="not what was saved together"):
        load_manipulation(tmp_path)


def test_of_several_in_a_folder_it_is_told_how_each_is_given(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        save(learned(np.ones((2, 3))), tmp_path / "a fit" / f"{number}-soft")
    with pytest.raises(pk.PromptkitError, match="There are several learned manipulations") as told:
        load_manipulation(tmp_path / "a fit")
    each = [f"--prompt '{tmp_path / 'a fit' / place}'" for place in ("1-soft", "2-soft", "10-soft")]
    assert str(told.value).endswith(f"Name one of them, or, to evaluate them, all: {' '.join(each)}.")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"base": "gemma", "format": 2}, "says these things by itself. Given: base, format"),
        ({"sha256": ""}, "by itself. Given: sha256"),
        ({"prompt": "sentiment/review"}, "Of a prompt a manifest tells the settings. Given: 'sentiment/review'"),
    ],
)
def test_what_a_manifest_could_not_be_read_with_is_not_saved(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(pk.PromptkitError, match=message):
        save(learned(np.ones((2, 3))), tmp_path / "x", told=told)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    one = learned(np.ones((2, 3)))
    save(one, save(one, tmp_path / "again"))
    for place in ("theirs/adapter_config.json", "several/1-soft/manifest.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
        folder = tmp_path / Path(place).parts[0]
        with pytest.raises(pk.PromptkitError, match="holds something else that was learned, and is left alone"):
            save(one, folder)
        assert sorted(each.name for each in folder.rglob("*.*")) == [Path(place).name]


def test_what_no_file_system_takes_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(pk.PromptkitError, match=r"Nothing can be written into .*file: File exists. Give another folder"):
        save(learned(np.ones((2, 3))), tmp_path / "file")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    with pytest.raises(pk.PromptkitError, match=r"manifest.json cannot be read: Is a directory"):
        load_manipulation(tmp_path / "odd")
    with pytest.raises(pk.PromptkitError, match=r"A path is a text or a pathlib.Path. Given: None"):
        load_manipulation(None)  # type: ignore[arg-type]


def test_nothing_learned_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(pk.PromptkitError, match="has learned nothing"):
        save(pk.SoftPrompt(2), tmp_path / "x")
    assert not (tmp_path / "x").exists()
