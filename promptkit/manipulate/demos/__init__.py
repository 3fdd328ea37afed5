"""Demonstration selectors, one technique per file.

The chosen demonstrations are a function of the row's inputs, the set of pool rows, the selector's keywords and the model. They
depend neither on the order of the pool nor on the other rows of a call.
"""

from __future__ import annotations

from promptkit.core.class_table import ClassTable
from promptkit.manipulate.demos.auto_cot import auto_cot
from promptkit.manipulate.demos.bm25 import bm25
from promptkit.manipulate.demos.candidates import CANDIDATES
from promptkit.manipulate.demos.complex import complex
from promptkit.manipulate.demos.diverse import diverse
from promptkit.manipulate.demos.dpp import dpp
from promptkit.manipulate.demos.influence import influence
from promptkit.manipulate.demos.mdl import mdl
from promptkit.manipulate.demos.mmr import mmr
from promptkit.manipulate.demos.random import balanced, first, random, random_each, zero
from promptkit.manipulate.demos.rerank import rerank
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.demos.similar import similar
from promptkit.manipulate.demos.votek import votek

SELECTORS: ClassTable[Selector] = ClassTable(
    "demonstration selector",
    (zero, *CANDIDATES.values(), votek, diverse, mdl, influence, rerank, complex, auto_cot),
    group="promptkit.selectors",
)
"""The selectors by name."""
register = SELECTORS.register
"""Registers the class of a selector, a dataclass that derives from `Selector`."""

__all__ = [
    "SELECTORS",
    "Selector",
    "auto_cot",
    "balanced",
    "bm25",
    "complex",
    "diverse",
    "dpp",
    "first",
    "influence",
    "mdl",
    "mmr",
    "random",
    "random_each",
    "register",
    "rerank",
    "similar",
    "votek",
    "zero",
]
