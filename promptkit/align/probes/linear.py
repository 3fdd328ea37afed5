"""Linear probe: logistic regression on a frozen model's outputs (Alain and Bengio 2016, 1610.01644).

    log q[y] = w_y . z + b_y

The features z are hidden states, or log-probabilities of source classes; on the latter the weights are a full label map. They
are standardized, or divided by their norm, which is better for few rows of features that are at least 0, such as the pooled
features of image classifiers. The penalty is chosen by cross-validation within the labeled rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.folds import folds
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.learned import FittedAligner, LearnedAligner, check_tokens
from promptkit.align.logprobs import LOG_TINY, negative_log_likelihood
from promptkit.align.unused import check_unused
from promptkit.core.few_rows import allowing_few_rows
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.one_thread import one_thread
from promptkit.core.state import stateful
from promptkit.core.taxonomy import OutputAlignment
from promptkit.needs.hidden_states import HiddenState, Layer, candidate_states
from promptkit.needs.source_logprobs import TOKENS, SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Candidate values of scikit-learn's C, the inverse of the penalty."""
DEFAULT_STRENGTH = 1e-2
"""C where there are too few rows for cross-validation."""

Scale = Literal["standardize", "normalize"]
"""Whether each feature is divided by its standard deviation over the rows, or each row by its norm."""


@dataclass(frozen=True, kw_only=True)
class LinearProbe(LearnedAligner):
    """Logistic regression on hidden states, source tokens or label words."""

    on: Literal["hidden", "tokens", "words"] = "hidden"
    """The features: the hidden state at the answer position, the log-probabilities of the most likely tokens there, or of
    the label words."""
    layer: Layer | None = None
    """Layer of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half of the depth. By default
    the layer of `LAYERS` with the lowest cross-validated log loss."""
    tokens: int = TOKENS
    """Number of source tokens of a language model; the same tokens for all rows, chosen by their mean probability
    over the labeled rows."""
    scale: Literal["standardize", "normalize", "best"] = "standardize"
    """Whether each feature is divided by its standard deviation over the labeled rows, or each row by its norm; `best` is the
    one with the lower cross-validated log loss, and `normalize` where there are too few rows for cross-validation."""
    name: ClassVar[str] = "linear"
    alignment: ClassVar[OutputAlignment] = "linear"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_tokens(self.name, self.tokens)
        if self.on != "tokens":
            check_unused(self.name, f"on={self.on}", tokens=(self.tokens, TOKENS))
        if self.on != "hidden":
            check_unused(self.name, f"on={self.on}", layer=(self.layer, None))

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the features of every row."""
        return (*self._states, self.rows, *([self._sources] if self.on == "tokens" else []))

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Fits the probe, on the layer with the lowest cross-validated loss."""
        labels, gold = len(data.labels), rows.gold
        if self.on == "hidden":
            probes = {state: self._fit(rows.outputs[state], gold, labels) for state in self._states}
            best = min(probes, key=lambda state: probes[state].validation_loss)
            return FittedAligner(scorer=ProbeScores(probe=probes[best], features=best))
        probe = self._fit(self._log_probabilities(rows.outputs), gold, labels)
        label_map = None
        if probe.scale == "standardize":
            sources = data[self._sources] if self.on == "tokens" else data.labels
            weights, bias = probe.weights, probe.bias
            label_map = LabelMap(sources=sources, labels=data.labels, weights=weights, bias=bias, over="logprobs")
        features = self._sources if self.on == "tokens" else None
        return FittedAligner(scorer=ProbeScores(probe=probe, features=features, minimum=LOG_TINY), label_map=label_map)

    def _fit(self, features: Floats, gold: Integers, labels: int) -> FittedProbe:
        """Fits a probe for each scale, and returns the one with the lowest cross-validated loss; ties go to `normalize`."""
        scales: tuple[Scale, ...] = ("normalize", "standardize") if self.scale == "best" else (self.scale,)
        probes = (fit_probe(features, gold, labels, scale=scale) for scale in scales)
        return min(probes, key=lambda probe: probe.validation_loss)

    @property
    def reads_scores(self) -> bool:
        """Whether the features are the log-probabilities of the label words."""
        return self.on == "words"

    @property
    def _sources(self) -> SourceLogprobs:
        return SourceLogprobs(self.tokens, self.rows)

    @property
    def _states(self) -> tuple[HiddenState, ...]:
        return candidate_states(self.layer) if self.on == "hidden" else ()

    def _log_probabilities(self, outputs: Outputs) -> Floats:
        return np.maximum(outputs.logprobs if self.on == "words" else outputs[self._sources], LOG_TINY)


