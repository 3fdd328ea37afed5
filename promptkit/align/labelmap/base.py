"""What the techniques of label mapping have in common: what they see of the rows, and the map that comes of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap, Over, shrunk
from promptkit.align.learned import FittedAligner, LearnedAligner
from promptkit.core.alignment import FitData, Needs, Outputs, TopTokens
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a frozen model gives for labeled rows."""

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
class LabelMapping(LearnedAligner):
    """A way to find a label map."""

    sources: Literal["tokens", "words"] = "tokens"
    """The source classes: the likeliest tokens at the answer slot, or the label words of the manual verbalizer."""
    tokens: int = 500
    """How many tokens; one set for all rows, by the mean probability over the labeled rows."""
    over: Over = "probabilities"
    """What of a source class is weighed: its probability, or its logarithm."""
    manual: float = 0.0
    """The share of the manual verbalizer: W <- (1 - a) W_manual + a W, with a = 1 - manual."""

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        super().__post_init__()
        if self.tokens < 1:
            raise InputError(
                f"The label map {self.name} needs at least one token as a source class",
                code="out-of-range",
                got=f"tokens={self.tokens}",
                aligner=self.name,
                tokens=self.tokens,
            )
        if not 0 <= self.manual <= 1:
            raise InputError(
                f"The manual verbalizer's share in the label map {self.name} must be between 0 and 1",
                code="out-of-range",
                got=f"manual={self.manual}",
                aligner=self.name,
                manual=self.manual,
            )

    @property
    def needs(self) -> Needs:
        """Labeled rows, and the tokens' log-probabilities of every row."""
        return Needs(labels=True, labeled=(self.rows,), tokens=() if self.sources == "words" else (self.top,))

    @property
    def supports_unseen_labels(self) -> bool:
        """The manual verbalizer's word speaks for a label, if it has a share."""
        return self.manual > 0

    @property
    def top(self) -> TopTokens:
        """The tokens that are its source classes."""
        return TopTokens(self.tokens, self.rows)

    def fit_labeled(self, support: FitData, places: Integers, gold: Integers) -> FittedAligner:
        """The map of its labeled rows."""
        found = self.map(self._sources(support, places), gold)
        return FittedAligner(scores=lambda outputs: found(self.columns(self._read(outputs), outputs.logprobs)), label_map=found)

    def _sources(self, support: FitData, places: Integers) -> Sources:
        words = self.sources == "words"
        none = np.empty((0, 0))
        own = none if support.label_vectors is None else support.label_vectors
        return Sources(
            names=support.labels if words else support.names[self.top],
            labels=support.labels,
            logprobs=self._read(support.rows)[places],
            name_vectors=own if words else support.name_vectors.get(self.top, none),
            label_vectors=own,
        )

    def _read(self, outputs: Outputs) -> Floats:
        """The source classes' log-probabilities, shape (rows, S)."""
        return outputs.logprobs if self.sources == "words" else outputs.tokens[self.top]

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """W of the labeled rows, whose labels are `gold`; shape (S, K)."""
        raise NotImplementedError

    def map(self, sources: Sources, gold: Integers) -> LabelMap:
        """The map over the source classes, and behind them the manual verbalizer's labels where it has a share."""
        weights, names = self.weights(sources, gold), sources.names
        if self.manual:
            weights, names = shrunk(weights, self.manual), (*names, *(f"[{label}]" for label in sources.labels))
        return LabelMap(sources=names, labels=sources.labels, weights=weights, over=self.over)

    def columns(self, logprobs: Floats, manual: Floats) -> Floats:
        """What the map is of: source classes, shape (rows, S), and with a share of it the manual verbalizer's labels."""
        return np.hstack([logprobs, manual]) if self.manual else logprobs
