"""Reranking of candidates by their effect on training queries (the scoring function of EPR; Rubin et al. 2021, 2112.08633).

EPR scores a candidate e by the model's log p(y' | e, x') on training queries (x', y') and trains a retriever on these scores,
because the answer to a test query is unknown. Nothing is trained here: the training queries of e are the dev rows that the
selector of candidates ranks first for e, and the score of e is its mean gain over a prompt without demonstrations,

    s(e) = mean over x' of log p(y' | e, x') - log p(y' | x'),

so that candidates with different training queries are comparable. A score does not depend on the row that demonstrations are
chosen for, and a dev row with the same inputs as that row is left out of the mean, so that its answer cannot leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar

from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.manipulate.demos.candidates import CandidateSelector
from promptkit.manipulate.prompting.checks import check_has_dev, check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, choose_shared

DECIMALS = 4
"""Decimals to which mean gains are rounded before comparison."""
Gains = Sequence[tuple[LabeledExample, float]]
"""Training queries of a candidate, and the gain in log-probability of each."""


@dataclass(frozen=True)
class Rerank(CandidateSelector):
    """Shows the k candidates with the largest mean gain on training queries, the largest first."""

    rows: int = 4
    """Number of dev rows that a candidate is scored on."""
    name: ClassVar[str] = "rerank"

    def __post_init__(self) -> None:
        """Validates the keywords."""
        super().__post_init__()
        self._check_counts("at least one dev row", hint=f"Write rerank:candidates={max(16, 2 * self.k)}:rows=4", rows=self.rows)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Dev, which has the training queries, and the parts that the selector of candidates reads."""
        return ("dev", *super().parts)

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the selection; each candidate is scored once, the first time it is proposed."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        check_has_dev(context, self.name)
        propose = self._propose(context, context.pool, self.candidates)
        gains: dict[str, Gains] = {}

        def choose(examples: Sequence[Example]) -> list[Demonstrations]:
            candidates = propose(examples)
            new = {row.id: row for rows in candidates for row in rows if row.id not in gains}
            gains.update(zip(new, self._gains(context, [*new.values()]), strict=True))

            def best(example: Example, rows: Demonstrations) -> Demonstrations:
                return tuple(sorted(rows, key=lambda row: -_mean_gain(gains[row.id], example))[: self.k])

            return [*map(best, examples, candidates)]

        return choose

    def _gains(self, context: SelectionContext, candidates: Sequence[LabeledExample]) -> list[Gains]:
        """Scores each candidate on its training queries."""
        dev_context = replace(context, bind_context=replace(context.bind_context, rows={"pool": context.dev}))
        queries = self._propose(dev_context, context.dev, self.rows)(candidates)
        without = _gold_logprobs(context, [(query, ()) for own_queries in queries for query in own_queries])
        pairs = [(query, (row,)) for row, own_queries in zip(candidates, queries, strict=True) for query in own_queries]
        gains = iter([after - before for after, before in zip(_gold_logprobs(context, pairs), without, strict=True)])
        return [[(query, next(gains)) for query in own_queries] for own_queries in queries]


def _gold_logprobs(context: SelectionContext, contexts: Sequence[tuple[LabeledExample, Demonstrations]]) -> list[float]:
    reader = context.reader
    scored = context.scores(contexts, "rerank")
    pairs = zip(contexts, scored, strict=True)
    return [scores[reader.candidates(row).index(row.label)] for (row, _), scores in pairs]


def _mean_gain(gains: Gains, example: Example) -> float:
    """Returns the mean gain over the training queries whose inputs differ from the example's."""
    values = [gain for query, gain in gains if query.inputs != example.inputs]
    return round(fmean(values), DECIMALS) if values else 0.0
