"""Base class of label mappings: aligners that learn a map from source classes to labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap, LabelMapScores, Over, shrink_to_manual
from promptkit.align.learned import FittedAligner, LearnedAligner, check_tokens
from promptkit.align.unused import check_unused
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.needs.name_vectors import NameEmbeddings
from promptkit.needs.source_logprobs import TOKENS, SourceLogprobs, check_no_tokens

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Outputs of a frozen model for labeled rows, from which a label map is learned."""

    names: tuple[str, ...]
    """Names of the S source classes."""
    labels: tuple[str, ...]
    """The K labels in the declared order."""
    logprobs: Floats
    """Log-probabilities of the source classes, shape (rows, S)."""
    name_vectors: Floats
    """Embeddings of the source class names, shape (S, width); empty for mappings that do not use them."""
    label_vectors: Floats
    """Embeddings of the labels in the same space, shape (K, width)."""


@runtime_checkable
class TrainableMap(Protocol):
    """A label map that can be trained together with a program for images."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def is_refitted(self) -> bool:
        """Whether it is fitted again in each epoch, under the current program."""
        ...

    @property
    def over(self) -> Over:
        """As `LabelMap.over`."""
        ...

    def check_trainable(self) -> None:
        """Checks that the map can be fitted on the classes of a classifier with these settings.

        Raises:
            Unsupported: The map needs more than class probabilities and labels.
            InputError: A setting has no effect there.
        """
        ...

    def fit_classes(self, labels: tuple[str, ...], classes: tuple[str, ...], logprobs: Floats, gold: Integers) -> LabelMap:
        """Fits the map on all classes of a classifier.

        Args:
            labels: The labels in the declared order.
            classes: The names of the classes.
            logprobs: Log-probabilities of the classes for labeled rows, shape (rows, classes).
            gold: Indices of the labels of these rows, shape (rows,).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LabelMapping(LearnedAligner):
    """Learns a map from source classes to labels.

    Subclasses implement `weights`.

    Raises:
        InputError: A setting is out of range.
    """

    sources: Literal["tokens", "words"] = "tokens"
    """The source classes: the most likely tokens at the answer position, or the label words of the manual verbalizer."""
    tokens: int = TOKENS
    """Number of source tokens of a language model; the same tokens for all rows, chosen by their mean probability
    over the labeled rows."""
    over: Over = "probabilities"
    """Whether the weights multiply the probabilities of source classes or their logarithms."""
    manual: float = 0.0
    """Share of the manual verbalizer, between 0 and 1: W <- (1 - manual) W + manual W_manual."""
    is_refitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_tokens(self.name, self.tokens)
        if self.sources == "words":
            check_unused(self.name, "sources=words", tokens=(self.tokens, TOKENS))
        if not 0 <= self.manual <= 1:
            raise InputError(
                f"The manual verbalizer's share in the label mapping {self.name} must be between 0 and 1",
                code="out-of-range",
                got=f"manual={self.manual}",
                aligner=self.name,
                manual=self.manual,
            )

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the source tokens' log-probabilities of every row."""
        return (self.rows,) if self.sources == "words" else (self.rows, self.source_logprobs)

    @property
    def reads_scores(self) -> bool:
        """Whether label words are source classes."""
        return self.sources == "words" or self.manual > 0

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether the manual verbalizer has a share, so that a label without rows can be predicted by its word."""
        return self.manual > 0

    @property
    def source_logprobs(self) -> SourceLogprobs:
        """The log-probabilities of the source classes, unless these are the label words."""
        return SourceLogprobs(self.tokens, self.rows)

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Learns the label map."""
        label_map = self.map(self._sources(data, rows.outputs), rows.gold)
        return FittedAligner(scorer=LabelMapScores(label_map=label_map, columns=self._columns), label_map=label_map)

    @property
    def _columns(self) -> tuple[RowNeed[object] | None, ...]:
        """The columns that the label map reads: source classes, then the label words if the manual verbalizer has a share."""
        return (None if self.sources == "words" else self.source_logprobs, *([None] if self.manual else []))

    def _sources(self, data: FitData, outputs: Outputs) -> Sources:
        vectors = self.name_embeddings(data)
        return Sources(
            names=data.labels if self.sources == "words" else data[self.source_logprobs],
            labels=data.labels,
            logprobs=self._source_logprobs(outputs),
            name_vectors=vectors.sources,
            label_vectors=vectors.labels,
        )

    def name_embeddings(self, data: FitData) -> NameEmbeddings:
        """Returns embeddings of the names of source classes and labels; empty for mappings that do not use them."""
        return NameEmbeddings(sources=np.empty((0, 0)), labels=np.empty((0, 0)))

    def _source_logprobs(self, outputs: Outputs) -> Floats:
        return outputs.logprobs if self.sources == "words" else outputs[self.source_logprobs]

    def weights(self, sources: Sources, gold: Integers) -> Floats:
        """Estimates the weights of source classes for each label.

        Args:
            sources: Outputs of the model for the labeled rows.
            gold: Indices of the labels of these rows, shape (rows,).

        Returns:
            Weights of shape (S, K).
        """
        raise NotImplementedError

    def check_trainable(self) -> None:
        """Raises an error if the map cannot be fitted on the classes of a classifier; see `TrainableMap.check_trainable`."""
        if self.sources == "words" or self.manual:
            raise untrainable(self.name, f"sources={self.sources}, manual={self.manual}", "Leave out sources and manual")
        check_no_tokens(self.name, self.tokens)

    def fit_classes(self, labels: tuple[str, ...], classes: tuple[str, ...], logprobs: Floats, gold: Integers) -> LabelMap:
        """Fits the map on all classes of a classifier; see `TrainableMap.fit_classes`."""
        empty = np.empty((0, 0))
        sources = Sources(names=classes, labels=labels, logprobs=logprobs, name_vectors=empty, label_vectors=empty)
        return self.map(sources, gold)

    def map(self, sources: Sources, gold: Integers) -> LabelMap:
        """Learns the label map; with a manual share, the label words are additional source classes after the others."""
        weights, names = self.weights(sources, gold), sources.names
        if self.manual:
            weights = shrink_to_manual(weights, self.manual)
            names = (*names, *(f"[{label}]" for label in sources.labels))
        return LabelMap(sources=names, labels=sources.labels, weights=weights, over=self.over)


def untrainable(name: str, got: str, hint: str) -> Unsupported:
    """Returns the error for a label map that needs more than class probabilities and labels of the training rows."""
    return Unsupported(
        f"The label map {name} cannot be trained together with a program with these settings",
        code="untrainable-label-map",
        got=got,
        hint=hint,
        aligner=name,
    )
