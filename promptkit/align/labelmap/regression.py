"""Multinomial logistic regression towards given scores, with a penalty that is chosen by cross-validation.

    log q = log softmax(a z + x W + b)

z is the anchor: label scores that are known without labeled rows, or 0. The loss is

    sum_i -log q_i[gold_i] + |W|^2 / (2 C) + |b|^2 / (2 B) + (a - 1)^2 / (2 A)

so that without labeled rows the anchor is the prediction. If the anchor is itself a linear map of x, this penalizes the squared
distance of the map from it.

The features x are centered over the labeled rows and divided by their standard deviation over labeled and unlabeled rows, since
a few labeled rows give an unreliable estimate. They are also divided by the square root of their number, so that a row has a
norm of about 1 and C does not depend on the number of source classes. With fewer rows than features W lies in the span of the
rows, and is fitted there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.folds import folds
from promptkit.align.logprobs import negative_log_likelihood
from promptkit.align.minimize import minimized

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""Candidate values of C, the strongest penalty first."""
STANDARD_ERRORS = 2.0
"""A penalty is too strong if its mean held-out loss is above the lowest one by more than this multiple of the standard error of
the difference. With few rows, the penalty with the lowest loss is a matter of chance, and often too weak."""
DEFAULT_STRENGTH = 3.0
"""C if no label has two rows, so that cross-validation is impossible."""
BIAS_VARIANCE = 3.0
"""B, the variance of the bias around 0. A larger value removes more of the anchor's bias towards some labels, which helps if
classes are balanced, and hurts if the bias reflects the class shares (`benchmarks/label_maps_few`)."""
ANCHOR_VARIANCE = 0.1
"""A, the variance of the anchor's weight around 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A fitted regression."""

    anchor: float
    """The weight a of the anchor scores."""
    weights: Floats
    """W for features without standardization, shape (width, K)."""
    bias: Floats
    """b for the same features, shape (K,)."""
    strength: float
    """The value of C."""

    def __call__(self, features: Floats, anchor: Floats) -> Floats:
        """Computes scores, which are not normalized.

        Args:
            features: Shape (rows, width).
            anchor: Anchor scores z, shape (rows, K).

        Returns:
            Scores of shape (rows, K).
        """
        scores: Floats = self.anchor * anchor + features @ self.weights + self.bias
        return scores


def fit_regression(
    features: Floats, anchor: Floats, gold: Integers, strengths: Sequence[float] = STRENGTHS, unlabeled: Floats | None = None
) -> Regression:
    """Fits the regression, with the strongest penalty whose cross-validated log loss is not significantly above the lowest.

    Args:
        features: Shape (rows, width).
        anchor: Anchor scores z of the same rows, shape (rows, K); 0 for none.
        gold: Indices of the labels, shape (rows,); some labels may have no rows.
        strengths: Candidate values of C, ascending. With a single candidate there is no cross-validation.
        unlabeled: Features of further rows, for standardization, shape (more rows, width).
    """
    divisor = _divisor(features if unlabeled is None else np.vstack([features, unlabeled]))
    strength = strengths[0] if len(strengths) == 1 else DEFAULT_STRENGTH
    splits = [*folds(gold)] if len(strengths) > 1 else []
    if splits:
        losses = [
            [negative_log_likelihood(fitted(features[held_out], anchor[held_out]), gold[held_out]) for fitted in fits]
            for train, held_out in splits
            for fits in [_fit_each(features[train], anchor[train], gold[train], strengths, divisor)]
        ]
        strength = strengths[strongest(np.hstack(losses))]
    return next(_fit_each(features, anchor, gold, [strength], divisor))


def strongest(losses: Floats) -> int:
    """Returns the first candidate whose mean loss is not significantly above the lowest, by the paired differences of rows.

    Args:
        losses: Loss of each held-out row, shape (candidates, rows), the strongest penalty first.
    """
    differences = losses - losses[losses.mean(1).argmin()]
    errors = differences.std(1, ddof=1) / np.sqrt(losses.shape[1])
    return int((differences.mean(1) <= STANDARD_ERRORS * errors).argmax())


def _divisor(features: Floats) -> Floats:
    """Returns what each feature is divided by, shape (width,); infinity for a constant feature."""
    deviation = features.std(0)
    # A constant feature differs from its mean by rounding errors, which must not be amplified.
    constant = deviation <= 1e-9 * np.maximum(1.0, np.abs(features.mean(0)))
    divisor: Floats = np.where(constant, np.inf, deviation * np.sqrt(features.shape[1]))
    return divisor


def _fit_each(
    features: Floats, anchor: Floats, gold: Integers, strengths: Sequence[float], divisor: Floats
) -> Iterator[Regression]:
    """Yields a regression for each value of C; each fit starts at the solution of the one before."""
    center = features.mean(0)
    inputs = (features - center) / divisor
    basis = np.linalg.qr(inputs.T)[0] if inputs.shape[1] > len(inputs) else None
    inputs = inputs if basis is None else inputs @ basis
    width, labels = inputs.shape[1], anchor.shape[1]
    parameters = np.concatenate([[1.0], np.zeros((width + 1) * labels)])
    for strength in strengths:
        parameters = _minimize(inputs, anchor, gold, strength, parameters)
        reduced, bias = parameters[1:-labels].reshape(width, labels), parameters[-labels:]
        weights = (reduced if basis is None else basis @ reduced) / divisor[:, None]
        yield Regression(anchor=float(parameters[0]), weights=weights, bias=bias - center @ weights, strength=strength)


def _minimize(inputs: Floats, anchor: Floats, gold: Integers, strength: float, start: Floats) -> Floats:
    """Minimizes the loss by L-BFGS over the parameters (a, W, b).

    scikit-learn's logistic regression cannot be used because it has neither given scores nor a penalty of b.
    """
    width, labels = inputs.shape[1], anchor.shape[1]
    one_hot = np.eye(labels)[gold]
    center = np.zeros_like(start)
    center[0] = 1.0
    precision = np.concatenate(
        [[1 / ANCHOR_VARIANCE], np.full(width * labels, 1 / strength), np.full(labels, 1 / BIAS_VARIANCE)]
    )

    def objective(parameters: Floats) -> tuple[float, Floats]:
        weights, bias = parameters[1:-labels].reshape(width, labels), parameters[-labels:]
        scores = parameters[0] * anchor + inputs @ weights + bias
        normalizer = np.logaddexp.reduce(scores, axis=1)
        residual = np.exp(scores - normalizer[:, None]) - one_hot
        gradient = np.concatenate([[(residual * anchor).sum()], (inputs.T @ residual).ravel(), residual.sum(0)])
        loss = (normalizer - (scores * one_hot).sum(1)).sum() + (precision * (parameters - center) ** 2).sum() / 2
        return float(loss), gradient + precision * (parameters - center)

    return minimized(objective, start)
