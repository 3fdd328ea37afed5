"""The nearest class mean of hidden states at the answer slot: hidden calibration, and a prototypical verbalizer.

- hidden (Cho et al. 2024, 2406.16535): log q[y] = -|h - c_y|^2 / s, the Euclidean distance from the mean of a label's
  rows, in units of the mean squared distance s of a labelled row from its own.
- prototypical (Cui et al. 2022, 2203.09770, without its contrastive training): log q[y] = cos(h, c_y), c_y the mean of
  the label's rows at length 1, all less the mean of all rows, which is most of a hidden state whatever the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelled import Learned, ReadOut
from promptkit.aligners import MIDDLE, Layer, Needs, Support

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Hidden(Learned):
    """Hidden calibration: the nearest class mean by Euclidean distance."""

    layer: Layer = MIDDLE
    """Of the hidden state: 0 is the embedding, -1 the last layer's normalised output, 0.5 half-way."""
    name: ClassVar[str] = "hidden"

    @property
    def needs(self) -> Needs:
        """Labelled rows, and the hidden state of every row."""
        return Needs(labels=True, labelled=(self.rows,), layers=(self.layer,))

    def learn(self, support: Support, places: Integers, gold: Integers) -> ReadOut:
        """The class means of its labelled rows."""
        rows, count = support.rows.hidden[self.layer][places], support.rows.logprobs.shape[1]
        return ReadOut(scores=lambda outputs: self.scores(rows, gold, outputs.hidden[self.layer], count))

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """See `centroid_scores`."""
        return centroid_scores(rows, gold, queries, labels)


@dataclass(frozen=True, kw_only=True)
class Prototypical(Hidden):
    """A prototypical verbalizer: the nearest class mean by cosine."""

    name: ClassVar[str] = "prototypical"

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """See `prototype_scores`."""
        return prototype_scores(rows, gold, queries, labels)


def centroid_scores(rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
    """Hidden calibration's scores, shape (queries, K). rows: shape (rows, d_model); gold: shape (rows,)."""
    means = class_means(rows, gold, labels)
    scatter = ((rows - means[gold]) ** 2).sum(1).mean()
    apart = (queries**2).sum(1)[:, None] - 2 * queries @ means.T + (means**2).sum(1)
    scores: Floats = -np.maximum(apart, 0) / (scatter or 1.0)
    return scores


def prototype_scores(rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
    """The prototypical verbalizer's scores, shape (queries, K)."""
    centre = rows.mean(0)
    cosines: Floats = _unit(queries - centre) @ _unit(class_means(_unit(rows - centre), gold, labels)).T
    return cosines


def class_means(rows: Floats, gold: Integers, labels: int) -> Floats:
    """The mean of each label's rows, shape (K, width), 0 for one without rows."""
    of_label = np.eye(labels)[gold]
    means: Floats = of_label.T @ rows / np.maximum(of_label.sum(0), 1)[:, None]
    return means


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.where(lengths > 0, lengths, 1)
    return unit
