"""Domain-conditional pointwise mutual information (Holtzman et al. 2021, 2104.08315): log p(y | x) - log p(y | premise)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.needs import FitData, Needs
from promptkit.needs.premise import Premise


@dataclass(frozen=True, kw_only=True)
class PMI:
    """Domain-conditional PMI: log q = log p(y | x, C) - log p(y | premise).

    The premise is the end of the prompt without instruction, demonstrations and inputs, such as `Sentiment:`.
    """

    name: ClassVar[str] = "pmi"
    needs: ClassVar[Needs] = (Premise(),)

    def fit(self, data: FitData) -> PriorCorrection:
        """Uses the prediction for the premise as the prior: one for all rows, or one for each row with its own candidates."""
        return PriorCorrection(log_prior=normalize_logprobs(data[Premise()]))
