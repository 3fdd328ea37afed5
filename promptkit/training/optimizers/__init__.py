"""The optimizers of learned manipulations: by gradients, by losses alone, or over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.class_table import ClassTable, named_attributes
from promptkit.training.optimizers.adamw import AdamW
from promptkit.training.optimizers.base import Optimizer
from promptkit.training.optimizers.cma_es import CmaEs
from promptkit.training.optimizers.hotflip import HotFlip
from promptkit.training.optimizers.spsa import Spsa

OPTIMIZERS: ClassTable[Optimizer] = ClassTable("optimizer", (AdamW, Spsa, CmaEs, HotFlip), group="promptkit.optimizers")
"""The optimizers by name."""
register = OPTIMIZERS.register
"""Registers the class of an optimizer, a dataclass with the attributes of `Optimizer`."""

# the registered names (see `named_attributes`)
adamw = AdamW
spsa = Spsa
cma_es = CmaEs
hotflip = HotFlip
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, OPTIMIZERS)

__all__ = ["OPTIMIZERS", "AdamW", "CmaEs", "HotFlip", "Optimizer", "Spsa", "register"]
