"""What every read-out that is learned from a few labeled rows has in common: which rows those are.

They are rows of the train split's fit part, so many of each label; demonstrations and evaluated rows are never among them.
A label that no row has is never the likeliest, unless a technique knows it by its name or by its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.probabilities import LEAST
from promptkit.core.alignment import FitData, Needs, Outputs, PerClass
from promptkit.core.errors import InputError
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAligner:
    """A learned read-out that has seen its rows."""

    scores: Callable[[Outputs], Floats]
    label_map: LabelMap | None = None
    """Which source classes mean which label, where it is a matter of source classes."""
    labels_without_rows: tuple[int, ...] = ()
    """The labels that it can say nothing of, as no row has them."""

    def apply(self, outputs: Outputs) -> Floats:
        """One score per label, natural-log units, shape (rows, K)."""
        scores = self.scores(outputs)
        if self.labels_without_rows:
            scores[:, self.labels_without_rows] = (
                np.delete(scores, self.labels_without_rows, axis=1).max(1, keepdims=True) + LEAST
            )
        return scores


@dataclass(frozen=True, kw_only=True)
class LearnedAligner:
    """A read-out that is fitted on labeled rows."""

    per_class: int = 16
    """Labeled rows of each label, or all that the fit part has."""
    seed: int = 0
    """Which rows they are."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse to learn from nothing."""
        checked(self)
        if self.per_class < 1:
            raise InputError(
                f"{self.name} needs at least one row of each label",
                code="out-of-range",
                got=f"per_class={self.per_class}",
                aligner=self.name,
                per_class=self.per_class,
            )

    @property
    def rows(self) -> PerClass:
        """The rows that it is fitted on."""
        return PerClass(self.per_class, self.seed)

    @property
    def needs(self) -> Needs:
        """Its labeled rows, and what it reads of each row."""
        raise NotImplementedError

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label means something to it without rows, so that it may predict one that has none."""
        return False

    def fit(self, support: FitData, labels: Integers | None = None) -> FittedAligner:
        """Learn from `rows` of the support and their labels."""
        assert labels is not None
        places = support.labeled[self.rows]
        gold = np.asarray(labels)[places]
        unseen = [] if self.supports_unseen_labels else np.setdiff1d(np.arange(support.rows.logprobs.shape[1]), gold).tolist()
        return replace(self.fit_labeled(support, places, gold), labels_without_rows=tuple(unseen))

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The read-out of the rows at these places among the support's, of these labels. Both have shape (rows,)."""
        raise NotImplementedError
