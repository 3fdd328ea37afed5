"""Injective label mappings: each source class belongs to at most one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.labelmap.base import LabelMapping
from promptkit.core.errors import InputError
from promptkit.needs.source_logprobs import SourceLogprobs

if TYPE_CHECKING:
    from promptkit.align.labelmap.base import Sources
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class InjectiveMapping(LabelMapping):
    """A label mapping in which no source class belongs to two labels.

    Subclasses implement `affinity`; source classes are then assigned greedily, the highest affinity first.
    """

    per_label: int = 1
    """Source classes for each label. The scores of several are averaged (many-to-one mapping, Tsai et al. 2020, 2007.08714)."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.per_label < 1:
            raise InputError(
                f"The label mapping {self.name} needs at least one source class for each label",
                code="out-of-range",
                got=f"per_label={self.per_label}",
                aligner=self.name,
                per_label=self.per_label,
            )
        if self.sources == "words" and self.per_label > 1:
            raise InputError(
                "With sources=words there are as many source classes as labels, so each label can have only one",
                code="conflicting-options",
                got=f"sources=words, per_label={self.per_label}",
                hint="Leave out per_label, or sources=words",
                aligner=self.name,
                options=("per_label", "sources"),
            )

    @property
    def source_logprobs(self) -> SourceLogprobs:
        """The log-probabilities of the source classes, with enough of them for all labels."""
        return SourceLogprobs(self.tokens, self.rows, per_label=self.per_label)

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """Assigns source classes to labels, shape (S, K): 1 / `per_label` where a source class belongs to a label, else 0."""
        return assign_greedily(self.affinity(sources, gold), self.per_label)

    def affinity(self, sources: Sources, gold: Integers) -> Floats:
        """Computes how well each source class fits each label, shape (S, K)."""
        raise NotImplementedError


def assign_greedily(affinity: Floats, per_label: int = 1) -> Floats:
    """Assigns source classes to labels in descending order of affinity.

    This is the assignment of the papers; `scipy.optimize.linear_sum_assignment` would maximize the sum instead.

    Args:
        affinity: Shape (S, K). Ties go to the first source class, then to the first label.
        per_label: Source classes for each label.

    Returns:
        Weights of shape (S, K): 1 / `per_label` for assigned pairs, else 0.

    Raises:
        InputError: There are fewer than `per_label` source classes for each label.
    """
    sources, labels = affinity.shape
    if sources < per_label * labels:
        raise InputError(
            f"{labels} labels with {per_label} source classes each need at least {per_label * labels} source classes",
            code="too-few-source-classes",
            got=f"{sources}",
            hint="Reduce per_label, or increase tokens",
            labels=labels,
            needed=per_label * labels,
            given=sources,
        )
    remaining = affinity.astype(float)
    weights = np.zeros_like(remaining)
    for _ in range(per_label * labels):
        source, label = np.unravel_index(remaining.argmax(), remaining.shape)
        weights[source, label] = 1 / per_label
        remaining[source] = -np.inf
        if np.count_nonzero(weights[:, label]) == per_label:
            remaining[:, label] = -np.inf
    return weights
