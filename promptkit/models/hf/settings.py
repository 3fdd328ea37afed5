"""The settings of the hf engine, which are known without importing PyTorch."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from promptkit.models import registry


class TransformersSettings(registry.Settings):
    """Settings of the hf engine."""

    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is float32 on a CPU and bfloat16 on a GPU; or float32, bfloat16, float16."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    tokenizer: str | None = None
    """Hub id or folder of a tokenizer to use in place of the model's."""
    attention: Literal["packed", "eager", "sdpa", "flash_attention_2"] = "packed"
    """`packed` shares prefixes and packs labels; eager, sdpa and flash_attention_2 are those of transformers, which
    share nothing."""
    batch_tokens: PositiveInt | None = None
    """The most tokens computed at once, at least 1; 1024 on a CPU and 16384 on a GPU by default."""
