"""Domain-context calibration (Fei et al. 2023, 2305.19148): contextual calibration with random words of the task's domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.calibrate.contextual import content_free_prior
from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Needs
from promptkit.needs.content_free import ContentFree, RandomWords


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Domain-context calibration: q = p / p_d, with the mean p_d over bags of random in-domain words of average length.

    Raises:
        InputError: `bags` is less than 1.
    """

    bags: int = 20
    """Number of bags of words, which are drawn from the inputs of the fit part."""
    seed: int = 0
    """Random seed of the words."""
    name: ClassVar[str] = "domain"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        if self.bags < 1:
            raise InputError(
                "Domain calibration needs at least one bag of words",
                code="out-of-range",
                got=f"bags={self.bags}",
                aligner=self.name,
                bags=self.bags,
            )

    @property
    def needs(self) -> Needs:
        """Predictions for the bags of words."""
        return self._bags

    @property
    def _bags(self) -> tuple[ContentFree, ...]:
        return tuple(ContentFree(RandomWords(self.seed, number)) for number in range(self.bags))

    def fit(self, data: FitData) -> PriorCorrection:
        """Estimates a prior for each context."""
        return content_free_prior(data, self._bags)
