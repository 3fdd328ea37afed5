"""Model folders that must not load: wrong weights, other kinds of models, tokens without embeddings, code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

import promptkit as pk
from promptkit.core.errors import InputError, ModelError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Read, Request
from tests.support.bidirectional import save
from tests.support.errors import refused
from tests.support.folders import SIZES, llama, save_model, score
from tests.support.hf_models import answer, numbers
from tests.support.tiny import VOCABULARY, make_tokenizer

WEIGHTS = "model.safetensors"
BERT = {**SIZES, "max_position_embeddings": 128}


def set_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rename_weights(folder: Path, rename: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({rename(name): tensor for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})


# ---- tokenizer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "kind"), [*(("hf", kind) for kind in ("bert", "roberta", "t5", "bart")), ("encoder", "bert")]
)
def test_folder_without_the_files_of_its_tokenizer(engine: str, kind: str, tmp_path: Path) -> None:
    for file in save(tmp_path, kind).glob("*token*"):
        file.unlink()
    with refused(ModelError, "unloadable-model", part="tokenizer"):
        _ = pk.load(f"{engine}:{tmp_path}").card


# ---- weights -------------------------------------------------------------------------------------------


def test_whole_model_loads(tmp_path: Path) -> None:
    model = llama()
    (output,) = answer(pk.load(save_model(tmp_path, model)), [score()])
    logits = model(torch.tensor([[0, 5, 6, 7, 8]])).logits[0].log_softmax(-1)
    assert numbers(output) == pytest.approx([logits[3, 8].item(), logits[4, 9].item(), logits[3, 10].item()], abs=1e-4)


def test_base_model_without_its_output_head(tmp_path: Path) -> None:
    save_model(tmp_path, hf.LlamaModel(hf.LlamaConfig(**SIZES)))
    with refused(ModelError, "wrong-weights", missing=("lm_head.weight",), unexpected=(), mismatched=()):
        pk.load(tmp_path).load()


def test_base_model_with_a_tied_head_is_whole(tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=True)
    save_model(tmp_path / "whole", model)
    model.model.save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    (whole,), (base,) = (answer(pk.load(tmp_path / name), [score()]) for name in ("whole", "base"))
    assert numbers(whole) == pytest.approx(numbers(base), abs=1e-5)


def test_classifier(tmp_path: Path) -> None:
    save_model(tmp_path, hf.LlamaForSequenceClassification(hf.LlamaConfig(**SIZES)))
    with refused(ModelError, "wrong-weights", missing=("lm_head.weight",), unexpected=("score.weight",)):
        pk.load(tmp_path).load()


def test_classifier_of_a_model_with_a_tied_head(tmp_path: Path) -> None:
    config = hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, pad_token_id=2)
    save_model(tmp_path, hf.GPT2ForSequenceClassification(config))
    with refused(ModelError, "wrong-weights", missing=(), unexpected=("score.weight",)):
        pk.load(tmp_path).load()


def test_config_with_one_layer_more_than_saved(tmp_path: Path) -> None:
    set_config(save_model(tmp_path, llama()), num_hidden_layers=3)
    with refused(ModelError, "wrong-weights", unexpected=()) as raised:
        pk.load(tmp_path).load()
    assert "model.layers.2.mlp.up_proj.weight" in raised.value.fields["missing"]


def test_config_with_one_layer_fewer_than_saved(tmp_path: Path) -> None:
    set_config(save_model(tmp_path, llama()), num_hidden_layers=1)
    with refused(ModelError, "wrong-weights", missing=()) as raised:
        pk.load(tmp_path).load()
    assert "model.layers.1.mlp.up_proj.weight" in raised.value.fields["unexpected"]


def test_config_with_another_width(tmp_path: Path) -> None:
    set_config(save_model(tmp_path, llama()), intermediate_size=64)
    with refused(ModelError, "wrong-weights", missing=(), unexpected=()) as raised:
        pk.load(tmp_path).load()
    assert "model.layers.0.mlp.up_proj.weight" in raised.value.fields["mismatched"]


def test_names_with_the_prefix_of_a_parallel_wrapper(tmp_path: Path) -> None:
    rename_weights(save_model(tmp_path, llama()), lambda name: f"module.{name}")
    with refused(ModelError, "wrong-weights") as raised:
        pk.load(tmp_path).load()
    assert "lm_head.weight" in raised.value.fields["missing"]
    assert "module.lm_head.weight" in raised.value.fields["unexpected"]


def test_buffers_that_older_versions_stored_are_no_error(tmp_path: Path) -> None:
    save_model(tmp_path, llama())
    (before,) = answer(pk.load(tmp_path), [score()])
    tensors = load_file(tmp_path / WEIGHTS)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tensors["model.layers.0.self_attn.masked_bias"] = torch.tensor(-1e9)
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    (after,) = answer(pk.load(tmp_path), [score()])
    assert numbers(before) == numbers(after)


# ---- encoders ------------------------------------------------------------------------------------------


def test_encoder_reads_the_base_of_a_pretrained_model(tmp_path: Path) -> None:
    """A model with the heads of pretraining holds every weight of its base model."""
    model = hf.BertForPreTraining(hf.BertConfig(**BERT))
    save_model(tmp_path, model)
    loaded = pk.load(f"encoder:{tmp_path}")
    loaded.load()


def test_encoder_without_a_pooler(tmp_path: Path) -> None:
    save_model(tmp_path, hf.BertForMaskedLM(hf.BertConfig(**BERT)))
    pk.load(f"encoder:{tmp_path}").load()


@pytest.mark.parametrize("layers", [1, 3])
def test_encoder_with_another_number_of_layers(tmp_path: Path, layers: int) -> None:
    set_config(save_model(tmp_path, hf.BertModel(hf.BertConfig(**BERT))), num_hidden_layers=layers)
    with refused(ModelError, "wrong-weights"):
        pk.load(f"encoder:{tmp_path}").load()


def test_encoder_with_the_head_of_a_classifier(tmp_path: Path) -> None:
    save_model(tmp_path, hf.BertForSequenceClassification(hf.BertConfig(**BERT)))
    with refused(ModelError, "wrong-weights", missing=(), unexpected=("classifier.bias", "classifier.weight")):
        pk.load(f"encoder:{tmp_path}").load()


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        (lambda: hf.RobertaModel(hf.RobertaConfig(**{**BERT, "max_position_embeddings": 66, "pad_token_id": 1})), 64),
        (lambda: hf.BertModel(hf.BertConfig(**{**BERT, "max_position_embeddings": 66})), 66),
    ],
    ids=["roberta", "bert"],
)
def test_longest_text_of_an_encoder(tmp_path: Path, model: Any, limit: int) -> None:
    """RoBERTa cannot use its first positions, so that a text has fewer tokens than the configuration states."""
    encoder = pk.load(f"encoder:{save_model(tmp_path, model())}")
    before, after = encoder.card.tokenizer.frame
    assert encoder.card.context_length + len(before) + len(after) == limit
    ids = tuple(5 + i % 100 for i in range(encoder.card.context_length))
    (output,) = answer(encoder, [Request(input=TextInput(ids=ids), verb=Read(hidden_layer=-1, mean_from=0))])
    assert output.hidden.shape == (32,)


# ---- kinds of models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (lambda: hf.WhisperForConditionalGeneration(hf.WhisperConfig(**WHISPER)), "whisper"),
        (lambda: hf.LlavaForConditionalGeneration(hf.LlavaConfig(**LLAVA)), "llava"),
    ],
    ids=["whisper", "llava"],
)
def test_models_of_other_inputs(tmp_path: Path, model: Any, kind: str) -> None:
    save_model(tmp_path, model())
    with refused(Unsupported, "unsupported-architecture", model=str(tmp_path), model_type=kind):
        pk.load(str(tmp_path))


WHISPER = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "pad_token_id": 2,
}
LLAVA = {
    "text_config": hf.LlamaConfig(**SIZES),
    "vision_config": hf.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    ),
    "image_token_index": 3,
}


def test_model_whose_attention_is_bidirectional_in_fact(tmp_path: Path) -> None:
    """Neither the class nor the configuration of XLNet says that a token changes the predictions of those before it."""
    config = hf.XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=48)
    save_model(tmp_path, hf.XLNetLMHeadModel(config))
    with refused(Unsupported, "not-causal", kind="unsupported"):
        pk.load(tmp_path).load()


def test_decoder_of_an_encoder_decoder_by_itself(tmp_path: Path) -> None:
    """The whole decoder, saved as a causal model of its own, is one."""
    config = hf.BartConfig(
        vocab_size=VOCABULARY, d_model=32, decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=32, pad_token_id=2
    )
    model = hf.BartForCausalLM(config)
    (output,) = answer(pk.load(save_model(tmp_path, model)), [score()])
    logits = model(torch.tensor([[0, 5, 6, 7, 8]])).logits[0].log_softmax(-1)
    assert numbers(output) == pytest.approx([logits[3, 8].item(), logits[4, 9].item(), logits[3, 10].item()], abs=1e-4)


# ---- vocabulary ----------------------------------------------------------------------------------------


def test_embedding_without_the_markers_of_the_chat_template(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(chat=True)
    rows = tokenizer.convert_tokens_to_ids("<start_of_turn>")
    save_model(tmp_path, llama(vocab_size=rows, eos_token_id=1), tokenizer)
    with refused(ModelError, "vocabulary-too-large", rows=rows):
        _ = pk.load(tmp_path).card


def test_token_without_an_embedding_that_no_text_can_contain(tmp_path: Path) -> None:
    """Gemma 3 has a token for images beyond the rows of its embedding."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    token = tokenizer.convert_tokens_to_ids("<image_soft_token>")
    model = pk.load(save_model(tmp_path, llama(vocab_size=token), tokenizer))
    assert answer(model, [score()])
    with refused(InputError, "token-without-embedding", id=token, rows=token):
        answer(model, [score((0, 5, token))])
    with refused(InputError, "token-without-embedding", id=token, rows=token):
        answer(model, [score((0, 5), (6, token))])


