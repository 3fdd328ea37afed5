"""Nearest class mean of hidden states at the answer position.

- Hidden calibration (Cho et al. 2024, 2406.16535): log q[y] = -|h - c_y|^2 / s, where c_y is the mean of the label's rows and s
  the mean squared distance of a labeled row from the mean of its label.
- Prototypical verbalizer (Cui et al. 2022, 2203.09770, without contrastive training): log q[y] = cos(h, c_y), where c_y is the
  mean of the label's normalized rows. The mean of all rows, a large component of every hidden state, is subtracted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from promptkit.align.folds import folds
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.align.probes.linear import scaled_rows
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.state import stateful
from promptkit.needs.hidden_states import HiddenState, Layer, candidate_states

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


Scale = Literal["none", "normalize"]
"""Whether each row is divided by its norm."""


class FittedMeans(Protocol):
    """Class means of labeled rows. Implementations are frozen dataclasses with the decorator `stateful`."""

    def __call__(self, queries: Floats) -> Floats:
        """Scores hidden states by the class means, shape (queries, d_model) -> (queries, K)."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClassMeans(LearnedAligner):
    """The nearest class mean of hidden states. Subclasses implement `fit_means`."""

    layer: Layer | None = None
    """Layer of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half of the depth. By default
    the layer of `LAYERS` with the fewest cross-validated errors."""

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the hidden state of every row."""
        return (*self._states, self.rows)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Chooses the layer and computes the class means."""
        labels, gold = len(data.labels), rows.gold
        hidden = {state: rows.outputs[state] for state in self._states}
        best = min(hidden, key=lambda state: self._errors(hidden[state], gold, labels))
        return FittedAligner(scorer=HiddenStateScores(means=self.fit_means(hidden[best], gold, labels), state=best))

    @property
    def _states(self) -> tuple[HiddenState, ...]:
        return candidate_states(self.layer)

    def _errors(self, rows: Floats, gold: Integers, labels: int) -> int:
        """Returns the number of held-out rows that are classified incorrectly."""
        errors = 0
        for train, held_out in folds(gold):
            predictions = self.fit_means(rows[train], gold[train], labels)(rows[held_out]).argmax(1)
            errors += int((predictions != gold[held_out]).sum())
        return errors

    def fit_means(self, rows: Floats, gold: Integers, labels: int) -> FittedMeans:
        """Computes the class means of labeled rows.

        Args:
            rows: Hidden states of the labeled rows, shape (rows, d_model).
            gold: Indices of their labels, shape (rows,).
            labels: Number of labels K.
        """
        raise NotImplementedError


@stateful("hidden-state-scores")
@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenStateScores:
    """Computes label scores by the class means of hidden states."""

    means: FittedMeans
    state: RowNeed[object]
    """The need for the hidden states."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The hidden states."""
        return (self.state,)

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label scores, shape (rows, K)."""
        return self.means(outputs[self.state])


@dataclass(frozen=True, kw_only=True)
class HiddenCalibration(ClassMeans):
    """Hidden calibration: the nearest class mean by Euclidean distance."""

    scale: Scale = "none"
    """Whether rows are divided by their norm first, which is better for the pooled features of image classifiers."""
    name: ClassVar[str] = "hidden"

    def fit_means(self, rows: Floats, gold: Integers, labels: int) -> Centroids:
        """Computes the class means and the mean squared distance from them."""
        rows = scaled(rows, self.scale)
        means = class_means(rows, gold, labels)
        scatter = float(((rows - means[gold]) ** 2).sum(1).mean())
        return Centroids(means=means, scatter=scatter or 1.0, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class PrototypicalVerbalizer(ClassMeans):
    """Prototypical verbalizer: the nearest class mean by cosine similarity."""

    name: ClassVar[str] = "prototypical"

    def fit_means(self, rows: Floats, gold: Integers, labels: int) -> Prototypes:
        """Computes the mean of all rows, and the class means of the normalized differences from it."""
        from sklearn.preprocessing import normalize

        center = rows.mean(0)
        return Prototypes(center=center, means=class_means(normalize(rows - center), gold, labels))


@stateful("centroids")
@dataclass(frozen=True, slots=True, kw_only=True)
class Centroids:
    """The class means of hidden calibration.

    scikit-learn's NearestCentroid predicts the same labels but has neither these scores nor labels without rows.
    """

    means: Floats
    """Shape (K, d_model)."""
    scatter: float
    """Mean squared distance of a labeled row from the mean of its label; 1 if it is 0."""
    scale: Scale = "none"
    """Whether rows are divided by their norm first."""

    def __call__(self, queries: Floats) -> Floats:
        """Computes negative squared distances divided by the scatter, shape (queries, K)."""
        from sklearn.metrics.pairwise import euclidean_distances

        scores: Floats = -euclidean_distances(scaled(queries, self.scale), self.means, squared=True) / self.scatter
        return scores


@stateful("prototypes")
@dataclass(frozen=True, slots=True, kw_only=True)
class Prototypes:
    """The class means of the prototypical verbalizer."""

    center: Floats
    """The mean of all labeled rows, shape (d_model,)."""
    means: Floats
    """Shape (K, d_model)."""

    def __call__(self, queries: Floats) -> Floats:
        """Computes cosine similarities, shape (queries, K)."""
        from sklearn.metrics.pairwise import cosine_similarity

        cosines: Floats = cosine_similarity(queries - self.center, self.means)
        return cosines


def scaled(rows: Floats, scale: Scale) -> Floats:
    """Divides each row by its norm if the scale is `normalize`."""
    return rows if scale == "none" else scaled_rows(rows, scale)


def class_means(rows: Floats, gold: Integers, labels: int) -> Floats:
    """Computes the mean of each label's rows, shape (K, width); 0 for a label without rows."""
    one_hot = np.eye(labels)[gold]
    means: Floats = one_hot.T @ rows / np.maximum(one_hot.sum(0), 1)[:, None]
    return means
