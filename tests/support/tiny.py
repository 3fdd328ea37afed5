"""Tiny random models and a tokenizer, created in the process without downloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCABULARY = 320
CORPUS = (
    "Review: the film was good and I liked it a lot. Sentiment: positive",
    "Review: a bad, dull and long evening; never again! Sentiment: negative",
    "The answer is not as far as one may think.\n\nNumbers: 1 2 3 40 500",
)

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_SLIDING = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

CONFIGS: dict[str, Any] = {
    "llama": lambda: transformers.LlamaConfig(**_COMMON),
    "gemma3": lambda: transformers.Gemma3TextConfig(**_COMMON, **_SLIDING, query_pre_attn_scalar=8),
    "gemma2": lambda: transformers.Gemma2Config(
        **_COMMON, **_SLIDING, query_pre_attn_scalar=8, attn_logit_softcapping=5.0, final_logit_softcapping=2.0
    ),
    "mistral": lambda: transformers.MistralConfig(**_COMMON, sliding_window=12),
    "qwen3": lambda: transformers.Qwen3Config(**_COMMON),
    "cohere": lambda: transformers.CohereConfig(**_COMMON, logit_scale=0.25),
    "granite": lambda: transformers.GraniteConfig(**_COMMON, logits_scaling=3.0),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=512, bos_token_id=0, eos_token_id=1
    ),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(
        **{**_COMMON, "num_key_value_heads": None, "head_dim": None}, rotary_pct=0.5
    ),
    "bloom": lambda: transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
    "mamba": lambda: transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8),
}
PACKED = ("llama", "gemma3", "gemma2", "mistral", "qwen3", "cohere", "granite", "gpt2", "gpt_neox")
"""The models that the packed forward must support; the others fall back to the padded forward."""


def make_model(kind: str, **changed: object) -> Any:
    """Returns a frozen random model, with weights large enough that attention matters.

    `changed` overrides fields of the configuration.
    """
    torch.manual_seed(0)
    config = CONFIGS[kind]()
    for name, value in changed.items():
        setattr(config, name, value)
    options = {"attn_implementation": "eager"} if kind == "gemma2" else {}  # other implementations omit the soft cap (5.19)
    model = transformers.AutoModelForCausalLM.from_config(config, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "conv" not in name:
                parameter.normal_(0, 0.2)
    return model.eval().requires_grad_(False)


def make_tokenizer(*, bos: bool = True, chat: bool = False) -> Any:
    """Returns a byte-level BPE tokenizer in which, as in Gemma's, one control token is not marked as special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    tokenizer.add_tokens(["<start_of_image>"])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    if chat:
        fast.chat_template = (
            "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
            "{% endif %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
            "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
        )
    return fast


def save(folder: Path, kind: str, **tokenizer: bool) -> Path:
    """Saves a model with its tokenizer in a folder."""
    make_model(kind).save_pretrained(folder)
    make_tokenizer(**tokenizer).save_pretrained(folder)
    return folder


def save_reviews(
    folder: Path, count: int, *, hold_out: float = 0.8, text: Callable[[int], str] | None = None, **fields: str
) -> None:
    """Saves a task of synthetic reviews with alternating labels: task.yaml, or texts.yaml if `fields` has an answer."""
    make_text = text or (lambda i: f"{'a long evening' if i % 2 else 'liked it'} {i}")
    rows = [{"text": make_text(i), "label": ("yes", "no")[i % 2]} for i in range(count)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"{{files: {{test: rows.jsonl}}, inputs: {{text: text}}, label: label, hold_out: {hold_out}}}"
    specific = fields or {"template": "sentiment/review", "labels": '{"no": bad, "yes": good}'}
    lines = {"description": "made up", **specific, "sources": f"[{source}]"}
    name = "texts.yaml" if "answer" in fields else "task.yaml"
    (folder / name).write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
