"""Domain-conditional pointwise mutual information (Holtzman et al. 2021, 2104.08315): log p(y | x) - log p(y | premise)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.alignment import FitData, Needs

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers


@dataclass(frozen=True, kw_only=True)
class PMI:
    """Domain-conditional PMI: log q = log p(y | x, C) - log p(y | premise).

    The premise is the end of the prompt without instruction, demonstrations and inputs, such as `Sentiment:`.
    """

    name: ClassVar[str] = "pmi"
    needs: ClassVar[Needs] = Needs(premise=True)

    def fit(self, support: FitData, labels: Integers | None = None) -> PriorCorrection:
        """Uses the prediction for the premise as the prior: one for all rows, or one for each row with its own candidates."""
        assert support.premise is not None
        return PriorCorrection(log_prior=normalize_logprobs(support.premise))
