"""Soft verbalizer: trained class vectors instead of label words (WARP, Hambardzumyan et al. 2021, 2101.00121).

    log q[y] = h . v_y, with v_y = e(word of y) + d_y

With a linear output head, h . e(word) is log p(word) up to a constant of the row. The class vectors therefore start as the
manual verbalizer, and only the offsets d_y are trained, with the penalty |d|^2 / (2 C) and h scaled to unit root mean square
norm. C is chosen by cross-validation within the labeled rows; C = 0 is the manual verbalizer. A label without rows keeps its
word and can be predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.folds import folds
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.logprobs import LOG_TINY, negative_log_likelihood
from promptkit.align.minimize import minimized
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.state import stateful
from promptkit.core.taxonomy import OutputAlignment
from promptkit.needs.hidden_states import HiddenState

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Candidate values of C, besides 0."""


@dataclass(frozen=True, kw_only=True)
class SoftVerbalizer(LearnedAligner):
    """Class vectors that start as the label words and are trained on labeled rows."""

    layer: int = -1
    """Layer of the hidden state: 0 is the embedding, -1 the last layer's normalized output, which the output head reads."""
    name: ClassVar[str] = "soft-verbalizer"
    alignment: ClassVar[OutputAlignment] = "linear"

    @property
    def supports_unseen_labels(self) -> bool:
        """True, because a label without rows keeps its label word."""
        return True

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the hidden state of every row."""
        return (self._state, self.rows)

    @property
    def reads_scores(self) -> bool:
        """True: it starts from the scores of the manual verbalizer."""
        return True

    @property
    def _state(self) -> HiddenState:
        return HiddenState(self.layer)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Trains the class vectors."""
        vectors = fit_class_vectors(*features(rows.outputs, self._state), rows.gold)
        return FittedAligner(scorer=SoftVerbalizerScores(vectors=vectors, state=self._state))


def features(outputs: Outputs, state: RowNeed[object]) -> tuple[Floats, Floats]:
    """Returns hidden states and the log-probabilities of the label words."""
    return outputs[state], np.maximum(outputs.logprobs, LOG_TINY)


@stateful("class-vectors")
@dataclass(frozen=True, slots=True, kw_only=True)
class ClassVectors:
    """Trained offsets to the vectors of the label words."""

    scale: float
    """Root mean square norm of the labeled rows' hidden states."""
    offsets: Floats
    """Shape (d_model, K)."""
    strength: float
    """The value of C; 0 for the manual verbalizer."""

    def __call__(self, hidden: Floats, manual: Floats) -> Floats:
        """Returns scores of shape (rows, K) from hidden states and the label words' log-probabilities."""
        scores: Floats = manual + hidden / self.scale @ self.offsets
        return scores


@stateful("soft-verbalizer-scores")
@dataclass(frozen=True, slots=True, kw_only=True)
class SoftVerbalizerScores:
    """Computes label scores by trained class vectors."""

    vectors: ClassVectors
    state: RowNeed[object]
    """The need for the hidden states."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The hidden states."""
        return (self.state,)

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label scores, shape (rows, K)."""
        return self.vectors(*features(outputs, self.state))


def fit_class_vectors(hidden: Floats, manual: Floats, gold: Integers, strengths: Sequence[float] = STRENGTHS) -> ClassVectors:
    """Trains class vectors, with the penalty chosen by cross-validation.

    Args:
        hidden: Hidden states, shape (rows, d_model).
        manual: Log-probabilities of the label words, shape (rows, K).
        gold: Indices of the labels, shape (rows,).
        strengths: Candidate values of C besides 0; ties go to the first, and 0 comes before all.
    """
    scale = float(np.sqrt((hidden**2).sum(1).mean())) or 1.0
    losses = dict.fromkeys((0.0, *strengths), 0.0)
    for train, held_out in folds(gold):
        for strength in losses:
            offsets = fit_offsets(hidden[train] / scale, manual[train], gold[train], strength)
            scores = manual[held_out] + hidden[held_out] / scale @ offsets
            losses[strength] += float(negative_log_likelihood(scores, gold[held_out]).sum())
    best = min(losses, key=losses.__getitem__)
    return ClassVectors(scale=scale, offsets=fit_offsets(hidden / scale, manual, gold, best), strength=best)


def fit_offsets(hidden: Floats, manual: Floats, gold: Integers, strength: float) -> Floats:
    """Computes argmin_d sum_i -log softmax(manual_i + h_i d)[gold_i] + |d|^2 / (2 C) by L-BFGS, shape (d_model, K).

    scikit-learn's logistic regression cannot be used because it has no offset term, which `manual` is. With fewer rows than
    dimensions the solution lies in the span of the rows, and is fitted there.
    """
    if hidden.shape[1] > len(hidden):
        basis = np.linalg.qr(hidden.T)[0]
        in_span: Floats = basis @ fit_offsets(hidden @ basis, manual, gold, strength)
        return in_span
    shape = (hidden.shape[1], manual.shape[1])
    if strength == 0:
        return np.zeros(shape)
    one_hot = np.eye(shape[1])[gold]

    def objective(parameters: Floats) -> tuple[float, Floats]:
        offsets = parameters.reshape(shape)
        scores = manual + hidden @ offsets
        probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        gradient = hidden.T @ (probabilities - one_hot) + offsets / strength
        loss = negative_log_likelihood(scores, gold).sum() + (parameters**2).sum() / (2 * strength)
        return float(loss), gradient.ravel()

    start = np.zeros(np.prod(shape))
    return minimized(objective, start, gtol=1e-5, ftol=2.2e-9).reshape(shape)
