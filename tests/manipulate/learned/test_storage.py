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
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError, InputError
from promptkit.manipulate.learned.storage import load_manipulation, read_manifest, save
from tests.support.errors import refused

BASE = {"name": "tiny", "d_model": 3, "tokenizer": "t", "content": "c"}


def learned(numbers: Any, **keywords: Any) -> pk.SoftPrompt:
    return pk.SoftPrompt(len(numbers), **keywords).with_parameters({"vectors": as_array(numbers)}, BASE)


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
    ("damage", "code", "fields"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no-checkpoint", {"file": "manifest.json"}),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not-json", {"file": "manifest.json"}),
        (
            lambda folder: (folder / "manifest.json").write_text("[]"),
            "invalid-manifest",
            {"file": "manifest.json", "key": "", "problem": "model_type"},
        ),
        (lambda folder: (folder / "parameters.safetensors").unlink(), "missing-file", {"file": "parameters.safetensors"}),
        (lambda folder: (folder / "parameters.safetensors").write_bytes(b"PK"), "changed-since-saved", {}),
        (
            lambda folder: forged(folder, parameters={"vectors": [3, 3]}),
            "wrong-parameter-shape",
            {"found": "{'vectors': [2, 3]}", "expected": "{'vectors': [3, 3]}"},
        ),
        (lambda folder: forged(folder, format=2, promptkit="9.9"), "other-version", {"format": 2, "version": "9.9"}),
        (lambda folder: changed(folder, format=2, parameters=3, prompt=None), "other-version", {"format": 2}),
    ],
)
def test_what_is_damaged_is_told(tmp_path: Path, damage: Callable[[Path], None], code: str, fields: dict[str, Any]) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    damage(tmp_path)
    with refused(CheckpointError, code, folder=str(tmp_path), **fields):
        load_manipulation(tmp_path)


@pytest.mark.parametrize(
    ("manipulation", "error", "code", "fields"),
    [
        (
            {"name": "softer", "length": 2},
            InputError,
            "unknown-name",
            {"name": "softer", "close": ["soft", "steering", "loreft"]},
        ),
        (
            {"name": "soft", "length": 3},
            CheckpointError,
            "wrong-parameter-shape",
            {"shape": (2, 3), "expected": "3 length, d_model"},
        ),
        ({"name": "soft", "long": 3}, InputError, "unknown-name", {"name": "long"}),
        ({"name": "soft", "base": {}}, InputError, "unknown-name", {"name": "base"}),
        ({"name": "prefix", "length": 2}, CheckpointError, "wrong-parameter-names", {"expected": ("keys", "values")}),
    ],
)
def test_what_a_manifest_cannot_make_is_told(
    tmp_path: Path, manipulation: dict[str, Any], error: Any, code: str, fields: dict[str, Any]
) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    forged(tmp_path, manipulation=manipulation)
    with refused(error, code, **fields):
        load_manipulation(tmp_path)


def test_a_keyword_of_another_type_in_a_manifest_is_told(tmp_path: Path) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    forged(tmp_path, manipulation={"name": "steering", "layers": 2})
    with refused(InputError, "invalid-value", keyword="layers", value="2"):
        load_manipulation(tmp_path)


WRONG = [None, 3, "x", [], ["soft"], {"name": ["soft"]}, {"vectors": None}]
KEYS = ["format", "promptkit", "manipulation", "parameters", "base", "prompt", "sha256"]
CODES = ("invalid-manifest", "wrong-parameter-shape", "changed-since-saved", "other-version")
"""Of a folder that is damaged or of another version."""
FITTING = [("promptkit", "x"), ("prompt", {"name": ["soft"]}), ("prompt", {"vectors": None})]


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key in KEYS for wrong in WRONG if (key, wrong) not in FITTING])
def test_a_value_of_the_wrong_kind_is_told(tmp_path: Path, key: str, wrong: Any) -> None:
    save(learned(np.ones((2, 3))), tmp_path, told={"prompt": {"template": "t"}})
    (changed if key == "sha256" else forged)(tmp_path, **{key: wrong})
    for use in (load_manipulation, lambda folder: pk.convert(folder, tmp_path / "theirs")):
        with pytest.raises(CheckpointError) as raised:
            use(tmp_path)
        assert raised.value.code in CODES
        assert raised.value.fields["folder"] == str(tmp_path)


