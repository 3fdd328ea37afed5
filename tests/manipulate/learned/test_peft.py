"""PEFT's checkpoints as files: what is written is read again, exactly; what is none, or of another model, is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save_file

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError
from promptkit.manipulate.learned.peft import read, write
from promptkit.manipulate.learned.storage import save
from tests.support.errors import refused

WORDS = {"no": "bad", "yes": "good"}
FLOATS = arrays.arrays("<f4", st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(allow_nan=False, width=32))


def learned(numbers: Any, *, base: Any = None, place: Any = "start", **keywords: Any) -> pk.SoftPrompt:
    return pk.SoftPrompt(len(numbers), place=place, **keywords).with_parameters(
        {"vectors": as_array(numbers)}, base or {"name": "m"}
    )


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    """As PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, "token_dim": 3, **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file(tensors or {"prompt_embeddings": torch.ones(2, 3)}, folder / "adapter_model.safetensors")
    return folder


def prefix_checkpoint(folder: Path, **config: Any) -> Path:
    """As PEFT writes it: two positions, three layers, two kv heads of two numbers, counted up as they stand there."""
    sizes = {"num_layers": 3, "num_attention_heads": 2, "token_dim": 4, **config}
    return checkpoint(folder, {"prompt_embeddings": torch.arange(48.0).view(2, 24)}, peft_type="PREFIX_TUNING", **sizes)


def learned_prefix(count: int = 3, length: int = 4, **keywords: Any) -> pk.Prefix:
    held = np.random.default_rng(count + length).normal(size=(2, count, 2, length, 5))
    blank = pk.Prefix(length, **keywords)
    return blank.with_parameters({"keys": as_array(held[0]), "values": as_array(held[1])}, {"name": "m"})


@given(FLOATS, st.dictionaries(st.sampled_from(["name", "content"]), st.text(max_size=5)))
def test_what_is_read_is_what_was_written(tmp_path_factory: Any, numbers: Any, base: dict[str, Any]) -> None:
    soft = learned(numbers, base={**base, "d_model": 3})
    found = read(write(soft, tmp_path_factory.mktemp("peft")))
    assert (found.parameters, found.base, found.settings()) == (soft.parameters, soft.base, soft.settings())


