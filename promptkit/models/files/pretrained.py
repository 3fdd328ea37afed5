"""What transformers reads of a model's files: configuration, tokenizer, weights; its many errors told in one paragraph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptkit.core.errors import ModelError, OutOfMemory
from promptkit.core.model import Card
from promptkit.models.files.quiet import quiet
from promptkit.models.files.source import LOCAL, Source
from promptkit.models.files.tokenizer import TransformersTokenizer

UNBOUNDED = 2**31
"""The context length of a model that states none: a recurrent one."""


def fetched(auto: Any, source: Source, name: str, **options: object) -> Any:
    """`auto.from_pretrained` of the model that the user named so."""
    try:
        with quiet():
            return auto.from_pretrained(source.location, revision=source.commit, **options)
    except Exception as error:
        import torch

        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            raise OutOfMemory(
                f"The weights of {name} do not fit in memory", code="out-of-memory", hint="Try --set dtype=bfloat16", model=name
            ) from None
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = "from its folder" if source.local else "from the hub"
        what = {"AutoConfig": "configuration", "AutoTokenizer": "tokenizer"}.get(auto.__name__, "weights")
        if what == "tokenizer" and source.local and not (Path(source.location) / "tokenizer.json").is_file():
            reason = "there is no tokenizer.json"
        raise ModelError(
            f"The {what} of the model {name} could not be loaded {where}: {reason}",
            code="unloadable-model",
            hint="Check that config.json, tokenizer.json and model.safetensors exist and are complete"
            if source.local
            else f"Check the name, the files and the network; models that need no network are {LOCAL}, and fake",
            model=name,
            part=what,
        ) from error


def read_config(source: Source, name: str) -> Any:
    """The configuration of the language model."""
    from transformers import AutoConfig

    return fetched(AutoConfig, source, name).get_text_config()


def read_tokenizer(source: Source, name: str) -> TransformersTokenizer:
    """The tokenizer."""
    from transformers import AutoTokenizer

    return TransformersTokenizer(fetched(AutoTokenizer, source, name))


def card(config: Any, tokenizer: TransformersTokenizer, *, at_most: int | None = None) -> Card:
    """What manipulations may know of the model; its context is `at_most` so long."""
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or UNBOUNDED
    heads: Any = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 0)
    return Card(
        tokenizer=tokenizer,
        d_model=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=config.num_hidden_layers,
        kv_heads=heads,
        context_length=min(length, at_most or length),
        instruct=tokenizer.has_chat,
    )


def end_tokens(source: Source, tokenizer: TransformersTokenizer) -> frozenset[int]:
    """The tokens that end a text: the tokenizer's, and those of the model's generation settings."""
    from transformers import GenerationConfig

    try:
        told = GenerationConfig.from_pretrained(source.location, revision=source.commit or "main").eos_token_id
    except (OSError, ValueError):  # a model need not have such a file
        told = None
    listed = told if isinstance(told, list) else [] if told is None else [told]
    return frozenset(listed) | frozenset(tokenizer.ends)
