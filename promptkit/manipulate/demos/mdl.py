"""Self-adaptive selection by minimum description length (Wu et al. 2022, arXiv 2212.10375).

An organization is a choice of k candidates and their order. Of T organizations C, the selector shows the one with the lowest
entropy of the model's prediction for the row:

    argmin_C H(p(. | x, C)),

where p is renormalized over the row's candidate answers. No labels of the row are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.examples import Example
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.demos.candidates import CandidateSelector
from promptkit.manipulate.prompting.checks import check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.entropy import lowest_entropy
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, choose_shared


@dataclass(frozen=True)
class MDL(CandidateSelector):
    """Shows the k candidates, in the order, for which the model's prediction has the lowest entropy."""

    candidates: int = 30
    """Number of candidate rows from the pool."""
    organizations: int = 10
    """Number of organizations scored per row: the first k candidates as ranked, and random ones."""
    name: ClassVar[str] = "mdl"

    def __post_init__(self) -> None:
        """Validates the keywords."""
        super().__post_init__()
        self._check_counts(
            "organizations must be at least 1",
            hint=f"Write mdl:candidates={max(30, 2 * self.k)}:organizations=10",
            organizations=self.organizations,
        )

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the selection, which scores each row's own candidate answers."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        propose = self._propose(context, context.pool, self.candidates)

        def choose(examples: Sequence[Example]) -> list[Demonstrations]:
            pairs = zip(examples, propose(examples), strict=True)
            options = [(example, self._organizations(example, candidates)) for example, candidates in pairs]
            return lowest_entropy(context, options, self.name)

        return choose

    def _organizations(self, example: Example, candidates: Demonstrations) -> list[Demonstrations]:
        def draw(number: int) -> Demonstrations:
            return tuple(sorted(candidates, key=lambda row: hash_rank(self.seed, example.id, str(number), row.id))[: self.k])

        return [candidates[: self.k], *map(draw, range(1, self.organizations))]