@stateful("linear-probe")
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbe:
    """A fitted logistic regression."""

    weights: Floats
    """Shape (width, K)."""
    bias: Floats
    """Shape (K,); the logarithm of 0 for a label without rows."""
    strength: float
    """The value of C."""
    scale: Scale = "standardize"
    """`normalize` if each row is divided by its norm before it is multiplied by the weights."""
    validation_loss: float = 0.0
    """Sum of the log loss over the held-out rows; 0 without cross-validation."""

    def __call__(self, features: Floats) -> Floats:
        """Returns scores in natural-log units, shape (rows, width) -> (rows, K)."""
        scores: Floats = scaled_rows(features, self.scale) @ self.weights + self.bias
        return scores


@stateful("linear-probe-scores")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScores:
    """Computes label scores by a fitted logistic regression."""

    probe: FittedProbe
    features: RowNeed[object] | None
    """The need whose arrays are the features; None for the label scores of the first aligner."""
    minimum: float = -np.inf
    """Smaller features are replaced by this number."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The need for the features."""
        return () if self.features is None else (self.features,)

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label scores, shape (rows, K)."""
        features = outputs.logprobs if self.features is None else outputs[self.features]
        return self.probe(np.maximum(features, self.minimum))


def scaled_rows(features: Floats, scale: Scale) -> Floats:
    """Divides each row by its norm if the scale is `normalize`; rows of zeros are unchanged."""
    if scale == "standardize":
        return features
    from sklearn.preprocessing import normalize

    normalized: Floats = normalize(features)
    return normalized


def fit_probe(
    features: Floats, gold: Integers, labels: int, strengths: Sequence[float] = STRENGTHS, scale: Scale = "standardize"
) -> FittedProbe:
    """Fits logistic regression on scaled features, with the penalty chosen by cross-validation.

    Args:
        features: Shape (rows, width).
        gold: Indices of the labels, shape (rows,).
        labels: Number of labels K; some may have no rows.
        strengths: Candidate values of C; ties go to the first. With a single candidate there is no cross-validation.
        scale: How features are scaled.
    """
    splits = [*folds(gold)]
    strength = strengths[0] if len(strengths) == 1 else DEFAULT_STRENGTH
    if len(np.unique(gold)) == 1:
        return _constant_probe(features.shape[1], gold[0], labels, strength)
    if len(strengths) == 1 or not splits:
        return next(_fit_each(features, gold, labels, [strength], scale))
    losses = np.zeros(len(strengths))
    for train, held_out in splits:
        probes = _fit_each(features[train], gold[train], labels, strengths, scale)
        losses += [negative_log_likelihood(probe(features[held_out]), gold[held_out]).sum() for probe in probes]
    best = int(losses.argmin())
    probe = next(_fit_each(features, gold, labels, [strengths[best]], scale))
    return replace(probe, validation_loss=float(losses[best]))


def _fit_each(features: Floats, gold: Integers, labels: int, strengths: Sequence[float], scale: Scale) -> Iterator[FittedProbe]:
    """Yields a probe for each value of C, in their order; at least two labels must have rows.

    The values share the preparation of the features, and each fit starts at the solution of the one before. scikit-learn's
    `GridSearchCV` repeats both for each value, and `LogisticRegressionCV` cannot standardize within the training rows.
    """
    from sklearn.linear_model import LogisticRegression

    center, deviation, inputs = _standardized(scaled_rows(features, scale), scale)
    # With fewer rows than features the solution lies in the span of the rows: a rotation into it changes nothing but the time.
    basis = np.linalg.qr(inputs.T)[0] if features.shape[1] > len(features) else None
    inputs = inputs if basis is None else inputs @ basis
    model = LogisticRegression(solver="newton-cg", max_iter=1000, tol=1e-7, warm_start=True)
    for strength in strengths:
        with one_thread(), allowing_few_rows():
            model.set_params(C=strength).fit(inputs, gold)
        weights, bias = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn has the log-odds of the second label only
            weights, bias = weights * [[-0.5, 0.5]], bias * np.array([-0.5, 0.5])
        weights = (weights if basis is None else basis @ weights) / deviation[:, None]
        all_weights, all_bias = np.zeros((len(weights), labels)), np.full(labels, LOG_TINY)
        all_weights[:, model.classes_], all_bias[model.classes_] = weights, bias - center @ weights
        yield FittedProbe(weights=all_weights, bias=all_bias, strength=strength, scale=scale)


def _standardized(features: Floats, scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Returns the mean and the divisor of each feature, and the features after subtraction and division.

    Normalized rows are divided by one number, so that the mean squared norm of a row equals the number of features, as it does
    for standardized features.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    inputs = scaler.fit_transform(features)
    center: Floats = scaler.mean_
    if scale == "standardize":
        return center, scaler.scale_, inputs
    deviation = np.full(len(center), np.sqrt(scaler.var_.mean()) or 1.0)
    return center, deviation, (features - center) / deviation


def _constant_probe(width: int, label: int, labels: int, strength: float) -> FittedProbe:
    """Returns a probe that predicts the only label that has rows."""
    bias = np.full(labels, LOG_TINY)
    bias[label] = 0.0
    return FittedProbe(weights=np.zeros((width, labels)), bias=bias, strength=strength)
