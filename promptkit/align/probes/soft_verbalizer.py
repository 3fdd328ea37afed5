"""A soft verbalizer: trained class vectors in the place of the label words' (WARP, Hambardzumyan et al. 2021, 2101.00121).

    log q[y] = h . v_y, with v_y = e(word of y) + d_y

Since h . e(word) is log p(word) up to a constant of the row, where the output head is linear, the vectors begin as the
manual verbalizer's, and what is trained are the differences d_y, under the penalty |d|^2 / (2 C) with h scaled to unit
mean square length. C is chosen by cross-validation within the labeled rows; none at all is the manual verbalizer.
A label without rows keeps its word, and may be predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.mapping import FLOOR
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.probes.folds import folds, log_loss
from promptkit.core.alignment import FitData, Needs, Outputs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""The C that are tried, beside none at all."""


@dataclass(frozen=True, kw_only=True)
class SoftVerbalizer(LearnedAligner):
    """The manual verbalizer's words as vectors, trained on labeled rows."""

    layer: int = -1
    """Of the hidden state: 0 is the embedding, -1 the last layer's normalized output, which the output head reads."""
    name: ClassVar[str] = "soft-verbalizer"

    @property
    def supports_unseen_labels(self) -> bool:
        """A label begins as its word."""
        return True

    @property
    def needs(self) -> Needs:
        """Labeled rows, and the hidden state of every row."""
        return Needs(labels=True, labeled=(self.rows,), layers=(self.layer,))

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The vectors of its labeled rows."""
        hidden, manual = (read[places] for read in self._features(support.rows))
        trained = class_vectors(hidden, manual, gold)
        return FittedAligner(scores=lambda outputs: trained(*self._features(outputs)))

    def _features(self, outputs: Outputs) -> tuple[Floats, Floats]:
        return outputs.hidden[self.layer], np.maximum(outputs.logprobs, FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassVectors:
    """What is added to the manual verbalizer's vectors."""

    scale: float
    """The root mean square length of the labeled rows' hidden states."""
    differences: Floats
    """Shape (d_model, K)."""
    strength: float
    """The C that was chosen; 0 for none."""

    def __call__(self, hidden: Floats, manual: Floats) -> Floats:
        """Scores, shape (rows, K), of hidden states and the manual verbalizer's log-probabilities."""
        scores: Floats = manual + hidden / self.scale @ self.differences
        return scores


def class_vectors(hidden: Floats, manual: Floats, gold: Integers, strengths: Sequence[float] = STRENGTHS) -> ClassVectors:
    """Trained on labeled rows, with the strength of least log-loss over the folds; ties go to the weakest.

    hidden: shape (rows, d_model); manual: shape (rows, K), the label words' log-probabilities; gold: shape (rows,).
    """
    scale = float(np.sqrt((hidden**2).sum(1).mean())) or 1.0
    losses = dict.fromkeys((0.0, *strengths), 0.0)
    for fit, held in folds(gold):
        for strength in losses:
            trained = differences(hidden[fit] / scale, manual[fit], gold[fit], strength)
            losses[strength] += log_loss(manual[held] + hidden[held] / scale @ trained, gold[held])
    best = min(losses, key=losses.__getitem__)
    return ClassVectors(scale=scale, differences=differences(hidden / scale, manual, gold, best), strength=best)


def differences(hidden: Floats, manual: Floats, gold: Integers, strength: float) -> Floats:
    """argmin_d -sum log softmax(manual + h d)[gold] + |d|^2 / (2 C), by L-BFGS. Shape (d_model, K)."""
    from scipy.optimize import minimize

    shape = (hidden.shape[1], manual.shape[1])
    if strength == 0:
        return np.zeros(shape)
    right = np.eye(shape[1])[gold]

    def loss(flat: Floats) -> tuple[float, Floats]:
        trained = flat.reshape(shape)
        scores = manual + hidden @ trained
        total = np.logaddexp.reduce(scores, axis=1, keepdims=True)
        slope = hidden.T @ (np.exp(scores - total) - right) + trained / strength
        return float((total[:, 0] - (scores * right).sum(1)).sum() + (flat**2).sum() / (2 * strength)), slope.ravel()

    found: Floats = minimize(loss, np.zeros(np.prod(shape)), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return found.reshape(shape)
