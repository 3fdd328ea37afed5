"""Which source classes mean which label: a matrix of weights, and what it makes of a frozen model's outputs.

Source classes are the columns that a model gives for an input, whatever they stand for: tokens at the answer slot, label
words, the classes of an image model. Knows nothing of how a map is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

TINY = float(np.finfo(np.float64).tiny)
FLOOR = float(np.log(TINY))
"""What stands for the logarithm of 0, so that nothing is infinite."""
Over = Literal["probabilities", "logprobs"]
"""What of a source class is weighed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """Source classes S to labels K."""

    sources: tuple[str, ...]
    """The name of each source class."""
    labels: tuple[str, ...]
    weights: Floats
    """Shape (S, K)."""
    over: Over = "probabilities"

    def __call__(self, logprobs: Floats) -> Floats:
        """One score per label, natural-log units: log(p W), or (log p) W. Shape (items, S) -> (items, K)."""
        held = np.maximum(logprobs, FLOOR)
        most = held.max(1, keepdims=True)
        shares = np.exp(held - most) @ self.weights
        scores: Floats = held @ self.weights if self.over == "logprobs" else np.log(np.maximum(shares, TINY)) + most
        return scores

    def table(self, most: int = 5) -> Mapping[str, Mapping[str, float]]:
        """Label -> its source classes of greatest weight and those weights, at most so many, none of weight 0 or less."""
        found = {}
        for label, column in zip(self.labels, self.weights.T, strict=True):
            best = np.argsort(-column, kind="stable")[:most]
            found[label] = {self.sources[s]: float(column[s]) for s in best if column[s] > 0}
        return found

    def __str__(self) -> str:
        """A line a label."""
        width = max(map(len, self.labels))
        told = {label: ", ".join(f"{name!r} {w:.2f}" for name, w in of.items()) for label, of in self.table().items()}
        return "\n".join(f"{label:<{width}}  {line}" for label, line in told.items())


def shrunk(weights: Floats, toward_manual: float) -> Floats:
    """W <- (1 - a) W_manual + a W, a = 1 - `toward_manual`.

    W_manual gives each label the words of the manual verbalizer, which stand as K further source classes behind the S
    others: shape (S, K) -> (S + K, K). Columns keep their sums where these are 1.
    """
    manual = np.eye(weights.shape[1])
    return np.vstack([(1 - toward_manual) * weights, toward_manual * manual])


def frequencies(logprobs: Floats, gold: Integers, labels: int) -> Floats:
    """F[s, t]: how many rows of label t have s as their likeliest source class. Shape (rows, S) -> (S, K)."""
    counts = np.zeros((logprobs.shape[1], labels))
    np.add.at(counts, (logprobs.argmax(1), gold), 1)
    return counts


def soft_frequencies(logprobs: Floats, gold: Integers, labels: int, top: int) -> Floats:
    """F[s, t]: the sum, over rows of label t, of the probability of s among the source classes, where s is in a row's
    `top` likeliest. Shape (rows, S) -> (S, K)."""
    held = np.maximum(logprobs, FLOOR)
    shares = np.exp(held - np.logaddexp.reduce(held, axis=1, keepdims=True))
    left_out = np.argsort(-shares, axis=1, kind="stable")[:, top:]
    np.put_along_axis(shares, left_out, 0, axis=1)
    counts: Floats = shares.T @ np.eye(labels)[gold]
    return counts
