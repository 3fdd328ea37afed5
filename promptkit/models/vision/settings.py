"""The settings of the vision engine, which are known without importing PyTorch."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from promptkit.models import registry
from promptkit.models.files.source import KnownModels
from promptkit.models.vision.preprocessing import ImageSize

DEMO = "demo"
"""The name of the demo classifier."""
KNOWN = KnownModels(engine="vision", hub="microsoft/resnet-18", demo_extra="vision")


class VisionSettings(registry.Settings):
    """Settings of the vision engine."""

    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """float32, bfloat16 or float16."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    size: ImageSize | None = None
    """Height and width of the images that the model reads, such as 96, or 96x128 if they differ; the size in the model's
    files by default."""
    batch_size: PositiveInt | None = None
    """The largest number of images computed at once; 32 on a CPU and 128 on a GPU by default."""
