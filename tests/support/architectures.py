"""Tiny configurations of many architectures, and the tables of docs/architectures.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Request, Score
from tests.support.tiny import VOCABULARY

DOCUMENT = Path(__file__).parents[2] / "docs" / "architectures.md"
"""The guide with the tables of architectures."""
CONTINUATIONS = ((8, 9, 10), (8, 11), (12,))
"""The continuations that every architecture scores."""

FIELDS: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "attention_hidden_size", "dim"), 32),
    **dict.fromkeys(("intermediate_size", "d_ff", "ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "d_inner"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "linear_num_key_heads"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "linear_num_value_heads", "rotary_dim"), 4),
    **dict.fromkeys(("head_dim", "v_head_dim", "kv_lora_rank", "q_lora_rank", "state_size", "mamba_d_state"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("n_shared_experts", "n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim"), 4),
    "sliding_window": 12,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
"""The value of each field, where a configuration has it."""
SPECIFIC: dict[str, dict[str, Any]] = {
    "bart": {"is_encoder_decoder": False, "is_decoder": True},
    "bert": {"is_decoder": True},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0, 0.0],
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4, "window_size": 12},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "opt": {"word_embed_proj_dim": 32},
    "deepseek_v2": {"head_dim": 4, "num_key_value_heads": 4},
    "deepseek_v3": {"head_dim": 4, "num_key_value_heads": 4},
    "minicpm3": {"head_dim": 8, "num_key_value_heads": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
}
"""Further fields of some architectures."""


def tiny_config(kind: str) -> PretrainedConfig:
    """Returns a tiny configuration of a model type; of the kinds of layers that its default has, it has the first two."""
    config_class = CONFIG_MAPPING[kind]
    default = config_class()
    names = {*default.to_dict(), *default.attribute_map}
    fields = {name: value for name, value in FIELDS.items() if name in names}
    for name in ("layer_types", "mlp_layer_types"):
        if isinstance(getattr(default, name, None), list) and not isinstance(getattr(config_class, name, None), property):
            kinds = list(dict.fromkeys(getattr(default, name)))
            fields[name] = (2 * kinds)[:2]
    config: PretrainedConfig = config_class(**{**fields, **SPECIFIC.get(kind, {})})
    return config


def request(ids: tuple[int, ...], verb: Any = None, **interventions: Any) -> Request:
    """Returns a request with interventions, by default for the log-probabilities of `CONTINUATIONS`."""
    verb = verb or Score(continuations=CONTINUATIONS)
    return Request(input=TextInput(ids=ids), verb=verb, interventions=Interventions(**interventions))


def documented_table(begin: str, end: str) -> list[str]:
    """Returns the lines of a table of the guide, between two comments."""
    return DOCUMENT.read_text("utf-8").partition(begin)[2].partition(end)[0].strip().splitlines()


def write_table(begin: str, end: str, lines: list[str]) -> None:
    """Replaces a table of the guide, between two comments."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(begin)
    table = "\n".join(lines)
    DOCUMENT.write_text(f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}", "utf-8")
