"""Reads configuration, tokenizer and weights of a model with transformers, and reports its many errors in one form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import ModelError, OutOfMemory
from promptkit.core.model import Card
from promptkit.models.files.quiet import quiet
from promptkit.models.files.source import LOCAL, Source
from promptkit.models.files.tokenizer import TransformersTokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

UNBOUNDED = 2**31
"""The context length of a model whose configuration does not state one, such as a recurrent model."""
PARTS = {"AutoConfig": "configuration", "AutoTokenizer": "tokenizer"}
"""The part of a model that a class of transformers loads; the weights, for all others."""


def fetched(auto: Any, source: Source, name: str, **options: object) -> Any:
    """Loads a part of a model with `auto.from_pretrained`.

    Args:
        auto: A class of transformers, such as `AutoConfig`.
        source: The model's files.
        name: The model as the user named it, for error messages.
        options: Further arguments of `from_pretrained`.

    Raises:
        OutOfMemory: If the weights do not fit in memory.
        ModelError: If loading fails otherwise.
    """
    try:
        with quiet():
            return auto.from_pretrained(source.location, revision=source.commit, **options)
    except Exception as error:
        import torch

        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            raise OutOfMemory(
                f"The weights of {name} do not fit in memory", code="out-of-memory", hint="Try --set dtype=bfloat16", model=name
            ) from None
        raise _unloadable(PARTS.get(auto.__name__, "weights"), source, name, error) from error


def _unloadable(part: str, source: Source, name: str, error: Exception) -> ModelError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if part == "tokenizer" and source.local and not (Path(source.location) / "tokenizer.json").is_file():
        reason = "there is no tokenizer.json"
    hint = f"Check the name, the files and the network; models that need no network are {LOCAL}, and fake"
    if source.local:
        hint = "Check that config.json, tokenizer.json and model.safetensors exist and are complete"
    return ModelError(
        f"The {part} of the model {name} could not be loaded from {'its folder' if source.local else 'the hub'}: {reason}",
        code="unloadable-model",
        hint=hint,
        model=name,
        part=part,
    )


def read_config(source: Source, name: str) -> PretrainedConfig:
    """Returns the whole transformers configuration of a model, of all its modalities; raises as `fetched`."""
    from transformers import AutoConfig

    config: PretrainedConfig = fetched(AutoConfig, source, name)
    return config


def read_tokenizer(source: Source, name: str) -> TransformersTokenizer:
    """Returns the tokenizer; raises as `fetched`."""
    from transformers import AutoTokenizer

    return TransformersTokenizer(fetched(AutoTokenizer, source, name))


def card(config: PretrainedConfig, tokenizer: TransformersTokenizer, *, at_most: int | None = None) -> Card:
    """Returns the model card, which manipulations are allowed to see.

    Args:
        config: The whole transformers configuration.
        tokenizer: The tokenizer.
        at_most: An upper bound of the context length.
    """
    config = config.get_text_config()
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or UNBOUNDED
    kv_heads = int(getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 0) or 0)
    return Card(
        tokenizer=tokenizer,
        d_model=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=config.num_hidden_layers,
        kv_heads=kv_heads,
        context_length=min(length, at_most or length),
        instruct=tokenizer.has_chat,
    )


def caps_attention_logits(config: PretrainedConfig) -> bool:
    """Returns whether the model applies a soft cap to its attention logits, as Gemma 2 does."""
    return bool(getattr(config.get_text_config(), "attn_logit_softcapping", None))


def end_tokens(source: Source, tokenizer: TransformersTokenizer) -> frozenset[int]:
    """Returns the tokens that end a text: those of the tokenizer, and those of the model's generation settings."""
    from transformers import GenerationConfig

    try:
        eos = GenerationConfig.from_pretrained(source.location, revision=source.commit or "main").eos_token_id
    except (OSError, ValueError):  # the file with generation settings is optional
        eos = None
    listed = eos if isinstance(eos, list) else [] if eos is None else [eos]
    return frozenset(listed) | frozenset(tokenizer.ends)
