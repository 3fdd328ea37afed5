"""Linear probe: logistic regression on a frozen model's outputs (Alain and Bengio 2016, 1610.01644).

    log q[y] = w_y . z + b_y

The features z are hidden states, or log-probabilities of source classes; on the latter the weights are a full label map. The
penalty is chosen by cross-validation within the labeled rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.learned import FittedAligner, LearnedAligner, check_tokens
from promptkit.align.logprobs import LOG_TINY, negative_log_likelihood
from promptkit.align.probes.folds import folds
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs
from promptkit.needs.hidden_states import LAYERS, HiddenState, Layer
from promptkit.needs.source_logprobs import SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Candidate values of scikit-learn's C, the inverse of the penalty."""
DEFAULT_STRENGTH = 1e-2
"""C where there are too few rows for cross-validation."""


@dataclass(frozen=True, kw_only=True)
class LinearProbe(LearnedAligner):
    """Logistic regression on hidden states, source tokens or label words."""

    on: Literal["hidden", "tokens", "words"] = "hidden"
    """The features: the hidden state at the answer position, the log-probabilities of the most likely tokens there, or of
    the label words."""
    layer: Layer | None = None
    """Layer of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half of the depth. By default
    the layer of `LAYERS` with the lowest cross-validated log loss."""
    tokens: int = 500
    """Number of source tokens; the same tokens for all rows, chosen by their mean probability over the labeled rows."""
    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_tokens(self.name, self.tokens)

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the features of every row."""
        return (*self._states, self.rows, *([self._sources] if self.on == "tokens" else []))

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Fits the probe, on the layer with the lowest cross-validated loss."""
        labels, gold = len(data.labels), rows.gold
        if self.on == "hidden":
            probes = {state: fit_probe(rows.outputs[state], gold, labels) for state in self._states}
            best = min(probes, key=lambda state: probes[state].validation_loss)
            return FittedAligner(scores=lambda outputs: probes[best](outputs[best]))
        probe = fit_probe(self._log_probabilities(rows.outputs), gold, labels)
        sources = data[self._sources] if self.on == "tokens" else data.labels
        label_map = LabelMap(sources=sources, labels=data.labels, weights=probe.weights, over="logprobs")
        return FittedAligner(scores=lambda outputs: probe(self._log_probabilities(outputs)), label_map=label_map)

    @property
    def reads_scores(self) -> bool:
        """Whether the features are the log-probabilities of the label words."""
        return self.on == "words"

    @property
    def _sources(self) -> SourceLogprobs:
        return SourceLogprobs(self.tokens, self.rows)

    @property
    def _states(self) -> tuple[HiddenState, ...]:
        if self.on != "hidden":
            return ()
        return tuple(map(HiddenState, LAYERS if self.layer is None else (self.layer,)))

    def _log_probabilities(self, outputs: Outputs) -> Floats:
        return np.maximum(outputs.logprobs if self.on == "words" else outputs[self._sources], LOG_TINY)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbe:
    """A fitted logistic regression."""

    weights: Floats
    """Shape (width, K)."""
    bias: Floats
    """Shape (K,); the logarithm of 0 for a label without rows."""
    strength: float
    """The value of C."""
    validation_loss: float = 0.0
    """Sum of the log loss over the held-out rows; 0 without cross-validation."""

    def __call__(self, features: Floats) -> Floats:
        """Returns scores in natural-log units, shape (rows, width) -> (rows, K)."""
        scores: Floats = features @ self.weights + self.bias
        return scores


def fit_probe(features: Floats, gold: Integers, labels: int, strengths: Sequence[float] = STRENGTHS) -> FittedProbe:
    """Fits logistic regression on standardized features, with the penalty chosen by cross-validation.

    Args:
        features: Shape (rows, width).
        gold: Indices of the labels, shape (rows,).
        labels: Number of labels K; some may have no rows.
        strengths: Candidate values of C; ties go to the first. With a single candidate there is no cross-validation.
    """
    splits = [*folds(gold)]
    strength = strengths[0] if len(strengths) == 1 else DEFAULT_STRENGTH
    if len(np.unique(gold)) == 1:
        return _constant_probe(features.shape[1], gold[0], labels, strength)
    if len(strengths) == 1 or not splits:
        return next(_fit_each(features, gold, labels, [strength]))
    losses = np.zeros(len(strengths))
    for train, held_out in splits:
        probes = _fit_each(features[train], gold[train], labels, strengths)
        losses += [negative_log_likelihood(probe(features[held_out]), gold[held_out]).sum() for probe in probes]
    best = int(losses.argmin())
    probe = next(_fit_each(features, gold, labels, [strengths[best]]))
    return replace(probe, validation_loss=float(losses[best]))


def _fit_each(features: Floats, gold: Integers, labels: int, strengths: Sequence[float]) -> Iterator[FittedProbe]:
    """Yields a probe for each value of C, in their order; at least two labels must have rows.

    The values share the preparation of the features, and each fit starts at the solution of the one before. scikit-learn's
    `GridSearchCV` repeats both for each value, and `LogisticRegressionCV` cannot standardize within the training rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    inputs = scaler.fit_transform(features)
    # With fewer rows than features the solution lies in the span of the rows: a rotation into it changes nothing but the time.
    basis = np.linalg.qr(inputs.T)[0] if features.shape[1] > len(features) else None
    inputs = inputs if basis is None else inputs @ basis
    model = LogisticRegression(max_iter=1000, tol=1e-7, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength).fit(inputs, gold)
        weights, bias = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn has the log-odds of the second label only
            weights, bias = weights * [[-0.5, 0.5]], bias * np.array([-0.5, 0.5])
        weights = (weights if basis is None else basis @ weights) / scaler.scale_[:, None]
        all_weights, all_bias = np.zeros((len(weights), labels)), np.full(labels, LOG_TINY)
        all_weights[:, model.classes_], all_bias[model.classes_] = weights, bias - scaler.mean_ @ weights
        yield FittedProbe(weights=all_weights, bias=all_bias, strength=strength)


def _constant_probe(width: int, label: int, labels: int, strength: float) -> FittedProbe:
    """Returns a probe that predicts the only label that has rows."""
    bias = np.full(labels, LOG_TINY)
    bias[label] = 0.0
    return FittedProbe(weights=np.zeros((width, labels)), bias=bias, strength=strength)
