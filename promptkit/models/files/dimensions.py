"""The sizes of a model, read from its configuration under the names that the architectures of transformers use.

This is the only place that knows these names. When the weights load, the sizes are compared with the loaded modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from transformers import PretrainedConfig

UNBOUNDED = 2**31
"""The context length of a model whose configuration does not state one.

Recurrent models have no limit, nor do models without a table of positions: ALiBi (BLOOM) computes a bias from the distance of
two tokens, and T5 has one bias for all distances beyond its largest bucket. The tokenizer may state the length that the model
was trained with.
"""
EMBEDDING_WIDTHS = ("word_embed_proj_dim", "embedding_size", "input_embedding_size", "embedding_dim")
"""Fields with the width of the embeddings of models that project them to the width of their hidden states."""
CONTEXT_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
"""Fields with the maximum number of tokens, the most common first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """The sizes of the text part of a model."""

    embedding_width: int
    """The width of token embeddings."""
    state_width: int
    """The width of the hidden states between layers."""
    vocabulary: int
    """The number of rows of the embedding."""
    layers: int
    """The number of layers."""
    kv_heads: int
    """The number of key-value heads of a layer; 0 if there is no attention."""
    context_length: int
    """The maximum number of tokens; `UNBOUNDED` if the configuration states none."""


class Configuration(Protocol):
    """A configuration of transformers, or the fields of its file."""

    def get_text_config(self) -> Any:
        """Returns the configuration of the part that reads text."""
        ...


def dimensions_of(config: Configuration) -> Dimensions:
    """Returns the sizes that a configuration states.

    Args:
        config: The configuration of a model, or of its text part.
    """
    text = config.get_text_config()
    state_width = _stated(text, ("hidden_size",))
    return Dimensions(
        embedding_width=_stated(text, EMBEDDING_WIDTHS) or state_width,
        state_width=state_width,
        vocabulary=_stated(text, ("vocab_size",)),
        layers=_stated(text, ("num_hidden_layers",)),
        kv_heads=_stated(text, ("num_key_value_heads", "num_attention_heads")),
        context_length=_stated(text, CONTEXT_LENGTHS) or UNBOUNDED,
    )


def usable_positions(config: PretrainedConfig) -> int:
    """Returns how many tokens the position embedding of an encoder can number; `UNBOUNDED` if it has none.

    Some architectures, such as RoBERTa, number positions from the one after the padding token, and cannot use those before it.
    """
    import torch
    from torch import nn
    from transformers import AutoModel

    auto: Any = AutoModel
    with torch.device("meta"):  # without memory for weights
        model = auto.from_config(config, trust_remote_code=False)
    stated = dimensions_of(config).context_length
    tokens = model.get_input_embeddings()
    tables = (part for part in model.modules() if isinstance(part, nn.Embedding) and part is not tokens)
    skipped = (part.padding_idx + 1 for part in tables if part.num_embeddings == stated and part.padding_idx is not None)
    return stated - max(skipped, default=0)


def _stated(config: Any, names: tuple[str, ...]) -> int:
    """Returns the first field that is a positive integer, or 0; lists of one value per layer are ignored."""
    for name in names:
        try:
            value = getattr(config, name, None)
        except Exception:
            continue
        if isinstance(value, int) and value > 0:
            return int(value)
    return 0
