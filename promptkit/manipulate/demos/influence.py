"""Selection by influence (Nguyen and Wong 2023, arXiv 2302.11042).

The influence of a candidate e is the mean accuracy of random contexts that contain e, minus the mean accuracy of those that do
not:

    I(e) = mean of accuracy(C) over C with e in C - mean of accuracy(C) over C with e not in C,

where accuracy is measured on dev rows. The k candidates with the highest influence are shown for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.prompting.checks import check_has_dev, check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, choose_shared, distinct

DECIMALS = 6
"""Decimals to which influences are rounded before comparison."""


@dataclass(frozen=True)
class Influence(Selector):
    """Shows the k candidates with the highest influence on dev accuracy, the highest first."""

    k: int = 8
    """Number of demonstrations."""
    seed: int = 0
    """Seed of the candidates, contexts and dev rows."""
    candidates: int = 32
    """Number of candidate rows drawn from the pool."""
    contexts: int = 48
    """Number of random contexts of k candidates."""
    rows: int = 32
    """Number of dev rows that each context is evaluated on."""
    name: ClassVar[str] = "influence"
    is_shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Validates the keywords."""
        checked(self)
        if self.candidates <= self.k or self.contexts < 2 or self.rows < 1:
            raise InputError(
                "influence needs more than k candidates, at least two contexts and at least one dev row",
                code="too-few-candidates" if self.candidates <= self.k else "out-of-range",
                got=f"k={self.k}, candidates={self.candidates}, contexts={self.contexts}, rows={self.rows}",
                selector=self.name,
                k=self.k,
                candidates=self.candidates,
                contexts=self.contexts,
                rows=self.rows,
            )

    @property
    def parts(self) -> tuple[Part, ...]:
        """The pool and dev."""
        return ("pool", "dev")

    def bind(self, context: SelectionContext) -> Choose:
        """Measures the influences and returns the same rows for every row."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        check_has_dev(context, self.name)
        candidates = distinct(self._shuffle("candidate", context.pool))[: self.candidates]
        influences = self._influences(context, candidates)
        queue = sorted(candidates, key=lambda row: (-round(influences[row.id], DECIMALS), hash_rank(self.seed, row.id)))
        return choose_shared([queue] * self.k)

    def _influences(self, context: SelectionContext, candidates: Sequence[LabeledExample]) -> dict[str, float]:
        """Maps row id to influence; 0 for a row that is in every context or in none."""
        contexts = [self._random_context(number, candidates) for number in range(self.contexts)]
        accuracies = self._accuracies(context, contexts)
        influences = {}
        for row in candidates:
            pairs = [(accuracy, row in demonstrations) for accuracy, demonstrations in zip(accuracies, contexts, strict=True)]
            present = [accuracy for accuracy, contains in pairs if contains]
            absent = [accuracy for accuracy, contains in pairs if not contains]
            influences[row.id] = fmean(present) - fmean(absent) if present and absent else 0.0
        return influences

    def _accuracies(self, context: SelectionContext, contexts: Sequence[Demonstrations]) -> list[float]:
        rows = self._shuffle("dev", context.dev)[: self.rows]
        answers = context.answers([(row, demonstrations) for demonstrations in contexts for row in rows])
        pairs = zip(rows * self.contexts, answers, strict=True)
        correct = [context.reader.is_correct(answer, row.answers) for row, answer in pairs]
        return [fmean(correct[start : start + len(rows)]) for start in range(0, len(correct), len(rows))]

    def _random_context(self, number: int, candidates: Sequence[LabeledExample]) -> Demonstrations:
        """Draws k candidates without replacement until fewer than k are left, then reshuffles all of them."""
        shuffle, place = divmod(number, max(1, len(candidates) // self.k))
        return tuple(self._shuffle(f"context {shuffle}", candidates)[place * self.k : (place + 1) * self.k])

    def _shuffle(self, purpose: str, rows: Sequence[LabeledExample]) -> list[LabeledExample]:
        return sorted(rows, key=lambda row: hash_rank(self.seed, purpose, row.id))
