"""Saving and loading learned manipulations: exact, and damage is detected."""

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
from promptkit.core.caller import command_line
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
def test_loading_returns_what_was_saved(tmp_path_factory: Any, numbers: Any, place: Any, seed: int) -> None:
    soft = learned(numbers, place=place, seed=seed, init="Say: how was it?")
    folder = save(soft, tmp_path_factory.mktemp("saved"), metadata={"metrics": {"dev": 0.5}})
    loaded = load_manipulation(folder)
    assert loaded == soft
    assert loaded.settings() == soft.settings()
    manifest: Any = read_manifest(folder)
    assert manifest.model_extra == {"metrics": {"dev": 0.5}}
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "parameters.safetensors"}


def test_settings_of_trained_prompts_ignore_seed_and_initialization() -> None:
    numbers = np.ones((2, 3))
    assert learned(numbers, seed=1).settings() == learned(numbers, init="random").settings()
    assert learned(numbers).settings() != learned(2 * numbers).settings()


def edit_manifest(folder: Path, **metadata: Any) -> None:
    """Edits the manifest without updating its hash."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))


def edit_manifest_and_hash(folder: Path, **metadata: Any) -> None:
    """Edits the manifest and updates its hash."""
    edit_manifest(folder, **metadata)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    content = (folder / "parameters.safetensors").read_bytes() + json.dumps(manifest, sort_keys=True).encode()
    edit_manifest(folder, sha256=hashlib.sha256(content).hexdigest())


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
            lambda folder: edit_manifest_and_hash(folder, parameters={"vectors": [3, 3]}),
            "wrong-parameter-shape",
            {"found": "{'vectors': [2, 3]}", "expected": "{'vectors': [3, 3]}"},
        ),
        (
            lambda folder: edit_manifest_and_hash(folder, format=2, promptkit="9.9"),
            "other-version",
            {"format": 2, "version": "9.9"},
        ),
        (lambda folder: edit_manifest(folder, format=2, parameters=3, prompt=None), "other-version", {"format": 2}),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, damage: Callable[[Path], None], code: str, fields: dict[str, Any]) -> None:
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
            {"name": "softer", "close": ["soft", "filter", "steering"]},
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
def test_invalid_manipulations_in_a_manifest_are_refused(
    tmp_path: Path, manipulation: dict[str, Any], error: Any, code: str, fields: dict[str, Any]
) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    edit_manifest_and_hash(tmp_path, manipulation=manipulation)
    with refused(error, code, **fields):
        load_manipulation(tmp_path)


def test_a_setting_of_the_wrong_type_in_a_manifest_is_refused(tmp_path: Path) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    edit_manifest_and_hash(tmp_path, manipulation={"name": "steering", "layers": 2})
    with refused(InputError, "invalid-value", keyword="layers", value="2"):
        load_manipulation(tmp_path)


WRONG = [None, 3, "x", [], ["soft"], {"name": ["soft"]}, {"vectors": None}]
KEYS = ["format", "promptkit", "manipulation", "parameters", "base", "prompt", "sha256"]
CODES = ("invalid-manifest", "wrong-parameter-shape", "changed-since-saved", "other-version")
"""The codes of errors for damaged folders and other versions."""
VALID = [("promptkit", "x"), ("prompt", {"name": ["soft"]}), ("prompt", {"vectors": None})]


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key in KEYS for wrong in WRONG if (key, wrong) not in VALID])
def test_a_manifest_value_of_the_wrong_type_is_refused(tmp_path: Path, key: str, wrong: Any) -> None:
    save(learned(np.ones((2, 3))), tmp_path, metadata={"prompt": {"template": "t"}})
    (edit_manifest if key == "sha256" else edit_manifest_and_hash)(tmp_path, **{key: wrong})
    for use in (load_manipulation, lambda folder: pk.convert(folder, tmp_path / "theirs")):
        with pytest.raises(CheckpointError) as raised:
            use(tmp_path)
        assert raised.value.code in CODES
        assert raised.value.fields["folder"] == str(tmp_path)


@pytest.mark.parametrize("key", ["format", "promptkit", "manipulation", "parameters", "base", "sha256"])
def test_a_missing_manifest_value_is_refused(tmp_path: Path, key: str) -> None:
    save(learned(np.ones((2, 3))), tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with refused(CheckpointError, "invalid-manifest", key=key, problem="missing"):
        load_manipulation(tmp_path)


@pytest.mark.parametrize(
    "metadata", [{"base": {}}, {"base": {"name": "tiny", "d_model": 3}}, {"prompt": {}}, {"metrics": {"dev": 0.9}}, {"more": 1}]
)
def test_any_change_of_the_manifest_is_detected(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Covers the base model, because a manifest without it would be accepted for any model."""
    save(learned(np.ones((2, 3))), tmp_path, metadata={"prompt": {"template": "t"}, "metrics": {"dev": 0.5}})
    edit_manifest(tmp_path, **metadata)
    with refused(CheckpointError, "changed-since-saved", folder=str(tmp_path)):
        load_manipulation(tmp_path)


def test_the_error_for_several_manipulations_lists_the_options_to_type(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        save(learned(np.ones((2, 3))), tmp_path / "a training run" / f"{number}-soft")
    folders = tuple(str(tmp_path / "a training run" / place) for place in ("1-soft", "2-soft", "10-soft"))
    expected = refused(CheckpointError, "several-checkpoints", folder=str(tmp_path / "a training run"), folders=folders)
    with command_line(), expected as raised:
        load_manipulation(tmp_path / "a training run")
    assert " ".join(f"--prompt '{folder}'" for folder in folders) in str(raised.value)  # as they are typed


@pytest.mark.parametrize(
    ("metadata", "code", "fields"),
    [
        ({"base": "gemma", "format": 2}, "reserved-name", {"names": ("base", "format")}),
        ({"sha256": ""}, "reserved-name", {"names": ("sha256",)}),
        ({"prompt": "sentiment/review"}, "invalid-value", {"keyword": "prompt", "value": "'sentiment/review'"}),
    ],
)
def test_metadata_with_reserved_names_is_refused(
    tmp_path: Path, metadata: dict[str, Any], code: str, fields: dict[str, Any]
) -> None:
    with refused(InputError, code, **fields):
        save(learned(np.ones((2, 3))), tmp_path / "x", metadata=metadata)
    assert not (tmp_path / "x").exists()


def test_a_folder_with_another_manipulation_is_not_overwritten(tmp_path: Path) -> None:
    one = learned(np.ones((2, 3)))
    save(one, save(one, tmp_path / "again"))
    for place in ("theirs/adapter_config.json", "several/1-soft/manifest.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
        folder = tmp_path / Path(place).parts[0]
        with refused(CheckpointError, "path-exists", folder=str(folder)):
            save(one, folder)
        assert sorted(file.name for file in folder.rglob("*.*")) == [Path(place).name]


def test_paths_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(CheckpointError, "cannot-write", folder=str(tmp_path / "file"), reason="File exists"):
        save(learned(np.ones((2, 3))), tmp_path / "file")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    with refused(CheckpointError, "unreadable-file", file="manifest.json", reason="Is a directory"):
        load_manipulation(tmp_path / "odd")
    with refused(InputError, "not-a-path", value="None"):
        load_manipulation(None)


def test_an_untrained_manipulation_is_not_saved(tmp_path: Path) -> None:
    with refused(CheckpointError, "not-trained", manipulation="soft"):
        save(pk.SoftPrompt(2), tmp_path / "x")
    assert not (tmp_path / "x").exists()
