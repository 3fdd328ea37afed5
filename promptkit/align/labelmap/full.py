"""Full label map: a regularized linear map from the log-probabilities of all source classes to the labels.

    log q = log softmax(a z + x W + b) + log p - log p_0, normalized

x are the log-probabilities of the source classes minus their mean, so that only differences between source classes count. W is
penalized (see `regression`). Towards scores z that need no labels, it needs far fewer labeled rows than a plain linear map:

- `verbalizer`: z are the label scores of the first aligner: of the manual verbalizer, or of hand-written classes of an image
  model. A label without rows can still be predicted by its words.
- `semantic`: z = x W_0, where W_0 assigns each label the source class with the most similar name (see `semantic`), and the
  penalty is that of the distance of W from a W_0.
- `none`: z = 0, multinomial ridge regression.

Labeled rows are drawn evenly from the classes, and evaluated rows need not be. The class shares p of the latter are estimated
on unlabeled rows of the fit part, and those of the labeled rows, p_0, are divided out (see `shares`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.labelmap.injective import assign_greedily
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.labelmap.regression import STRENGTHS, fit_regression
from promptkit.align.labelmap.semantic import centered_cosines
from promptkit.align.labelmap.shares import estimate_shares, labeled_shares
from promptkit.align.learned import FittedAligner, LearnedAligner, check_tokens
from promptkit.align.logprobs import LOG_TINY, normalize_logprobs
from promptkit.core.alignment import FitData, Needs, Outputs, PerClass, TopTokens
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

SHARES_WEIGHT = 2048.0
"""Weight of the labeled rows' class shares in the estimate of the shares, divided by the number of labeled rows per class."""


