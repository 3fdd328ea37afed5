"""What every read-out that is learned from a few labelled rows has in common: which rows those are.

They are rows of the train split's fit part, so many of each label; demonstrations and evaluated rows are never among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.aligners import Needs, Outputs, PerClass, Support
from promptkit.errors import PromptkitError
from promptkit.registry import checked, settings_of

if TYPE_CHECKING:
    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.types import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOut:
    """A learned read-out that has seen its rows."""

    scores: Callable[[Outputs], Floats]
    map: LabelMap | None = None
    """Which source classes mean which label, where it is a matter of source classes."""

    def apply(self, outputs: Outputs) -> Floats:
        """One score per label, natural-log units, shape (rows, K)."""
        return self.scores(outputs)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A read-out that is fitted on labelled rows."""

    per_class: int = 16
    """Labelled rows of each label, or all that the fit part has."""
    seed: int = 0
    """Which rows they are."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse to learn from nothing."""
        checked(self)
        if self.per_class < 1:
            raise PromptkitError(f"{self.name} learns from at least one row a label", got=f"per_class={self.per_class}")

    @property
    def rows(self) -> PerClass:
        """The rows that it is fitted on."""
        return PerClass(self.per_class, self.seed)

    @property
    def needs(self) -> Needs:
        """Its labelled rows, and what it reads of each row."""
        raise NotImplementedError

    def fit(self, support: Support, labels: Integers | None = None) -> ReadOut:
        """Learn from `rows` of the support and their labels."""
        raise NotImplementedError

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)

    def seen(self, support: Support, labels: Integers | None) -> tuple[Integers, Integers]:
        """The places of its rows among the support's, and their labels. Both have shape (rows,)."""
        assert labels is not None
        places = support.labelled[self.rows]
        return places, np.asarray(labels)[places]
