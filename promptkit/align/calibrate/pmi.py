"""Domain-conditional pointwise mutual information (Holtzman et al. 2021, 2104.08315): log p(y | x) - log p(y | premise)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.probabilities import Shift, normalized
from promptkit.core.alignment import FitData, Needs

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers


@dataclass(frozen=True)
class PMI:
    """log q = log p(y | x, C) - log p(y | premise): how much likelier the prompt makes the answer than its end alone does.

    The premise is the end of the prompt, without instruction, demonstrations and inputs: `Sentiment:`.
    """

    name: ClassVar[str] = "pmi"
    needs: ClassVar[Needs] = Needs(premise=True)

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """One prior for every row, or one a row where each has answers of its own."""
        assert support.premise is not None
        return Shift(prior=normalized(support.premise))