@dataclass(frozen=True, kw_only=True)
class Full(LearnedAligner):
    """Learns a linear map from source classes to labels, penalized towards scores that need no labels.

    Raises:
        InputError: A setting is out of range.
    """

    towards: Literal["none", "verbalizer", "semantic"] = "none"
    """What the penalty pulls towards: nothing, the label scores of the first aligner, or source classes with similar names."""
    sources: Literal["tokens", "words"] = "tokens"
    """The source classes: the most likely tokens at the answer position, or the label words of the manual verbalizer."""
    tokens: int = 500
    """Number of source tokens; the same tokens for all rows, chosen by their mean probability over the labeled rows."""
    strength: float | None = None
    """C, the inverse of the penalty. By default it is chosen by cross-validation within the labeled rows, and is 1 if no label
    has two rows."""
    shares: Literal["estimated", "labeled"] = "estimated"
    """The class shares that are expected: estimated on unlabeled rows, or those of the labeled rows."""
    unlabeled: int = 128
    """Maximum number of unlabeled rows of the fit part, over which source classes are standardized and shares estimated."""
    name: ClassVar[str] = "full"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_tokens(self.name, self.tokens)
        if self.strength is not None and self.strength <= 0:
            raise self._out_of_range("strength", self.strength)
        if self.unlabeled < 1:
            raise self._out_of_range("unlabeled", self.unlabeled)

    def _out_of_range(self, option: str, value: float) -> InputError:
        message = f"The setting {option} of {self.name} must be greater than 0"
        return InputError(message, code="out-of-range", got=f"{option}={value}", aligner=self.name, option=option, value=value)

    @property
    def min_per_class(self) -> int:
        """The fewest labeled rows per label: none if there is something to pull towards."""
        return 1 if self.towards == "none" else 0

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label without rows can be predicted, by the scores that the map is pulled towards."""
        return self.towards != "none"

    @property
    def rows(self) -> PerClass:
        """The labeled rows; without any, the source tokens are still chosen by the prompts of one row of each label."""
        return PerClass(max(1, self.per_class), self.seed)

    @property
    def needs(self) -> Needs:
        """The labeled and unlabeled rows, the source tokens' log-probabilities, and their names if these are compared."""
        if self.per_class == 0 and self.towards == "verbalizer":
            return Needs()
        tokens = () if self.sources == "words" else (self.source_tokens,)
        return Needs(
            rows=self.unlabeled if self.per_class else 0,
            labels=True,
            labeled=(self.rows,),
            tokens=tokens,
            named_tokens=(self.source_tokens,) if self.towards == "semantic" else (),
            min_tokens_per_label=1 if self.towards == "semantic" and tokens else 0,
        )

    @property
    def source_tokens(self) -> TopTokens:
        """The tokens that are the source classes."""
        return TopTokens(self.tokens, self.rows)

    def fit(self, support: FitData, labels: Integers | None = None) -> FittedAligner:
        """Fits the map; without labeled rows the prediction is that of the scores that it is pulled towards."""
        if self.per_class == 0:
            none = np.empty(0, int)
            return self.fit_labeled(support, none, none)
        return super().fit(support, labels)

    def fit_labeled(self, support: FitData, rows: Integers, gold: Integers) -> FittedAligner:
        """Fits the map on labeled rows, and estimates the class shares on unlabeled ones."""
        label_map = self._map(support, rows, gold)

        def scores(outputs: Outputs) -> Floats:
            return label_map(self._inputs(outputs))

        if len(rows) and self.shares == "estimated":
            expected = labeled_shares(gold, len(support.labels))
            weight = SHARES_WEIGHT * len(support.labels) / len(rows)
            estimate = estimate_shares(scores(support.rows)[: self.unlabeled], expected, weight)
            label_map = replace(label_map, bias=label_map.bias + np.log(estimate / expected))
        return FittedAligner(scores=scores, label_map=label_map)

    def _map(self, support: FitData, rows: Integers, gold: Integers) -> LabelMap:
        """Fits the map before the correction of the class shares."""
        labels = support.labels
        initial = self._initial_weights(support)
        if not len(rows):
            return self._label_map(support, initial, np.zeros(len(labels)))
        inputs = self._inputs(support.rows)[rows]
        features = centered(self._source_logprobs(support.rows))
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        anchor = normalize_logprobs(inputs @ initial)
        fitted = fit_regression(features[rows], anchor, gold, strengths, features[: self.unlabeled])
        weights = fitted.anchor * initial
        weights[: features.shape[1]] += fitted.weights - fitted.weights.mean(0)
        return self._label_map(support, weights, fitted.bias)

    def _initial_weights(self, support: FitData) -> Floats:
        """Returns the weights that give the anchor's scores for the columns of `_inputs`, shape (columns, K)."""
        labels = len(support.labels)
        if self.towards == "semantic":
            label_vectors = support.label_vectors
            assert label_vectors is not None
            names = label_vectors if self.sources == "words" else support.name_vectors[self.source_tokens]
            return assign_greedily(centered_cosines(names, label_vectors))
        sources = self._source_logprobs(support.rows).shape[1] if self._reads_sources else 0
        anchor = np.eye(labels) if self.towards == "verbalizer" else np.empty((0, labels))
        return np.vstack([np.zeros((sources, labels)), anchor])

    @property
    def _reads_sources(self) -> bool:
        return self.per_class > 0 or self.towards == "semantic"

    def _inputs(self, outputs: Outputs) -> Floats:
        """Returns the columns that the map reads: the source classes, then the label scores if it is pulled towards them."""
        columns = [self._source_logprobs(outputs)] if self._reads_sources else []
        if self.towards == "verbalizer":
            columns.append(np.maximum(outputs.logprobs, LOG_TINY))
        return np.hstack(columns)

    def _source_logprobs(self, outputs: Outputs) -> Floats:
        return np.maximum(outputs.logprobs if self.sources == "words" else outputs.tokens[self.source_tokens], LOG_TINY)

    def _label_map(self, support: FitData, weights: Floats, bias: Floats) -> LabelMap:
        sources = (
            support.labels if self.sources == "words" else support.names[self.source_tokens] if self._reads_sources else ()
        )
        if self.towards == "verbalizer":
            sources = (*sources, *(f"[{label}]" for label in support.labels))
        return LabelMap(sources=sources, labels=support.labels, weights=weights, bias=bias, over="logprobs")


def centered(logprobs: Floats) -> Floats:
    """Subtracts from each row its mean, so that a constant that is added to a row's logits has no effect."""
    difference: Floats = logprobs - logprobs.mean(1, keepdims=True)
    return difference
