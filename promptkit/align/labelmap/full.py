"""Full label map: a regularized linear map from the log-probabilities of all source classes to the labels.

    log q = log softmax(a z + x W + b) + log p - log p_0, normalized

x are the log-probabilities of the source classes minus their mean, so that only differences between source classes count. The
penalty of W (see `regression`) pulls the prediction towards the scores z. If these are known without labeled rows, the map
needs far fewer labeled rows than a plain linear map:

- `verbalizer`: z are the label scores of the first aligner: of the manual verbalizer, or of hand-written classes of an image
  model. A label without rows can still be predicted by its words.
- `semantic`: z = x W_0, where W_0 assigns each label the source class with the most similar name (see `semantic`), or its
  hand-written classes, with the sum 0.3. The penalty is the squared distance of the map from a W_0.
- `none`: z = 0, multinomial ridge regression.

Labeled rows are drawn evenly from the classes, but the classes of evaluated rows may be unbalanced. Their shares p are
estimated on unlabeled rows of the fit part, and the shares p_0 of the labeled rows are divided out (see `shares`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.labelmap.base import untrainable
from promptkit.align.labelmap.injective import assign_greedily
from promptkit.align.labelmap.mapping import LabelMap, LabelMapScores, Over, assigned, joined
from promptkit.align.labelmap.regression import STRENGTHS, Regression, fit_regression
from promptkit.align.labelmap.semantic import centered_cosines
from promptkit.align.labelmap.shares import estimate_shares, labeled_shares
from promptkit.align.learned import FittedAligner, LearnedAligner, check_tokens
from promptkit.align.logprobs import LOG_TINY, normalize_logprobs
from promptkit.align.unused import check_unused
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.taxonomy import OutputAlignment
from promptkit.needs.fit_rows import FitRows
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.needs.name_vectors import NameVectors
from promptkit.needs.source_logprobs import TOKENS, SourceLogprobs, check_no_tokens

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

SHARES_WEIGHT = 2048.0
"""Weight of the labeled rows' class shares in the estimate of the shares, divided by the number of labeled rows per class."""

HAND_WRITTEN_WEIGHT = 0.3
"""The sum of a label's weights in a hand-written W_0. The mean log-probability of hand-written classes is overconfident, so
rows that it predicts correctly would hardly affect the fit. On rows of the fit part of Fashion-MNIST (vision:demo, 224 pixels)
the accuracy with 1, 3 and 10 labeled rows per label is 0.65, 0.71 and 0.78; with the sum 1 it is 0.60, 0.67 and 0.76."""


