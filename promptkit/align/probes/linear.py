"""Linear alignment: a probe, which is logistic regression on what the frozen model holds for a row (Alain and Bengio 2016,
1610.01644). On the log-probabilities of source classes it is the full label map, a trained linear layer.

    log q[y] = w_y . (z - mean) / deviation + b_y

Its penalty is chosen by cross-validation within the labeled rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.labelmap.mapping import FLOOR, LabelMap
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.probes.folds import folds, log_loss
from promptkit.core.alignment import LAYERS, FitData, Layer, Needs, Outputs, TopTokens
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of scikit-learn's C, the inverse of the penalty: those that are tried."""
FIRST = 1e-2
"""Where there are too few rows to try any."""


@dataclass(frozen=True, kw_only=True)
class LinearProbe(LearnedAligner):
    """Logistic regression on hidden states, source tokens or label words."""

    on: Literal["hidden", "tokens", "words"] = "hidden"
    """The hidden state at the answer slot, or the log-probabilities there: of the likeliest tokens, or of the labels."""
    layer: Layer | None = None
    """Of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half-way; unless given, that of
    `LAYERS` whose probe has the least log-loss over the folds."""
    tokens: int = 500
    """How many tokens; one set for all rows, by the mean probability over the labeled rows."""
    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        """Refuse to learn from nothing."""
        super().__post_init__()
        if self.tokens < 1:
            raise InputError(
                "A linear probe needs at least one token",
                code="out-of-range",
                got=f"tokens={self.tokens}",
                aligner=self.name,
                tokens=self.tokens,
            )

    @property
    def needs(self) -> Needs:
        """Labeled rows, and what the probe is on."""
        return Needs(labels=True, labeled=(self.rows,), layers=self._layers, tokens=(self._top,) if self.on == "tokens" else ())

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The probe of its labeled rows; on source classes its weights are a label map."""
        count = support.rows.logprobs.shape[1]
        of_layers = {layer: self._features(support.rows, layer)[places] for layer in self._layers or (0,)}
        losses = {layer: probe_losses(features, gold, count) for layer, features in of_layers.items()}
        layer = min(losses, key=lambda each: min(losses[each].values()))
        found = fitted(of_layers[layer], gold, count, min(losses[layer], key=losses[layer].__getitem__))
        names = support.names[self._top] if self.on == "tokens" else support.labels
        weights = found.weights / found.deviation[:, None]
        mapped = LabelMap(sources=names, labels=support.labels, weights=weights, over="logprobs")
        return FittedAligner(
            scores=lambda outputs: found(self._features(outputs, layer)), label_map=None if self._layers else mapped
        )

    @property
    def _top(self) -> TopTokens:
        return TopTokens(self.tokens, self.rows)

    @property
    def _layers(self) -> tuple[Layer, ...]:
        if self.on != "hidden":
            return ()
        return LAYERS if self.layer is None else (self.layer,)

    def _features(self, outputs: Outputs, layer: Layer) -> Floats:
        if self.on == "words":
            return np.maximum(outputs.logprobs, FLOOR)
        return outputs.hidden[layer] if self.on == "hidden" else np.maximum(outputs.tokens[self._top], FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLinear:
    """A fitted logistic regression."""

    mean: Floats
    """Shape (width,)."""
    deviation: Floats
    """Shape (width,); 1 where a feature is constant."""
    weights: Floats
    """Shape (width, K)."""
    bias: Floats
    """Shape (K,); the logarithm of 0 for a label without rows."""
    strength: float
    """The C that was chosen."""

    def __call__(self, features: Floats) -> Floats:
        """Scores in natural-log units, shape (rows, width) -> (rows, K)."""
        scores: Floats = (features - self.mean) / self.deviation @ self.weights + self.bias
        return scores


def probe(features: Floats, gold: Integers, labels: int, strengths: Sequence[float] = STRENGTHS) -> FittedLinear:
    """The probe of labeled rows, with the strength of least log-loss over the folds; ties go to the first.

    features: shape (rows, width); gold: shape (rows,), indices of labels.
    """
    losses = probe_losses(features, gold, labels, strengths)
    return fitted(features, gold, labels, min(losses, key=losses.__getitem__))


def probe_losses(features: Floats, gold: Integers, labels: int, strengths: Sequence[float] = STRENGTHS) -> dict[float, float]:
    """Strength -> the sum over the folds of the log-loss of its probe on what it has not seen; FIRST alone without folds."""
    divided = [*folds(gold)]
    if not divided and len(strengths) > 1:
        return {FIRST: 0.0}
    return {
        strength: sum(
            log_loss(fitted(features[fit], gold[fit], labels, strength)(features[held]), gold[held]) for fit, held in divided
        )
        for strength in strengths
    }


def fitted(features: Floats, gold: Integers, labels: int, strength: float) -> FittedLinear:
    """The probe of one strength."""
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    weights, bias = np.zeros((features.shape[1], labels)), np.full(labels, FLOOR)
    seen = np.unique(gold)
    if len(seen) == 1:
        bias[seen] = 0.0
    else:
        weights[:, seen], bias[seen] = _regression((features - mean) / deviation, gold, strength)
    return FittedLinear(mean=mean, deviation=deviation, weights=weights, bias=bias, strength=strength)


def _regression(features: Floats, gold: Integers, strength: float) -> tuple[Floats, Floats]:
    """Weights (width, classes seen) and bias (classes seen,).

    Of more features than rows the penalty leaves only what the rows span, so that those directions alone are fitted.
    """
    from sklearn.linear_model import LogisticRegression

    directions = np.linalg.svd(features, full_matrices=False)[2] if features.shape[1] > len(features) else None
    seen = features if directions is None else features @ directions.T
    found = LogisticRegression(C=strength, max_iter=1000, tol=1e-6).fit(seen, gold)
    weights, bias = found.coef_.T, found.intercept_
    if weights.shape[1] == 1:  # of two labels scikit-learn gives the log-odds of the second
        weights, bias = weights * [[-0.5, 0.5]], bias * np.array([-0.5, 0.5])
    return weights if directions is None else directions.T @ weights, bias
