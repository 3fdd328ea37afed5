"""The settings of the encoder engine, which are known without importing PyTorch."""

from __future__ import annotations

from pydantic import PositiveInt

from promptkit.models import registry
from promptkit.models.files.source import KnownModels

KNOWN = KnownModels(engine="encoder", hub="sentence-transformers/all-MiniLM-L6-v2")


class EncoderSettings(registry.Settings):
    """Settings of the encoder engine."""

    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    batch_tokens: PositiveInt = 4096
    """Maximum number of tokens in a batch."""
