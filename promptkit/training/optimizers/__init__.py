"""The optimizers of learned manipulations: by gradients, by losses alone, or over tokens."""

from __future__ import annotations

from promptkit.core.class_table import ClassTable
from promptkit.training.optimizers.adamw import AdamW
from promptkit.training.optimizers.base import Optimizer
from promptkit.training.optimizers.cma_es import CmaEs
from promptkit.training.optimizers.hotflip import HotFlip
from promptkit.training.optimizers.spsa import Spsa

OPTIMIZERS: ClassTable[Optimizer] = ClassTable("optimizer", (AdamW, Spsa, CmaEs, HotFlip), group="promptkit.optimizers")
"""The optimizers by name."""
register = OPTIMIZERS.register
"""Registers the class of an optimizer, a dataclass with the attributes of `Optimizer`."""

__all__ = ["OPTIMIZERS", "AdamW", "CmaEs", "HotFlip", "Optimizer", "Spsa", "register"]
