"""Label map: a weight matrix from source classes to labels, and the counts from which such weights are estimated.

Source classes are the columns that a model returns for an input: tokens at the answer position, label words, or the classes of
an image model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from promptkit.align.logprobs import LOG_TINY, TINY, normalize_logprobs
from promptkit.core.calibration import Fitted
from promptkit.core.needs import Outputs, RowNeed
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats, Integers

Over = Literal["probabilities", "logprobs"]
"""Whether the weights multiply the probabilities of source classes or their logarithms."""


@stateful("label-map")
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """A linear map from S source classes to K labels, followed by normalization over the labels."""

    sources: tuple[str, ...]
    """Names of the source classes."""
    labels: tuple[str, ...]
    """The labels in the declared order."""
    weights: Floats
    """Shape (S, K)."""
    over: Over = "probabilities"
    """Whether the weights multiply probabilities or log-probabilities. If columns have equal sums, a map over log-probabilities
    equals the map over logits, since normalization removes a constant that is added to all labels of a row."""
    bias: Floats | None = None
    """Added to the scores of the labels before normalization, shape (K,)."""
    named: Mapping[str, tuple[str, ...]] | None = None
    """Label -> source classes that were assigned to it by their names. Readers of the results should check them."""

    def __call__(self, logprobs: Floats) -> Floats:
        """Computes label log-probabilities: log(p W / sum of p W), or log softmax((log p) W + bias).

        Args:
            logprobs: Log-probabilities of the source classes, shape (rows, S).

        Returns:
            Label log-probabilities of shape (rows, K).
        """
        finite = np.maximum(logprobs, LOG_TINY)
        if self.over == "logprobs":
            scores = finite @ self.weights
        else:
            best = finite.max(1, keepdims=True)
            scores = np.log(np.maximum(np.exp(finite - best) @ self.weights, TINY))
        return normalize_logprobs(scores if self.bias is None else scores + self.bias)

    def scores_tensor(self, logprobs: Tensor) -> Tensor:
        """Returns the same scores as a differentiable tensor.

        Args:
            logprobs: Log-probabilities of the source classes, shape (..., S), in float64.

        Returns:
            Scores of shape (..., K).
        """
        import torch

        finite, weights = logprobs.clamp_min(LOG_TINY), torch.from_numpy(self.weights).to(logprobs)
        if self.over == "logprobs":
            scores = finite @ weights
        else:
            best = finite.amax(-1, keepdim=True)
            scores = ((finite - best).exp() @ weights).clamp_min(TINY).log()
        return (scores if self.bias is None else scores + torch.from_numpy(self.bias).to(logprobs)).log_softmax(-1)

    def table(self, most: int = 5) -> Mapping[str, Mapping[str, float]]:
        """Returns the source classes with the highest weights for each label.

        Args:
            most: Maximum number of source classes for each label. Only those with positive weights are included.

        Returns:
            Label -> source class -> weight, the highest weight first.
        """
        table = {}
        for label, column in zip(self.labels, self.weights.T, strict=True):
            best = np.argsort(-column, kind="stable")[:most]
            table[label] = {self.sources[s]: float(column[s]) for s in best if column[s] > 0}
        return table

    def __str__(self) -> str:
        """Returns the table as text, one line for each label."""
        width = max(map(len, self.labels))
        lines = []
        for label, weights in self.table().items():
            sources = ", ".join(f"{source!r} {weight:.2f}" for source, weight in weights.items())
            lines.append(f"{label:<{width}}  {sources}")
        return "\n".join(lines)


@stateful("label-map-scores")
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMapScores:
    """Computes label scores by a label map."""

    label_map: LabelMap
    columns: tuple[RowNeed[object] | None, ...]
    """The needs whose arrays are the map's source classes, side by side; None for the label scores of the first aligner."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The needs among the columns."""
        return tuple(need for need in self.columns if need is not None)

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label log-probabilities, shape (rows, K)."""
        return self.label_map(joined(self.columns, outputs))


def joined(columns: Sequence[RowNeed[object] | None], outputs: Outputs) -> Floats:
    """Returns arrays of needs side by side, shape (rows, width); None stands for the label scores of the first aligner."""
    return np.hstack([outputs.logprobs if need is None else outputs[need] for need in columns])


@runtime_checkable
class HasLabelMap(Protocol):
    """A fitted aligner whose scores may be a function of source classes."""

    @property
    def label_map(self) -> LabelMap | None:
        """The weights of source classes for each label, or None."""
        ...


def label_map_of(fitted: Fitted) -> LabelMap | None:
    """Returns the label map of a fitted aligner; None if its scores are no function of source classes."""
    return fitted.label_map if isinstance(fitted, HasLabelMap) else None


def assigned(weights: Floats, sources: Sequence[str], labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns label -> the source classes with a positive weight, the highest weight first.

    Args:
        weights: Shape (S, K).
        sources: Names of the S source classes.
        labels: The K labels.
    """
    order = np.argsort(-weights, axis=0, kind="stable").T
    return {
        label: tuple(sources[s] for s in best if weights[s, number] > 0)
        for number, (label, best) in enumerate(zip(labels, order, strict=True))
    }


def shrink_to_manual(weights: Floats, manual: float) -> Floats:
    """Mixes weights with those of the manual verbalizer: W <- (1 - a) W + a W_manual, where a is the share `manual`.

    The label words of the manual verbalizer are K additional source classes, so that the shape changes from (S, K) to
    (S + K, K). Columns that sum to 1 still do.
    """
    return np.vstack([(1 - manual) * weights, manual * np.eye(weights.shape[1])])


def frequencies(logprobs: Floats, gold: Integers, labels: int) -> Floats:
    """Counts F[s, t], the rows of label t whose most likely source class is s.

    Args:
        logprobs: Log-probabilities of the source classes, shape (rows, S).
        gold: Indices of the labels, shape (rows,).
        labels: Number of labels K.

    Returns:
        Counts of shape (S, K).
    """
    counts = np.zeros((logprobs.shape[1], labels))
    np.add.at(counts, (logprobs.argmax(1), gold), 1)
    return counts


def soft_frequencies(logprobs: Floats, gold: Integers, labels: int, top: int) -> Floats:
    """Computes F[s, t], the sum over rows of label t of the probability of s, if s is among the row's `top` most likely.

    Probabilities are normalized over the source classes. Arguments and result are those of `frequencies`.
    """
    finite = np.maximum(logprobs, LOG_TINY)
    probabilities = np.exp(finite - np.logaddexp.reduce(finite, axis=1, keepdims=True))
    beyond_top = np.argsort(-probabilities, axis=1, kind="stable")[:, top:]
    np.put_along_axis(probabilities, beyond_top, 0, axis=1)
    counts: Floats = probabilities.T @ np.eye(labels)[gold]
    return counts
