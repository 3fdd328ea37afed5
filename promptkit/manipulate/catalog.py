"""The manipulations by name, with their coordinates in the taxonomy of neural network reprogrammability (arXiv 2506.04650)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from inspect import getdoc
from typing import ClassVar, Protocol

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.fixed import FIXED
from promptkit.manipulate.image.affine import Affine
from promptkit.manipulate.image.border import Border
from promptkit.manipulate.image.filter import Filter
from promptkit.manipulate.image.mask import SampleMask
from promptkit.manipulate.image.processor import ImageProcessor
from promptkit.manipulate.image.watermark import Watermark
from promptkit.manipulate.learned.loreft import LoReFT
from promptkit.manipulate.learned.prefix import Prefix
from promptkit.manipulate.learned.soft_prompt import SoftPrompt
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens
from promptkit.manipulate.prompt import Prompt


class HasKind(Protocol):
    """A class whose instances all have the same coordinates in the taxonomy."""

    kind: ClassVar[Kind]
    """The coordinates."""


MANIPULATIONS: Mapping[str, type[HasKind]] = {
    manipulation.__name__: manipulation
    for manipulation in (
        Prompt,
        ImageProcessor,
        SoftPrompt,
        TriggerTokens,
        Prefix,
        SteeringVector,
        LoReFT,
        *FIXED.values(),
        Border,
        Watermark,
        SampleMask,
        Affine,
        Filter,
    )
}


def described() -> list[dict[str, str]]:
    """Returns one entry per manipulation: name, format, location, operator, and the first line of its docstring."""
    return [
        {"name": name, **asdict(manipulation.kind), "description": (getdoc(manipulation) or "").partition("\n")[0]}
        for name, manipulation in MANIPULATIONS.items()
    ]
