"""Soft prompts of encoder-decoders give the same results here and in PEFT, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError
from promptkit.core.examples import Example
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Score
from promptkit.manipulate.learned import peft as format_of_peft
from promptkit.models.client import CachedModel
from promptkit.predictor.compatibility import base_of
from tests.support.errors import refused
from tests.support.hf_models import LoadModel, answer

pytestmark = [  # raised inside PEFT
    pytest.mark.filterwarnings(f"ignore:`{name}` is deprecated:FutureWarning")
    for name in ("is_gradient_checkpointing", "past_key_values")
]
WORDS = {"no": "bad, really", "yes": "good"}
TEXTS = ["it was", "so so", "never again"]
TASK: dict[str, Any] = {"task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 3}
CONFIGS = {
    "prompt tuning": lambda: peft.PromptTuningConfig(**TASK),
    "prompt tuning of the encoder": lambda: peft.PromptTuningConfig(**TASK, num_transformer_submodules=1),
    "p-tuning": lambda: peft.PromptEncoderConfig(**TASK, encoder_hidden_size=12),
}


def scores(model: Any, soft: Any) -> list[list[list[float]]]:
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
    bound = predictor.manipulate.bind(BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS)))
    rows = bound([Example(id=text, inputs={"text": text}) for text in TEXTS])
    outputs = answer(model, [row.request(Score(continuations=row.continuations)) for row in rows])
    return [[[*row] for row in output.logprobs] for output in outputs]


def scores_of_peft(model: Any, tokenizer: Any) -> list[list[list[float]]]:
    """The log-probabilities by PEFT, without a token that begins every target."""
    found = []
    for text in TEXTS:
        prompt = tokenizer(
            f"Decide whether each review is bad, really or good.\n\nReview: {text}\nSentiment:", return_tensors="pt"
        )
        for word in WORDS.values():
            labels = torch.tensor([tokenizer(text_target=word).input_ids])
            with torch.no_grad():
                logits = model(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, labels=labels).logits[0]
            row = logits.log_softmax(-1).gather(1, labels[0][:, None])[:, 0].tolist()
            found.append(row[1:] if labels[0, 0] == tokenizer.bos_token_id else row)
    return [found[index : index + len(WORDS)] for index in range(0, len(found), len(WORDS))]


def assert_close(actual: list[list[list[float]]], expected: list[list[list[float]]]) -> None:
    for rows, expected_rows in zip(actual, expected, strict=True):
        for row, expected_row in zip(rows, expected_rows, strict=True):
            assert row == pytest.approx(expected_row, abs=1e-4)


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize("config", CONFIGS)
def test_a_checkpoint_of_peft_gives_the_same_scores(load: LoadModel, kind: str, config: str, tmp_path: Path) -> None:
    model = load(kind)
    torch.manual_seed(0)
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(model.name)
    peft_model = peft.get_peft_model(base, CONFIGS[config]()).eval()
    peft_model.save_pretrained(tmp_path)
    soft = pk.load_manipulation(tmp_path)
    assert soft.base["format"] == "encoder-decoder"
    assert_close(scores(model, soft), scores_of_peft(peft_model, transformers.AutoTokenizer.from_pretrained(model.name)))


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_soft_prompt_gives_the_same_scores_in_peft(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model = load(kind)
    vectors = as_array(np.random.default_rng(0).normal(size=(3, 32)))
    soft = pk.SoftPrompt(3, place="start").with_parameters({"vectors": vectors}, base_of(model))
    format_of_peft.write(soft, tmp_path)
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(model.name)
    peft_model = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    assert_close(scores_of_peft(peft_model, transformers.AutoTokenizer.from_pretrained(model.name)), scores(model, soft))


def test_a_soft_prompt_of_another_kind_of_model_is_refused(load: LoadModel, load_model: LoadModel, tmp_path: Path) -> None:
    vectors = {"vectors": as_array(np.zeros((2, 32)))}
    soft = pk.SoftPrompt(2, place="start").with_parameters(vectors, {"format": "encoder-decoder", "d_model": 32})
    with refused(CheckpointError, "other-model", differs="format", found="causal", expected="encoder-decoder"):
        pk.Predictor(load_model("llama"), [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
    masked = pk.SoftPrompt(2, place="start").with_parameters(vectors, base_of(load("bert")))
    with refused(CheckpointError, "no-peft-task", format="masked"):
        format_of_peft.write(masked, tmp_path)


def test_a_prefix_of_an_encoder_decoder_is_refused(load: LoadModel, tmp_path: Path) -> None:
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(load("bart").name)
    peft.get_peft_model(base, peft.PrefixTuningConfig(**TASK)).save_pretrained(tmp_path)
    with refused(CheckpointError, "unsupported-checkpoint", task_type="SEQ_2_SEQ_LM"):
        pk.load_manipulation(tmp_path)
