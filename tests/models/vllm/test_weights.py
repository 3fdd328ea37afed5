"""The vllm engine checks stored weights before vLLM starts, as the hf engine checks loaded ones; vLLM need not be installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import promptkit as pk
from promptkit.core.errors import ModelError
from promptkit.models.files.pretrained import check_stored_weights, read_config
from promptkit.models.files.source import resolve
from promptkit.models.files.stored_weights import stored_weights
from promptkit.models.vllm import engine
from tests.support.errors import refused
from tests.support.folders import SIZES, llama, save_model

WEIGHTS = "model.safetensors"


def set_config(folder: Path, **changes: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def base_model(folder: Path) -> Path:
    return save_model(folder, hf.LlamaModel(hf.LlamaConfig(**SIZES)))


def classifier(folder: Path) -> Path:
    return save_model(folder, hf.LlamaForSequenceClassification(hf.LlamaConfig(**SIZES)))


def classifier_with_a_tied_head(folder: Path) -> Path:
    config = hf.LlamaConfig(**SIZES, tie_word_embeddings=True)
    return save_model(folder, hf.LlamaForSequenceClassification(config))


def one_layer_more(folder: Path) -> Path:
    return set_config(save_model(folder, llama()), num_hidden_layers=3)


def one_layer_fewer(folder: Path) -> Path:
    return set_config(save_model(folder, llama()), num_hidden_layers=1)


def another_width(folder: Path) -> Path:
    return set_config(save_model(folder, llama()), intermediate_size=64)


def prefixed(folder: Path) -> Path:
    tensors = load_file(save_model(folder, llama()) / WEIGHTS)
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
    return folder


def sharded(folder: Path, model: Any) -> Path:
    save_model(folder, model)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size=20_000)
    assert len([*folder.glob("*.safetensors")]) > 1
    return folder


WRONG = [base_model, classifier, classifier_with_a_tied_head, one_layer_more, one_layer_fewer, another_width, prefixed]
RIGHT: dict[str, Callable[[Path], Path]] = {
    "whole": lambda folder: save_model(folder, llama()),
    "tied": lambda folder: save_model(folder, llama(tie_word_embeddings=True)),
    "tied-base": lambda folder: save_model(folder, hf.LlamaModel(hf.LlamaConfig(**SIZES, tie_word_embeddings=True))),
    "experts": lambda folder: save_model(folder, hf.MixtralForCausalLM(hf.MixtralConfig(**SIZES, num_local_experts=2))),
    "sharded": lambda folder: sharded(folder, llama()),
}


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the names of the models that vLLM would be started with."""
    names: list[str] = []

    def start(model: str, *arguments: object, **options: object) -> None:
        names.append(model)

    monkeypatch.setattr(engine, "installed_version", lambda: "0.32")
    monkeypatch.setattr(engine, "start_engine", start)
    return names


@pytest.mark.parametrize("make", WRONG)
def test_wrong_weights_are_the_same_error_as_with_transformers(
    tmp_path: Path, make: Callable[[Path], Path], starts: list[str]
) -> None:
    folder = make(tmp_path)
    with pytest.raises(ModelError) as expected:
        pk.load(folder).load()
    assert expected.value.code == "wrong-weights"
    fields = {key: value for key, value in expected.value.fields.items() if key != "model"}
    with refused(ModelError, "wrong-weights", **fields):
        pk.load(f"vllm:{folder}").load()
    assert starts == []


@pytest.mark.parametrize("name", RIGHT)
def test_whole_models_start(tmp_path: Path, name: str, starts: list[str]) -> None:
    folder = RIGHT[name](tmp_path)
    pk.load(f"vllm:{folder}").load()
    assert starts == [f"vllm:{folder}"]


def test_a_shard_of_a_base_model_is_checked_too(tmp_path: Path, starts: list[str]) -> None:
    folder = sharded(tmp_path, hf.LlamaModel(hf.LlamaConfig(**SIZES)))
    with refused(ModelError, "wrong-weights", missing=("lm_head.weight",), unexpected=()):
        pk.load(f"vllm:{folder}").load()


def test_only_headers_are_read(tmp_path: Path) -> None:
    folder = save_model(tmp_path, llama())
    weights = stored_weights(resolve(str(folder)))
    assert weights is not None
    assert {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in load_file(folder / WEIGHTS).items()
    }
    assert all(tensor.is_meta for tensor in weights.values())


def test_weights_in_pickled_files_are_checked(tmp_path: Path) -> None:
    folder = base_model(tmp_path)
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    source = resolve(str(folder))
    with refused(ModelError, "wrong-weights", missing=("lm_head.weight",)):
        check_stored_weights(hf.AutoModelForCausalLM, source, read_config(source, "model"), "model")


@pytest.mark.parametrize(
    "settings", [{"quantization": "awq"}, {"engine_args": {"load_format": "dummy"}}], ids=["quantized", "random-weights"]
)
def test_weights_that_vllm_does_not_read_as_stored_are_not_checked(
    tmp_path: Path, starts: list[str], settings: dict[str, Any]
) -> None:
    pk.load(f"vllm:{base_model(tmp_path)}", **settings).load()
    assert len(starts) == 1


def test_text_part_of_a_model_with_images_is_whole(tmp_path: Path, starts: list[str]) -> None:
    text = {**SIZES, "head_dim": 8, "num_key_value_heads": 2}
    vision = {key: SIZES[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")}
    vision |= {"image_size": 28, "patch_size": 14}
    config = hf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    folder = save_model(tmp_path, hf.Gemma3ForConditionalGeneration(config))
    pk.load(f"vllm:{folder}").load()
    assert len(starts) == 1
