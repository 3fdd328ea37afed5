"""Iterative label mapping, ILM (Chen et al. 2022, 2211.11635): frequency mapping, fitted again in every epoch of a learned
program, under the outputs that the program has by then. Where no program is learned the outputs never change, so that it
is frequency mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.labelmap.frequency import Frequency


@dataclass(frozen=True, kw_only=True)
class Iterative(Frequency):
    """Frequency mapping, fitted anew whenever the outputs change; of a finished run it is the same map."""

    name: ClassVar[str] = "iterative"
