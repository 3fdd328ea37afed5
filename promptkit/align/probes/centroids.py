"""The nearest class mean of hidden states at the answer slot: hidden calibration, and a prototypical verbalizer.

- hidden (Cho et al. 2024, 2406.16535): log q[y] = -|h - c_y|^2 / s, the Euclidean distance from the mean of a label's
  rows, in units of the mean squared distance s of a labeled row from its own.
- prototypical (Cui et al. 2022, 2203.09770, without its contrastive training): log q[y] = cos(h, c_y), c_y the mean of
  the label's rows at length 1, all less the mean of all rows, which is most of a hidden state whatever the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.probes.folds import folds
from promptkit.core.alignment import LAYERS, FitData, Layer, Needs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class HiddenCalibration(LearnedAligner):
    """Hidden calibration: the nearest class mean by Euclidean distance."""

    layer: Layer | None = None
    """Of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half-way; unless given, that of
    `LAYERS` whose class means err least over the folds."""
    name: ClassVar[str] = "hidden"

    @property
    def needs(self) -> Needs:
        """Labeled rows, and the hidden state of every row."""
        return Needs(labels=True, labeled=(self.rows,), layers=self._layers)

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The class means of its labeled rows."""
        count = support.rows.logprobs.shape[1]
        of_layers = {layer: support.rows.hidden[layer][places] for layer in self._layers}
        layer = min(of_layers, key=lambda each: self._errors(of_layers[each], gold, count))
        rows = of_layers[layer]
        return FittedAligner(scores=lambda outputs: self.scores(rows, gold, outputs.hidden[layer], count))

    @property
    def _layers(self) -> tuple[Layer, ...]:
        return LAYERS if self.layer is None else (self.layer,)

    def _errors(self, rows: Floats, gold: Integers, count: int) -> int:
        """How many labeled rows the other folds' class means get wrong."""
        said = ((self.scores(rows[fit], gold[fit], rows[held], count).argmax(1), gold[held]) for fit, held in folds(gold))
        return sum(int((best != right).sum()) for best, right in said)

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """See `centroid_scores`."""
        return centroid_scores(rows, gold, queries, labels)


@dataclass(frozen=True, kw_only=True)
class PrototypicalVerbalizer(HiddenCalibration):
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
    center = rows.mean(0)
    cosines: Floats = _unit(queries - center) @ _unit(class_means(_unit(rows - center), gold, labels)).T
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
