"""Candidates re-ranked by what they do for training queries (the scoring function of EPR; Rubin et al. 2021, 2112.08633).

EPR scores a candidate e by the model's own log p(y' | e, x') on training queries (x', y'), and trains a retriever on these
scores, because the answer to a test query is not known. Here nothing is trained: the training queries of e are the rows of
dev that the selector of candidates puts nearest to it, and e's score is its mean gain over no demonstration,

    s(e) = mean over x' of log p(y' | e, x') - log p(y' | x'),

which makes candidates comparable whose training queries differ. The row that demonstrations are chosen for plays no part in
its candidates' scores, and a row of dev that has its inputs is left out of them: its answer cannot leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar

from promptkit.core.alignment import Scorer
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.registry import checked
from promptkit.manipulate.demos.candidates import inner
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, check_pool_size, choose_shared, count_distinct

DECIMALS = 4
"""Kept of a gain."""
Gains = Sequence[tuple[LabeledExample, float]]
"""What a candidate gains each of its training queries."""


@dataclass(frozen=True)
class rerank:  # noqa: N801
    """The k of each row's candidates that gain their training queries most, the best first."""

    k: int = 8
    seed: int = 0
    candidates: int = 16
    """How many rows of the pool are candidates for a row."""
    rows: int = 4
    """How many rows of dev a candidate is scored by."""
    by: str = "random-each"
    """The selector that gives a row its candidates, and a candidate its rows of dev."""
    name: ClassVar[str] = "rerank"

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to rank."""
        checked(self)
        if self.candidates < self.k or self.rows < 1:
            raise InputError(
                "rerank needs at least k candidates and at least one dev row",
                code="too-few-candidates" if self.candidates < self.k else "out-of-range",
                got=f"k={self.k}, candidates={self.candidates}, rows={self.rows}",
                hint="Write --demos rerank:candidates=16:rows=4",
                selector=self.name,
                k=self.k,
                candidates=self.candidates,
                rows=self.rows,
            )
        inner(self.by, self.candidates, self.seed)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Training queries come from dev."""
        return ("dev", *getattr(inner(self.by, self.candidates, self.seed), "parts", ()))

    @property
    def models(self) -> tuple[str, ...]:
        """Those that the selector of candidates asks."""
        return tuple(getattr(inner(self.by, self.candidates, self.seed), "models", ()))

    def bind(self, context: SelectionContext) -> Choose:
        """The choice for each row; a candidate is scored once, when it is first one."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        if not context.dev:
            raise TaskError(
                "rerank scores candidates on the dev part of the train split, which is empty",
                code="empty-part",
                hint="Use another selector, or add train rows to the task",
                part="dev",
                selector=self.name,
            )
        propose: Choose = inner(self.by, min(self.candidates, count_distinct(context.pool)), self.seed).bind(context)
        gains: dict[str, Gains] = {}

        def choose(examples: Sequence[Example]) -> list[Demonstrations]:
            candidates = propose(examples)
            fresh = {row.id: row for rows in candidates for row in rows if row.id not in gains}
            gains.update(zip(fresh, self._gains(context, [*fresh.values()]), strict=True))

            def best(example: Example, rows: Demonstrations) -> Demonstrations:
                return tuple(sorted(rows, key=lambda row: -_score(gains[row.id], example))[: self.k])

            return [*map(best, examples, candidates)]

        return choose

    def _gains(self, context: SelectionContext, candidates: Sequence[LabeledExample]) -> list[Gains]:
        """Of each candidate."""
        of_dev = replace(context, bind_context=replace(context.bind_context, rows={"pool": context.dev}))
        near: Choose = inner(self.by, min(self.rows, count_distinct(context.dev)), self.seed).bind(of_dev)
        queries = near(candidates)
        alone = _right_scores(context, [(query, ()) for own in queries for query in own])
        suffix = _right_scores(
            context, [(query, (row,)) for row, own in zip(candidates, queries, strict=True) for query in own]
        )
        gained = iter([score - before for score, before in zip(suffix, alone, strict=True)])
        return [[(query, next(gained)) for query in own] for own in queries]


def _right_scores(context: SelectionContext, contexts: Sequence[tuple[LabeledExample, Demonstrations]]) -> list[float]:
    """log p of the right answer of each row."""
    reading = context.reader
    scored = context.scores(contexts, "rerank")
    assert isinstance(reading, Scorer)
    pairs = zip(contexts, scored, strict=True)
    return [scores[reading.candidates(row).index(row.label)] for (row, _), scores in pairs]


def _score(gains: Gains, example: Example) -> float:
    """The mean gain, without a row of dev that has the example's inputs."""
    kept = [gain for query, gain in gains if query.inputs != example.inputs]
    return round(fmean(kept), DECIMALS) if kept else 0.0
