"""Selectors that choose by themselves, and so can give candidates to those that choose among another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.core.registry import build
from promptkit.manipulate.demos.bm25 import bm25
from promptkit.manipulate.demos.dpp import dpp
from promptkit.manipulate.demos.mmr import mmr
from promptkit.manipulate.demos.random import balanced, first, random, random_each
from promptkit.manipulate.demos.similar import similar

CANDIDATES: Mapping[str, type] = {
    selector.name: selector for selector in (first, random, random_each, balanced, bm25, similar, mmr, dpp)
}


def inner(by: str, k: int, seed: int) -> Any:
    """The selector of k candidates that a spelling names, such as `random-each`."""
    return build("selector of candidates", CANDIDATES, by, k=k, seed=seed)
