"""Iterative label mapping, ILM (Chen et al. 2022, 2211.11635).

Frequency mapping that is fitted again in every epoch in which an input program is trained. Without training the model's outputs
do not change, and the result equals frequency mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.labelmap.frequency import Frequency


@dataclass(frozen=True, kw_only=True)
class Iterative(Frequency):
    """Frequency mapping that is fitted again whenever the outputs change; on the outputs of a finished run they are equal."""

    name: ClassVar[str] = "iterative"
    is_refitted: ClassVar[bool] = True
