"""Selectors that choose among the candidates of another selector."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.registry import build
from promptkit.manipulate.demos.bm25 import BM25
from promptkit.manipulate.demos.dpp import DPP
from promptkit.manipulate.demos.mmr import MMR
from promptkit.manipulate.demos.random import Balanced, First, Random, RandomEach
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.demos.similar import Similar
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, count_distinct

CANDIDATES: Mapping[str, type[Selector]] = {
    selector.name: selector for selector in (First, Random, RandomEach, Balanced, BM25, Similar, MMR, DPP)
}
"""Selectors that can propose candidates, by name."""


@dataclass(frozen=True)
class CandidateSelector(Selector, ABC):
    """Chooses k of the candidates that another selector proposes."""

    k: int = 8
    """Number of demonstrations."""
    seed: int = 0
    """Seed of this selector and of the selector of candidates."""
    candidates: int = 16
    """Number of candidate rows from the pool."""
    by: str = "random-each"
    """Spelling of the selector that proposes the candidates, best first."""

    def __post_init__(self) -> None:
        """Validates the keywords of this selector and of the one that selects the candidates."""
        checked(self)
        self._candidate_selector(self.candidates)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the selector of candidates reads."""
        return self._candidate_selector(self.candidates).parts

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the selector of candidates queries."""
        return self._candidate_selector(self.candidates).models

    def _check_counts(self, requirement: str, hint: str, **counts: int) -> None:
        """Raises unless there are at least k candidates and every other count is positive."""
        if self.candidates >= self.k and min(counts.values()) >= 1:
            return
        values = {"k": self.k, "candidates": self.candidates, **counts}
        raise InputError(
            f"{self.name} needs at least k candidates, and {requirement}",
            code="too-few-candidates" if self.candidates < self.k else "out-of-range",
            got=", ".join(f"{name}={value}" for name, value in values.items()),
            hint=hint,
            selector=self.name,
            **values,
        )

    def _propose(self, context: SelectionContext, rows: Sequence[LabeledExample], count: int) -> Choose:
        """Returns the selection of at most `count` candidates among the distinct `rows`, which are the context's pool."""
        return self._candidate_selector(min(count, count_distinct(rows))).bind(context)

    def _candidate_selector(self, k: int) -> Selector:
        return build("selector of candidates", CANDIDATES, self.by, k=k, seed=self.seed)
