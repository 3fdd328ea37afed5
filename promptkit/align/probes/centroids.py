"""Nearest class mean of hidden states at the answer position.

- Hidden calibration (Cho et al. 2024, 2406.16535): log q[y] = -|h - c_y|^2 / s, where c_y is the mean of the label's rows and s
  the mean squared distance of a labeled row from the mean of its label.
- Prototypical verbalizer (Cui et al. 2022, 2203.09770, without contrastive training): log q[y] = cos(h, c_y), where c_y is the
  mean of the label's normalized rows. The mean of all rows, a large component of every hidden state, is subtracted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.folds import folds
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.core.needs import FitData, LabeledOutputs, Needs
from promptkit.needs.hidden_states import HiddenState, Layer, candidate_states

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class ClassMeans(LearnedAligner):
    """The nearest class mean of hidden states. Subclasses implement `scores`."""

    layer: Layer | None = None
    """Layer of the hidden state: 0 is the embedding, -1 the last layer's normalized output, 0.5 half of the depth. By default
    the layer of `LAYERS` with the fewest cross-validated errors."""

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the hidden state of every row."""
        return (*self._states, self.rows)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Chooses the layer and stores the labeled rows."""
        labels, gold = len(data.labels), rows.gold
        hidden = {state: rows.outputs[state] for state in self._states}
        best = min(hidden, key=lambda state: self._errors(hidden[state], gold, labels))
        return FittedAligner(scores=lambda outputs: self.scores(hidden[best], gold, outputs[best], labels))

    @property
    def _states(self) -> tuple[HiddenState, ...]:
        return candidate_states(self.layer)

    def _errors(self, rows: Floats, gold: Integers, labels: int) -> int:
        """Returns the number of held-out rows that are classified incorrectly."""
        errors = 0
        for train, held_out in folds(gold):
            predictions = self.scores(rows[train], gold[train], rows[held_out], labels).argmax(1)
            errors += int((predictions != gold[held_out]).sum())
        return errors

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """Scores queries by the class means of labeled rows, shape (queries, K)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HiddenCalibration(ClassMeans):
    """Hidden calibration: the nearest class mean by Euclidean distance."""

    scale: Literal["none", "normalize"] = "none"
    """Whether rows are divided by their norm first, which is better for the pooled features of image classifiers."""
    name: ClassVar[str] = "hidden"

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """Scores queries by the class means of labeled rows, shape (queries, K)."""
        from sklearn.preprocessing import normalize

        if self.scale == "normalize":
            rows, queries = normalize(rows), normalize(queries)
        return centroid_scores(rows, gold, queries, labels)


@dataclass(frozen=True, kw_only=True)
class PrototypicalVerbalizer(ClassMeans):
    """Prototypical verbalizer: the nearest class mean by cosine similarity."""

    name: ClassVar[str] = "prototypical"

    def scores(self, rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
        """Scores queries by the class means of labeled rows, shape (queries, K)."""
        return prototype_scores(rows, gold, queries, labels)


def centroid_scores(rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
    """Computes the scores of hidden calibration.

    scikit-learn's NearestCentroid predicts the same labels but has neither these scores nor labels without rows.

    Args:
        rows: Hidden states of the labeled rows, shape (rows, d_model).
        gold: Indices of their labels, shape (rows,).
        queries: Hidden states to score, shape (queries, d_model).
        labels: Number of labels K.

    Returns:
        Scores in natural-log units, shape (queries, K).
    """
    from sklearn.metrics.pairwise import euclidean_distances

    means = class_means(rows, gold, labels)
    scatter = ((rows - means[gold]) ** 2).sum(1).mean()
    scores: Floats = -euclidean_distances(queries, means, squared=True) / (scatter or 1.0)
    return scores


def prototype_scores(rows: Floats, gold: Integers, queries: Floats, labels: int) -> Floats:
    """Computes the scores of the prototypical verbalizer; arguments and result are those of `centroid_scores`."""
    from sklearn.metrics.pairwise import cosine_similarity
    from sklearn.preprocessing import normalize

    center = rows.mean(0)
    cosines: Floats = cosine_similarity(queries - center, class_means(normalize(rows - center), gold, labels))
    return cosines


def class_means(rows: Floats, gold: Integers, labels: int) -> Floats:
    """Computes the mean of each label's rows, shape (K, width); 0 for a label without rows."""
    one_hot = np.eye(labels)[gold]
    means: Floats = one_hot.T @ rows / np.maximum(one_hot.sum(0), 1)[:, None]
    return means