@dataclass(frozen=True, kw_only=True)
class Full(LearnedAligner):
    """Learns a linear map from source classes to labels, penalized towards scores that need no labels.

    Raises:
        InputError: A setting is out of range.
    """

    towards: Literal["none", "verbalizer", "semantic"] = "none"
    """The scores that the penalty pulls towards: none, those of the first aligner, or source classes with similar names."""
    sources: Literal["tokens", "words"] = "tokens"
    """The source classes: the most likely tokens at the answer position, or the label words of the manual verbalizer."""
    tokens: int = TOKENS
    """Number of source tokens of a language model; the same tokens for all rows, chosen by their mean probability
    over the labeled rows."""
    encoder: str = ""
    """With towards=semantic, the model that embeds names, such as `encoder:FOLDER`; by default the language model itself."""
    strength: float | None = None
    """C, the inverse of the penalty. By default it is chosen by cross-validation within the labeled rows: the lowest value
    whose loss is not significantly above the best, or 3 if no label has two rows."""
    shares: Literal["estimated", "labeled"] = "estimated"
    """The expected class shares: estimated on unlabeled rows, or the shares of the labeled rows."""
    unlabeled: int = 128
    """Maximum number of unlabeled rows of the fit part, over which source classes are standardized and shares estimated."""
    name: ClassVar[str] = "full"
    alignment: ClassVar[OutputAlignment] = "linear"
    over: ClassVar[Over] = "logprobs"
    is_refitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_tokens(self.name, self.tokens)
        if self.sources == "words":
            check_unused(self.name, "sources=words", tokens=(self.tokens, TOKENS))
        if self.towards != "semantic":
            check_unused(self.name, f"towards={self.towards}", encoder=(self.encoder, ""))
        if self.per_class == 0:
            fitted = {
                "strength": (self.strength, None),
                "shares": (self.shares, "estimated"),
                "unlabeled": (self.unlabeled, 128),
            }
            check_unused(self.name, "per_class=0", **fitted)
        if self.strength is not None and self.strength <= 0:
            raise self._out_of_range("strength", self.strength)
        if self.unlabeled < 1:
            raise self._out_of_range("unlabeled", self.unlabeled)

    def _out_of_range(self, option: str, value: float) -> InputError:
        message = f"The setting {option} of {self.name} must be greater than 0"
        return InputError(message, code="out-of-range", got=f"{option}={value}", aligner=self.name, option=option, value=value)

    @property
    def min_per_class(self) -> int:
        """The fewest labeled rows per label: 0 if the penalty pulls towards scores."""
        return 1 if self.towards == "none" else 0

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label without rows can be predicted, by the scores that the map is pulled towards."""
        return self.towards != "none"

    @property
    def rows(self) -> LabeledRows:
        """The labeled rows; without any, the source tokens are still chosen by the prompts of one row of each label."""
        return LabeledRows(max(1, self.per_class), self.seed)

    @property
    def reads_scores(self) -> bool:
        """Whether label words are source classes, or it is pulled towards the label scores of the first aligner."""
        return self.sources == "words" or self.towards == "verbalizer"

    @property
    def needs(self) -> Needs:
        """The labeled and unlabeled rows, the source tokens' log-probabilities, and their names if these are compared."""
        names = (self.name_vectors,) if self.towards == "semantic" else ()
        tokens = (self.source_logprobs,) if self._reads_sources and self.sources == "tokens" else ()
        return (*names, *tokens, *((self.rows, self.unlabeled_rows) if self.per_class else ()))

    @property
    def unlabeled_rows(self) -> FitRows:
        """The unlabeled rows."""
        return FitRows(self.unlabeled)

    @property
    def source_logprobs(self) -> SourceLogprobs:
        """The log-probabilities of the source classes, unless these are the label words."""
        return SourceLogprobs(self.tokens, self.rows, per_label=1 if self.towards == "semantic" else 0)

    @property
    def name_vectors(self) -> NameVectors:
        """The embeddings of the names of source classes and labels."""
        return NameVectors(None if self.sources == "words" else self.source_logprobs, self.encoder)

    def fit(self, data: FitData) -> FittedAligner:
        """Fits the map; without labeled rows, the scores that it is pulled towards are the prediction."""
        if self.per_class:
            return super().fit(data)
        initial = self._initial_weights(data)
        return self._fitted(self._label_map(data, initial, initial, np.zeros(len(data.labels))))

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Fits the map on labeled rows, and estimates the class shares on unlabeled ones."""
        initial, unlabeled = self._initial_weights(data), data[self.unlabeled_rows]
        anchor = normalize_logprobs(self._inputs(rows.outputs) @ initial)
        fitted = self._regression(self._sources(rows.outputs), anchor, rows.gold, self._sources(unlabeled))
        weights = fitted.anchor * initial
        weights[: len(fitted.weights)] += fitted.weights
        label_map = self._label_map(data, initial, weights, fitted.bias)
        if self.shares == "estimated":
            expected = labeled_shares(rows.gold, len(data.labels))
            weight = SHARES_WEIGHT * len(data.labels) / len(rows.gold)
            estimate = estimate_shares(label_map(self._inputs(unlabeled)), expected, weight)
            label_map = replace(label_map, bias=fitted.bias + np.log(estimate / expected))
        return self._fitted(label_map)

    def _fitted(self, label_map: LabelMap) -> FittedAligner:
        return FittedAligner(scorer=LabelMapScores(label_map=label_map, columns=self._columns), label_map=label_map)

    def check_trainable(self) -> None:
        """Raises an error if the map cannot be fitted on the classes of a classifier; see `TrainableMap.check_trainable`."""
        if self.sources == "words" or self.towards != "none":
            got = f"sources={self.sources}, towards={self.towards}"
            raise untrainable(self.name, got, "Leave out sources and towards, then evaluate with any map")
        check_no_tokens(self.name, self.tokens)

    def fit_classes(self, labels: tuple[str, ...], classes: tuple[str, ...], logprobs: Floats, gold: Integers) -> LabelMap:
        """Fits the map on all classes of a classifier, without a correction of class shares; see `TrainableMap.fit_classes`."""
        sources = np.maximum(logprobs, LOG_TINY)
        fitted = self._regression(sources, np.zeros((len(gold), len(labels))), gold, sources)
        return LabelMap(sources=classes, labels=labels, weights=fitted.weights, bias=fitted.bias, over=self.over)

    def _regression(self, sources: Floats, anchor: Floats, gold: Integers, unlabeled: Floats) -> Regression:
        """Fits the regression; the weights for each label sum to 0, so that log-probabilities need no centering."""
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        fitted = fit_regression(centered(sources), anchor, gold, strengths, centered(unlabeled))
        return replace(fitted, weights=fitted.weights - fitted.weights.mean(0))

    def _initial_weights(self, data: FitData) -> Floats:
        """Returns the weights that give the scores to pull towards for the columns of `_inputs`, shape (columns, K)."""
        labels = len(data.labels)
        if self.towards == "semantic":
            vectors = data[self.name_vectors]
            weight = HAND_WRITTEN_WEIGHT if vectors.is_by_hand else 1.0
            return weight * assign_with_ties(centered_cosines(vectors.sources, vectors.labels))
        words = np.eye(labels) if self.towards == "verbalizer" else np.empty((0, labels))
        return np.vstack([np.zeros((len(self._source_names(data)), labels)), words])

    @property
    def _reads_sources(self) -> bool:
        return self.per_class > 0 or self.towards == "semantic"

    @property
    def _columns(self) -> tuple[RowNeed[object] | None, ...]:
        """The columns that the map reads: the source classes, then the label scores if it is pulled towards them."""
        sources = [None if self.sources == "words" else self.source_logprobs] if self._reads_sources else []
        return (*sources, *([None] if self.towards == "verbalizer" else []))

    def _inputs(self, outputs: Outputs) -> Floats:
        return np.maximum(joined(self._columns, outputs), LOG_TINY)

    def _sources(self, outputs: Outputs) -> Floats:
        return np.maximum(outputs.logprobs if self.sources == "words" else outputs[self.source_logprobs], LOG_TINY)

    def _source_names(self, data: FitData) -> tuple[str, ...]:
        if not self._reads_sources:
            return ()
        return data.labels if self.sources == "words" else data[self.source_logprobs]

    def _label_map(self, data: FitData, initial: Floats, weights: Floats, bias: Floats) -> LabelMap:
        words = tuple(f"[{label}]" for label in data.labels) if self.towards == "verbalizer" else ()
        sources = (*self._source_names(data), *words)
        named = assigned(initial, sources, data.labels) if self.towards == "semantic" else None
        return LabelMap(sources=sources, labels=data.labels, weights=weights, bias=bias, over=self.over, named=named)


def assign_with_ties(affinity: Floats) -> Floats:
    """Assigns source classes to labels by affinity, including ties, such as all hand-written classes of a label.

    Args:
        affinity: Shape (S, K).

    Returns:
        Weights of shape (S, K); the source classes of a label have equal weights, with the sum 1.
    """
    assigned = assign_greedily(affinity)
    tied = affinity >= (affinity * assigned).sum(0) - 1e-9
    taken_by_others = assigned.sum(1, keepdims=True) > assigned
    chosen = (tied & ~taken_by_others) | (assigned > 0)
    weights: Floats = chosen / chosen.sum(0)
    return weights


def centered(logprobs: Floats) -> Floats:
    """Subtracts its mean from each row, so that adding a constant to a row's logits has no effect."""
    difference: Floats = logprobs - logprobs.mean(1, keepdims=True)
    return difference