# ---- code ----------------------------------------------------------------------------------------------


def test_code_in_the_folder_is_neither_executed_nor_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path, llama())
    executed = tmp_path / "executed"
    (tmp_path / "configuration_own.py").write_text(f"open({str(executed)!r}, 'w').close()\n")
    auto_map = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "configuration_own.OwnModel"}
    set_config(tmp_path, model_type="own", auto_map=auto_map)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with refused(ModelError, "remote-code", part="configuration"):
        pk.load(tmp_path)
    assert not executed.exists()


def test_code_of_a_known_architecture_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path, llama())
    (before,) = answer(pk.load(tmp_path), [score()])
    executed = tmp_path / "executed"
    (tmp_path / "own.py").write_text(f"open({str(executed)!r}, 'w').close()\n")
    auto_map = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel", "AutoTokenizer": [None, "own.OwnTokenizer"]}
    set_config(tmp_path, auto_map=auto_map)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"auto_map": auto_map}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (after,) = answer(pk.load(tmp_path), [score()])
    assert numbers(before) == numbers(after)
    assert not executed.exists()


def test_linear_layer_is_not_left_random(tmp_path: Path) -> None:
    """A single missing bias is found, too: it would be zero instead of random, and wrong all the same."""
    model = llama(attention_bias=True)
    nn.init.normal_(model.model.layers[0].self_attn.q_proj.bias)
    save_model(tmp_path, model)
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["model.layers.0.self_attn.q_proj.bias"]
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    with refused(ModelError, "wrong-weights", missing=("model.layers.0.self_attn.q_proj.bias",)):
        pk.load(tmp_path).load()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT, about an attribute that transformers renames
def test_adapter_in_the_folder_of_a_model(tmp_path: Path) -> None:
    """transformers would load the weights from the base model that the adapter names, and not from the folder."""
    import peft

    save_model(tmp_path / "base", llama())
    adapted: Any = peft.get_peft_model(llama(), peft.LoraConfig(r=2, task_type="CAUSAL_LM", target_modules=["q_proj"]))
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "both")
    save_model(tmp_path / "both", llama())
    with refused(ModelError, "adapter-in-model"):
        pk.load(tmp_path / "both").load()
