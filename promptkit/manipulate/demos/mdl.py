"""Self-adaptive choice by minimum description length (Wu et al. 2022, 2212.10375).

Of T organizations of the candidates (which k of them, and in which order) the one is shown behind which the model is least
undecided about the row: argmin_C H(p(. | x, C)), p renormalized over the row's candidate answers. No label is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import InputError
from promptkit.core.examples import Example, Part
from promptkit.core.registry import checked
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.demos.candidates import inner
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.entropy import least_undecided
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, check_pool_size, choose_shared, count_distinct


@dataclass(frozen=True)
class mdl:  # noqa: N801
    """k of each row's candidates, in the organization behind which the model is least undecided."""

    k: int = 8
    seed: int = 0
    candidates: int = 30
    """How many rows of the pool are candidates for a row."""
    organizations: int = 10
    """How many are tried for each row: the first k candidates as they stand, and others by chance."""
    by: str = "random-each"
    """The selector that gives the candidates, best first."""
    name: ClassVar[str] = "mdl"

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to choose."""
        checked(self)
        if self.candidates < self.k or self.organizations < 1:
            raise InputError(
                "mdl needs at least k candidates, and organizations must be at least 1",
                code="too-few-candidates" if self.candidates < self.k else "out-of-range",
                got=f"k={self.k}, candidates={self.candidates}, organizations={self.organizations}",
                hint="Write --demos mdl:candidates=30:organizations=10",
                selector=self.name,
                k=self.k,
                candidates=self.candidates,
                organizations=self.organizations,
            )
        inner(self.by, self.candidates, self.seed)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that the selector of candidates uses."""
        return tuple(getattr(inner(self.by, self.candidates, self.seed), "parts", ()))

    @property
    def models(self) -> tuple[str, ...]:
        """Those that the selector of candidates asks."""
        return tuple(getattr(inner(self.by, self.candidates, self.seed), "models", ()))

    def bind(self, context: SelectionContext) -> Choose:
        """The choice for each row by its own answers."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        propose: Choose = inner(self.by, min(self.candidates, count_distinct(context.pool)), self.seed).bind(context)

        def choose(examples: Sequence[Example]) -> list[Demonstrations]:
            pairs = zip(examples, propose(examples), strict=True)
            return least_undecided(context, [(row, self._organizations(row, own)) for row, own in pairs], "mdl")

        return choose

    def _organizations(self, example: Example, candidates: Demonstrations) -> list[Demonstrations]:
        def drawn(number: int) -> Demonstrations:
            return tuple(sorted(candidates, key=lambda row: hash_rank(self.seed, example.id, str(number), row.id))[: self.k])

        return [candidates[: self.k], *map(drawn, range(1, self.organizations))]
