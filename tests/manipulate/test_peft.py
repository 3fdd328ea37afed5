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
from promptkit.manipulate.arrays import as_array
from promptkit.manipulate.peft import read, write
from promptkit.manipulate.saved import save

WORDS = {"no": "bad", "yes": "good"}
FLOATS = arrays.arrays("<f4", st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(allow_nan=False, width=32))


def learned(numbers: Any, *, base: Any = None, place: Any = "start", **keywords: Any) -> pk.SoftPrompt:
    return pk.SoftPrompt(len(numbers), place=place, **keywords).learned({"vectors": as_array(numbers)}, base or {"name": "m"})


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    """As PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, "token_dim": 3, **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file(tensors or {"prompt_embeddings": torch.ones(2, 3)}, folder / "adapter_model.safetensors")
    return folder


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


def test_nothing_of_it_needs_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    write(learned(np.ones((2, 3))), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert read(tmp_path).base == {"name": "m"}


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickled, "adapter_model.bin is a pickle, which runs whatever it holds: it is not opened"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is not there"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"PK"), "cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json is not JSON"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "holds no names with values"),
        (lambda folder: checkpoint(folder, num_virtual_tokens=3), r"of shape \(2, 3\), and adapter_config.json says \(3, 3\)"),
        (lambda folder: checkpoint(folder, token_dim=None), r"says \(2, None\)"),
        (lambda folder: checkpoint(folder, {"prompt_embeddings": torch.ones(2)}), r"of shape \(2,\)"),
        (lambda folder: checkpoint(folder, {"prompt_embeddings": torch.ones(2, 3).int()}), "its numbers are I32"),
        (lambda folder: checkpoint(folder, {"lora": torch.ones(1)}), "holds lora, and not prompt_embeddings alone"),
        (lambda folder: checkpoint(folder, peft_type="LORA"), "of a method that is not read here.*PROMPT_TUNING, P_TUNING"),
        (lambda folder: checkpoint(folder, peft_type="PREFIX_TUNING"), "method that is not read.*Given: PREFIX_TUNING"),
        (lambda folder: checkpoint(folder, task_type="SEQ_CLS"), "task_type=SEQ_CLS"),
        (lambda folder: checkpoint(folder, task_type=None), "task_type=None"),
        (lambda folder: checkpoint(folder, modules_to_save=["head"]), r"modules_to_save=\['head'\]"),
    ],
)
def test_what_is_no_checkpoint_of_vectors_is_told(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(checkpoint(tmp_path))
    with pytest.raises(pk.PromptkitError, match=message):
        pk.load_manipulation(tmp_path)


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (learned(np.ones((2, 3)), place="after_bos"), "puts its vectors before BOS.*stands behind BOS.*soft:place=start"),
        (learned(np.ones((2, 3)), slot="task"), "stands in the slot task"),
        (pk.SoftPrompt(2, place="start"), "has learned nothing"),
    ],
)
def test_what_peft_cannot_express_is_told_and_not_written(soft: pk.SoftPrompt, message: str, tmp_path: Path) -> None:
    with pytest.raises(pk.PromptkitError, match=message):
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
    with pytest.raises(pk.PromptkitError, match=r"was learned on google/x, and nothing shows that fake is.*--model fake"):
        predicted(of_fake(tmp_path / "other", "google/x"), "fake")
    with pytest.raises(pk.PromptkitError, match=r"learned on google/x, and fake is another.*width.*Given: 16, not 8"):
        predicted(of_fake(tmp_path / "wide", "google/x", 8), "fake")


def test_whoever_converts_it_may_say_that_it_is_the_model(tmp_path: Path) -> None:
    told = pk.convert(of_fake(tmp_path / "theirs", "google/x"), tmp_path / "ours", model=pk.load("fake"))
    assert told.learned.base["name"] == "fake"
    predicted(told.path, "fake")
    with pytest.raises(pk.PromptkitError, match=r"of its embeddings differs.*Given: 16, not 8"):
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
    with pytest.raises(pk.PromptkitError, match="behind BOS"):
        pk.convert(ours, tmp_path / "none", model=model)
    monkeypatch.setattr(type(model.card.tokenizer), "bos", (), raising=False)
    assert pk.convert(ours, tmp_path / "theirs", model=pk.load("fake")).to == "peft"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    theirs = checkpoint(tmp_path / "theirs")
    (tmp_path / "out").mkdir()
    pk.convert(theirs, tmp_path / "out")
    for there in (tmp_path / "out", theirs, theirs / "adapter_config.json"):
        with pytest.raises(pk.PromptkitError, match="is there already and is left alone"):
            pk.convert(theirs, there)
