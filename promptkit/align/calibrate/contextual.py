"""Contextual calibration (Zhao et al. 2021, 2102.09690): q = p / p_cf, where p_cf is the prediction for content-free inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.align.calibrate.correction import PriorCorrection
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Needs
from promptkit.needs.content_free import ContentFree


@dataclass(frozen=True, kw_only=True)
class Contextual:
    """Contextual calibration: q = p / p_cf, with the mean p_cf over content-free inputs in the context of the row.

    Label probabilities are averaged as the model returns them, and normalized once afterwards.

    Raises:
        InputError: There is no content-free text.
    """

    content_free: tuple[str, ...] = ("N/A", "", "[MASK]")
    """Texts that replace every input of a row."""
    name: ClassVar[str] = "contextual"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        if not self.content_free:
            raise InputError(
                "Contextual calibration needs at least one content-free text",
                code="empty-value",
                got=f"content_free={self.content_free!r}",
                hint='Use content_free=("N/A",)',
                aligner=self.name,
                content_free=self.content_free,
            )

    @property
    def needs(self) -> Needs:
        """Predictions for the content-free texts."""
        return self._texts

    @property
    def _texts(self) -> tuple[ContentFree, ...]:
        return tuple(map(ContentFree, self.content_free))

    def fit(self, data: FitData) -> PriorCorrection:
        """Estimates a prior for each context."""
        return content_free_prior(data, self._texts)


def content_free_prior(data: FitData, inputs: Sequence[ContentFree]) -> PriorCorrection:
    """Computes the mean of p over content-free inputs, separately for each context."""
    logprobs = np.stack([data[content_free] for content_free in inputs])  # (inputs, contexts, K)
    return PriorCorrection(log_prior=normalize_logprobs(np.logaddexp.reduce(logprobs, axis=0)))  # the mean up to a constant
