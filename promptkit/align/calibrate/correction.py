"""Prior correction: the form of most calibrations, which divide label probabilities by a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.needs import Outputs
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@stateful("prior-correction")
@dataclass(frozen=True, slots=True, kw_only=True)
class PriorCorrection:
    """log q = log p - log prior, normalized over the labels."""

    log_prior: Floats
    """Shape (contexts, K), or (1, K) for the same prior in every context."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns calibrated label log-probabilities, shape (rows, K)."""
        context = outputs.context if len(self.log_prior) > 1 else 0
        return normalize_logprobs(normalize_logprobs(outputs.logprobs) - self.log_prior[context])
