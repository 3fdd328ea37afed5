"""Choice by influence (Nguyen and Wong 2023, 2302.11042).

I(e) is the mean accuracy behind those of the contexts drawn by chance that hold e, less that behind those that do not; the
accuracy is of rows of dev. The k of greatest influence are shown to all rows alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from promptkit.core.alignment import Extractor
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.registry import checked
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, check_pool_size, choose_shared, distinct


@dataclass(frozen=True)
class influence:  # noqa: N801
    """The k rows of greatest influence on the accuracy on dev, the greatest first."""

    k: int = 8
    seed: int = 0
    candidates: int = 32
    """How many rows of the pool are tried, drawn by chance."""
    contexts: int = 48
    """How many contexts of k candidates are drawn."""
    rows: int = 32
    """How many rows of dev are answered behind each, drawn by chance."""
    name: ClassVar[str] = "influence"
    parts: ClassVar[tuple[Part, ...]] = ("pool", "dev")

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to measure."""
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

    def bind(self, bench: SelectionContext) -> Choose:
        """The same rows for every row; raises if there is no dev part."""
        check_pool_size(self.k, bench.pool)
        if not self.k:
            return choose_shared([])
        if not bench.dev:
            raise TaskError(
                "influence selects rows by the accuracy on the dev part of the train split, which is empty",
                code="empty-part",
                hint="Use another selector, or add train rows to the task",
                part="dev",
                selector=self.name,
            )
        tried = distinct(self._drawn("candidate", bench.pool))[: self.candidates]
        influences = self._influences(bench, tried)
        ranked = sorted(tried, key=lambda row: (-round(influences[row.id], 6), hash_rank(self.seed, row.id)))
        return choose_shared([ranked] * self.k)

    def _influences(self, bench: SelectionContext, tried: Sequence[LabeledExample]) -> dict[str, float]:
        """Row id -> its influence; 0 for a row that every context holds, or none does."""
        contexts = [self._context(number, tried) for number in range(self.contexts)]
        rows = self._drawn("dev", bench.dev)[: self.rows]
        answers = bench.answers([(row, context) for context in contexts for row in rows])
        right = [_right(bench, row, answer) for row, answer in zip(rows * self.contexts, answers, strict=True)]
        accuracies = [fmean(right[start : start + len(rows)]) for start in range(0, len(right), len(rows))]
        found = {}
        for row in tried:
            pairs = [(accuracy, row in context) for accuracy, context in zip(accuracies, contexts, strict=True)]
            with_it, without = ([accuracy for accuracy, holds in pairs if holds is side] for side in (True, False))
            found[row.id] = fmean(with_it) - fmean(without) if with_it and without else 0.0
        return found

    def _context(self, number: int, tried: Sequence[LabeledExample]) -> Demonstrations:
        """k candidates: the candidates are mixed and dealt out until fewer than k are left, and then mixed anew."""
        turn, place = divmod(number, max(1, len(tried) // self.k))
        return tuple(self._drawn(f"context {turn}", tried)[place * self.k : (place + 1) * self.k])

    def _drawn(self, purpose: str, rows: Sequence[LabeledExample]) -> list[LabeledExample]:
        return sorted(rows, key=lambda row: hash_rank(self.seed, purpose, row.id))


def _right(bench: SelectionContext, row: LabeledExample, answer: str | None) -> bool:
    reading = bench.reader
    return reading.is_correct(answer, row.accepted) if isinstance(reading, Extractor) else answer == row.label