@pytest.mark.parametrize("key", ["format", "promptkit", "manipulation", "parameters", "base", "sha256"])
def test_a_value_that_is_lost_is_told(tmp_path: Path, key: str) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with refused(CheckpointError, "invalid-manifest", key=key, problem="missing"):
        load_manipulation(tmp_path)


@pytest.mark.parametrize(
    "told", [{"base": {}}, {"base": {"name": "tiny", "d_model": 3}}, {"prompt": {}}, {"metrics": {"dev": 0.9}}, {"more": 1}]
)
def test_what_was_changed_since_is_told_whatever_it_says(tmp_path: Path, told: dict[str, Any]) -> None:
    """Among it the model that it was learned on, without which no other model would be refused."""
    save(learned(np.ones((2, 3))), tmp_path, told={"prompt": {"template": "t"}, "metrics": {"dev": 0.5}})
    changed(tmp_path, **told)
    with refused(CheckpointError, "changed-since-saved", folder=str(tmp_path)):
        load_manipulation(tmp_path)


def test_of_several_in_a_folder_it_is_told_how_each_is_given(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        save(learned(np.ones((2, 3))), tmp_path / "a fit" / f"{number}-soft")
    folders = tuple(str(tmp_path / "a fit" / place) for place in ("1-soft", "2-soft", "10-soft"))
    with refused(CheckpointError, "several-checkpoints", folder=str(tmp_path / "a fit"), folders=folders) as raised:
        load_manipulation(tmp_path / "a fit")
    assert " ".join(f"--prompt '{folder}'" for folder in folders) in str(raised.value)  # as they are typed


@pytest.mark.parametrize(
    ("told", "code", "fields"),
    [
        ({"base": "gemma", "format": 2}, "reserved-name", {"names": ("base", "format")}),
        ({"sha256": ""}, "reserved-name", {"names": ("sha256",)}),
        ({"prompt": "sentiment/review"}, "invalid-value", {"keyword": "prompt", "value": "'sentiment/review'"}),
    ],
)
def test_what_a_manifest_could_not_be_read_with_is_not_saved(
    tmp_path: Path, told: dict[str, Any], code: str, fields: dict[str, Any]
) -> None:
    with refused(InputError, code, **fields):
        save(learned(np.ones((2, 3))), tmp_path / "x", told=told)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    one = learned(np.ones((2, 3)))
    save(one, save(one, tmp_path / "again"))
    for place in ("theirs/adapter_config.json", "several/1-soft/manifest.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
        folder = tmp_path / Path(place).parts[0]
        with refused(CheckpointError, "path-exists", folder=str(folder)):
            save(one, folder)
        assert sorted(each.name for each in folder.rglob("*.*")) == [Path(place).name]


def test_what_no_file_system_takes_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(CheckpointError, "cannot-write", folder=str(tmp_path / "file"), reason="File exists"):
        save(learned(np.ones((2, 3))), tmp_path / "file")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    with refused(CheckpointError, "unreadable-file", file="manifest.json", reason="Is a directory"):
        load_manipulation(tmp_path / "odd")
    with refused(InputError, "not-a-path", value="None"):
        load_manipulation(None)  # type: ignore[arg-type]


def test_nothing_learned_is_not_saved(tmp_path: Path) -> None:
    with refused(CheckpointError, "not-trained", manipulation="soft"):
        save(pk.SoftPrompt(2), tmp_path / "x")
    assert not (tmp_path / "x").exists()
