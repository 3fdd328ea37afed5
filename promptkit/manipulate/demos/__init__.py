"""Which rows of the pool are shown as demonstrations, one technique a file.

A choice is a function of the row's input, the set of pool rows, the selector's keywords and the model: neither the order of
the pool, nor the other rows that are asked for, change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

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
from promptkit.manipulate.demos.similar import similar
from promptkit.manipulate.demos.votek import votek
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose


class Selector(Protocol):
    """Chooses demonstrations; one instance is one setting.

    It may have `k`, how many it chooses; `parts`, those of the train split that it uses if not the pool alone; `models`,
    the names of other models that it asks; and `ranks`, true where what it chooses first is the nearest to the row.
    """

    name: ClassVar[str]

    def bind(self, context: SelectionContext) -> Choose:
        """The choice for any rows; raises if the pool is too small."""
        ...


SELECTORS: Mapping[str, type] = {
    zero.name: zero,
    **CANDIDATES,
    **{selector.name: selector for selector in (votek, diverse, mdl, influence, rerank, complex, auto_cot)},
}

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
    "rerank",
    "similar",
    "votek",
    "zero",
]