@pytest.mark.parametrize("method", ["PROMPT_TUNING", "P_TUNING"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_vectors_of_every_float_are_read(method: str, dtype: Any, tmp_path: Path) -> None:
    numbers = torch.tensor([[1.5, -2.25, 1e-3], [0, 300, -0.1]], dtype=dtype)
    soft: Any = pk.load_manipulation(checkpoint(tmp_path, {"prompt_embeddings": numbers}, peft_type=method))
    assert soft.parameters["vectors"] == as_array(numbers.float().numpy())
    assert (soft.place, soft.length, dict(soft.base)) == ("start", 2, {"name": "", "d_model": 3})


def test_of_every_position_and_layer_a_prefix_is_its_keys_then_its_values(tmp_path: Path) -> None:
    prefix: Any = pk.load_manipulation(prefix_checkpoint(tmp_path))
    assert dict(prefix.base) == {"name": "", "layers": 3, "kv_heads": 2}
    keys, values = (prefix.parameters[name].numpy() for name in ("keys", "values"))
    assert keys.shape == values.shape == (3, 2, 2, 2)
    for layer, head, position in np.ndindex(3, 2, 2):
        first = 24 * position + 8 * layer + 2 * head
        assert keys[layer, head, position].tolist() == [first, first + 1]
        assert values[layer, head, position].tolist() == [first + 4, first + 5]


@given(st.integers(1, 4), st.integers(1, 5))
def test_a_prefix_that_is_read_is_what_was_written(tmp_path_factory: Any, layers: int, length: int) -> None:
    prefix = learned_prefix(layers, length)
    found = read(write(prefix, tmp_path_factory.mktemp("peft")))
    assert (found.parameters, found.base, found.settings()) == (prefix.parameters, prefix.base, prefix.settings())


def test_nothing_of_it_needs_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    write(learned(np.ones((2, 3))), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert read(tmp_path).base == {"name": "m"}


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("damage", "code", "fields"),
    [
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "missing-file", {"file": "adapter_model.safetensors"}),
        (
            lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"PK"),
            "unreadable-parameters",
            {"file": "adapter_model.safetensors"},
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "not-json", {"file": "adapter_config.json"}),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "not-an-object", {"file": "adapter_config.json"}),
        (
            lambda folder: checkpoint(folder, num_virtual_tokens=3),
            "wrong-parameter-shape",
            {"shape": (2, 3), "expected": (3, 3)},
        ),
        (lambda folder: checkpoint(folder, token_dim=None), "wrong-parameter-shape", {"expected": (2, None)}),
        (
            lambda folder: checkpoint(folder, {"prompt_embeddings": torch.ones(2)}),
            "wrong-parameter-shape",
            {"shape": (2,), "expected": (2, 3)},
        ),
        (lambda folder: checkpoint(folder, {"lora": torch.ones(1)}), "wrong-parameter-names", {"names": ("lora",)}),
        (lambda folder: checkpoint(folder, peft_type="LORA"), "unsupported-method", {"method": "LORA"}),
        (lambda folder: checkpoint(folder, peft_type="CPT"), "unsupported-method", {"method": "CPT"}),
        (
            lambda folder: prefix_checkpoint(folder, num_layers=None),
            "invalid-sizes",
            {"num_virtual_tokens": 2, "num_layers": None},
        ),
        (lambda folder: prefix_checkpoint(folder, num_attention_heads="2"), "invalid-sizes", {"num_attention_heads": "2"}),
        (lambda folder: prefix_checkpoint(folder, num_attention_heads=0), "invalid-sizes", {"num_attention_heads": 0}),
        (lambda folder: prefix_checkpoint(folder, num_attention_heads=5), "invalid-sizes", {"num_attention_heads": 5}),
        (lambda folder: prefix_checkpoint(folder, num_layers=2), "wrong-parameter-shape", {"shape": (2, 24), "num_layers": 2}),
        (
            lambda folder: prefix_checkpoint(folder, num_virtual_tokens=3),
            "wrong-parameter-shape",
            {"shape": (2, 24), "num_virtual_tokens": 3},
        ),
        (lambda folder: checkpoint(folder, task_type="SEQ_CLS"), "unsupported-checkpoint", {"task_type": "SEQ_CLS"}),
        (lambda folder: checkpoint(folder, task_type=None), "unsupported-checkpoint", {"task_type": None}),
        (
            lambda folder: checkpoint(folder, modules_to_save=["head"]),
            "unsupported-checkpoint",
            {"task_type": "CAUSAL_LM", "modules_to_save": "['head']"},
        ),
    ],
)
def test_what_is_no_checkpoint_of_vectors_is_told(
    tmp_path: Path, damage: Callable[[Path], object], code: str, fields: dict[str, Any]
) -> None:
    damage(checkpoint(tmp_path))
    with refused(CheckpointError, code, folder=str(tmp_path), **fields):
        pk.load_manipulation(tmp_path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    pickled(checkpoint(tmp_path))
    with refused(CheckpointError, "pickle", file=str(tmp_path / "adapter_model.bin")):
        pk.load_manipulation(tmp_path)


def test_numbers_that_are_no_floats_are_told(tmp_path: Path) -> None:
    checkpoint(tmp_path, {"prompt_embeddings": torch.ones(2, 3).int()})
    with refused(CheckpointError, "unreadable-parameters", file="adapter_model.safetensors") as raised:
        pk.load_manipulation(tmp_path)
    assert "I32" in str(raised.value.fields["reason"])


@pytest.mark.parametrize(
    ("soft", "code", "fields"),
    [
        (learned(np.ones((2, 3)), place="after_bos"), "no-peft-place", {"place": "after_bos", "slot": None}),
        (learned(np.ones((2, 3)), slot="task", place="after_bos"), "no-peft-place", {"slot": "task"}),
        (pk.SoftPrompt(2, place="start"), "not-trained", {"manipulation": "soft"}),
        (pk.Prefix(2), "not-trained", {"manipulation": "prefix"}),
        (learned_prefix(2, layers=(1, 3)), "no-peft-layers", {"layers": (1, 3)}),
        (
            pk.SteeringVector((1,)).with_parameters({"vectors": as_array(np.ones((1, 4)))}, {}),
            "no-peft-format",
            {"manipulation": "steering"},
        ),
    ],
)
def test_what_peft_cannot_express_is_told_and_not_written(soft: Any, code: str, fields: dict[str, Any], tmp_path: Path) -> None:
    with refused(CheckpointError, code, **fields):
        write(soft, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- which model ------------------------------------------------------------------------------------


def predicted(folder: Path, name: str) -> pk.Predictor:
    return pk.Predictor(pk.load(name), [pk.Prompt("sentiment/review"), pk.load_manipulation(folder)], pk.Verbalizer(WORDS))


def of_fake(folder: Path, name: str, width: int = 16) -> Path:
    vectors = {"prompt_embeddings": torch.ones(2, width)}
    return checkpoint(folder, vectors, token_dim=width, base_model_name_or_path=name)


def test_a_checkpoint_is_of_the_model_that_it_names(tmp_path: Path) -> None:
    predicted(of_fake(tmp_path / "it", "fake"), "fake")
    predicted(of_fake(tmp_path / "none", ""), "fake")
    with refused(CheckpointError, "unconfirmed-model", base="google/x", model="fake"):
        predicted(of_fake(tmp_path / "other", "google/x"), "fake")
    with refused(CheckpointError, "other-model", base="google/x", model="fake", differs="d_model", found=16, expected=8):
        predicted(of_fake(tmp_path / "wide", "google/x", 8), "fake")


def test_whoever_converts_it_may_say_that_it_is_the_model(tmp_path: Path) -> None:
    told = pk.convert(of_fake(tmp_path / "theirs", "google/x"), tmp_path / "ours", model=pk.load("fake"))
    assert told.learned.base["name"] == "fake"
    predicted(told.path, "fake")
    with refused(CheckpointError, "other-model", model="fake", differs="d_model", found=16, expected=8):
        pk.convert(of_fake(tmp_path / "wide", "google/x", 8), tmp_path / "none", model=pk.load("fake"))
    assert not (tmp_path / "none").exists()


def test_a_name_that_is_none_to_transformers_is_not_told_to_peft(tmp_path: Path) -> None:
    for name, expected in (("demo", None), ("x/m.gguf", None), ("google/gemma-3-270m", "google/gemma-3-270m"), ("./m", "./m")):
        folder = write(learned(np.ones((2, 3)), base={"name": name, "d_model": 3}), tmp_path / name)
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == expected
        assert read(folder).base == {"name": name, "d_model": 3}


def test_behind_a_bos_that_there_is_not_is_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = pk.load("fake")
    ours = save(learned(np.ones((2, 16)), place="after_bos"), tmp_path / "ours")
    with refused(CheckpointError, "no-peft-place", place="after_bos", slot=None):
        pk.convert(ours, tmp_path / "none", model=model)
    monkeypatch.setattr(type(model.card.tokenizer), "bos", (), raising=False)
    assert pk.convert(ours, tmp_path / "theirs", model=pk.load("fake")).to == "peft"


def test_a_prefix_that_names_every_layer_of_its_model_is_at_all(tmp_path: Path) -> None:
    model: Any = pk.load("fake")
    for layers in ((1,), (1, 2)):
        save(learned_prefix(len(layers), layers=layers), tmp_path / f"{layers}")
    assert (model.card.layers, model.card.kv_heads) == (1, 1)
    with refused(CheckpointError, "no-peft-layers", layers=(1, 2)):
        pk.convert(tmp_path / "(1, 2)", tmp_path / "none", model=model)
    assert pk.convert(tmp_path / "(1,)", tmp_path / "theirs", model=model).learned.settings()["layers"] == []
    assert read(tmp_path / "theirs").base["name"] == "fake"


@pytest.mark.parametrize(("differs", "expected"), [("layers", 3), ("kv_heads", 2)])
def test_a_prefix_of_another_shape_than_the_model_is_told(differs: str, expected: int, tmp_path: Path) -> None:
    layers = {} if differs == "layers" else {"num_layers": 1, "token_dim": 12}
    with refused(CheckpointError, "other-model", differs=differs, found=1, expected=expected):
        pk.convert(prefix_checkpoint(tmp_path / "theirs", **layers), tmp_path / "none", model=pk.load("fake"))


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    theirs = checkpoint(tmp_path / "theirs")
    (tmp_path / "out").mkdir()
    pk.convert(theirs, tmp_path / "out")
    for there in (tmp_path / "out", theirs, theirs / "adapter_config.json"):
        with refused(CheckpointError, "path-exists", path=str(there)):
            pk.convert(theirs, there)
