"""Folders of tiny random models of any architecture of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Read, Request, Score
from tests.support.tiny import VOCABULARY, make_tokenizer

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
"""Fields that most configurations have."""


def randomized(model: Any) -> Any:
    """Returns the model with weights that are large enough that attention matters, the same at each call."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "conv" not in name:
                parameter.normal_(0, 0.2)
            else:  # norms and gates that begin at 0 or 1 would hide what they scale
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def save_model(folder: Path, model: Any, tokenizer: Any = None) -> Path:
    """Saves a model with random weights, and a tokenizer; returns the folder."""
    randomized(model).save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def llama(**changed: Any) -> Any:
    """Returns a tiny Llama."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SIZES, **changed}))


def score(ids: tuple[int, ...] = (0, 5, 6, 7), *continuations: tuple[int, ...]) -> Request:
    """Returns a request for the log-probabilities of continuations."""
    return Request(input=TextInput(ids=ids), verb=Score(continuations=continuations or ((8, 9), (10,))))


def read(layer: int, ids: tuple[int, ...] = (0, 5, 6, 7), **options: Any) -> Request:
    """Returns a request for the hidden state of a layer."""
    return Request(input=TextInput(ids=ids), verb=Read(hidden_layer=layer, **options))
