"""Demonstration selectors, one technique per file.

The chosen demonstrations are a function of the row's inputs, the set of pool rows, the selector's keywords and the model. They
depend neither on the order of the pool nor on the other rows of a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.class_table import ClassTable, named_attributes
from promptkit.manipulate.demos.auto_cot import AutoCot
from promptkit.manipulate.demos.bm25 import BM25
from promptkit.manipulate.demos.candidates import CANDIDATES
from promptkit.manipulate.demos.complex import Complex
from promptkit.manipulate.demos.diverse import Diverse
from promptkit.manipulate.demos.dpp import DPP
from promptkit.manipulate.demos.influence import Influence
from promptkit.manipulate.demos.mdl import MDL
from promptkit.manipulate.demos.mmr import MMR
from promptkit.manipulate.demos.random import Balanced, First, Random, RandomEach, Zero
from promptkit.manipulate.demos.rerank import Rerank
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.demos.similar import Similar
from promptkit.manipulate.demos.votek import VoteK

SELECTORS: ClassTable[Selector] = ClassTable(
    "demonstration selector",
    (Zero, *CANDIDATES.values(), VoteK, Diverse, MDL, Influence, Rerank, Complex, AutoCot),
    group="promptkit.selectors",
)
"""The selectors by name."""
register = SELECTORS.register
"""Registers the class of a selector, a dataclass that derives from `Selector`."""

# the registered names (see `named_attributes`)
zero = Zero
first = First
random = Random
random_each = RandomEach
balanced = Balanced
bm25 = BM25
similar = Similar
mmr = MMR
dpp = DPP
votek = VoteK
diverse = Diverse
mdl = MDL
influence = Influence
rerank = Rerank
complex = Complex
auto_cot = AutoCot
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, SELECTORS)

__all__ = [
    "BM25",
    "DPP",
    "MDL",
    "MMR",
    "SELECTORS",
    "AutoCot",
    "Balanced",
    "Complex",
    "Diverse",
    "First",
    "Influence",
    "Random",
    "RandomEach",
    "Rerank",
    "Selector",
    "Similar",
    "VoteK",
    "Zero",
    "register",
]
