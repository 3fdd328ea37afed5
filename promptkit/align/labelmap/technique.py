"""What the techniques of label mapping have in common: what they see of the rows, and the map that comes of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap, Over, shrunk
from promptkit.errors import PromptkitError
from promptkit.registry import checked

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a frozen model gives for labelled rows."""

    names: tuple[str, ...]
    """Of the S source classes."""
    labels: tuple[str, ...]
    """The K labels in the declared order."""
    logprobs: Floats
    """Shape (rows, S)."""
    name_vectors: Floats
    """The names in an embedding space, shape (S, width); empty for techniques that need none."""
    label_vectors: Floats
    """The labels in the same space, shape (K, width)."""


@dataclass(frozen=True, kw_only=True)
class Technique:
    """A way to find a label map."""

    over: Over = "probabilities"
    """What of a source class is weighed: its probability, or its logarithm."""
    manual: float = 0.0
    """The share of the manual verbalizer: W <- (1 - a) W_manual + a W, with a = 1 - manual."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        checked(self)
        if not 0 <= self.manual <= 1:
            raise PromptkitError("The share of the manual verbalizer is 0 to 1", got=f"manual={self.manual}")

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """W of the labelled rows, whose labels are `gold`; shape (S, K)."""
        raise NotImplementedError

    def map(self, sources: Sources, gold: Integers) -> LabelMap:
        """The map over the source classes, and behind them the manual verbalizer's labels where it has a share."""
        weights, names = self.weights(sources, gold), sources.names
        if self.manual:
            weights, names = shrunk(weights, self.manual), (*names, *sources.labels)
        return LabelMap(sources=names, labels=sources.labels, weights=weights, over=self.over)

    def columns(self, logprobs: Floats, manual: Floats) -> Floats:
        """What the map is of: source classes, shape (rows, S), and with a share of it the manual verbalizer's labels."""
        return np.hstack([logprobs, manual]) if self.manual else logprobs
