"""Base classes of aligners that are learned from a few labeled rows: probes and label mappings.

The labeled rows come from the fit part of the train split, the same number for each label. They are neither demonstrations nor
evaluated rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from promptkit.align.logprobs import MAX_GAP
from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, LabeledOutputs, Needs, Outputs, RowNeed
from promptkit.core.state import stateful
from promptkit.core.taxonomy import OutputAlignment
from promptkit.needs.labeled_rows import LabeledRows

if TYPE_CHECKING:
    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.core.arrays import Floats


class Scorer(Protocol):
    """Computes label scores with fitted parameters. Implementations are frozen dataclasses with the decorator `stateful`."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The needs whose arrays it reads for each row."""
        ...

    def __call__(self, outputs: Outputs) -> Floats:
        """Returns label scores in natural-log units, shape (rows, K)."""
        ...


@stateful("fitted-aligner")
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAligner:
    """A learned aligner after fitting."""

    scorer: Scorer
    """Computes label scores."""
    label_map: LabelMap | None = None
    """The weights of source classes for each label, if the scores are a function of source classes."""
    labels_without_rows: tuple[int, ...] = ()
    """Indices of labels that had no labeled rows and are therefore never predicted."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The needs whose arrays `apply` reads for each row."""
        return self.scorer.reads

    def apply(self, outputs: Outputs) -> Floats:
        """Returns one score for each label, in natural-log units, shape (rows, K)."""
        scores = self.scorer(outputs)
        if self.labels_without_rows:
            best = np.delete(scores, self.labels_without_rows, axis=1).max(1, keepdims=True)
            scores[:, self.labels_without_rows] = best - MAX_GAP
        return scores


@dataclass(frozen=True, kw_only=True)
class LearnedAligner:
    """An aligner that is fitted on labeled rows.

    Subclasses implement `needs` and `fit_labeled`.

    Raises:
        InputError: A setting is out of range.
    """

    per_class: int = 16
    """Labeled rows for each label; all rows of a label that has fewer."""
    seed: int = 0
    """Random seed of the choice of labeled rows."""
    name: ClassVar[str]
    alignment: ClassVar[OutputAlignment] = "statistical"
    """Its coordinate in the taxonomy."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        if self.per_class < self.min_per_class:
            raise InputError(
                f"The aligner {self.name} needs a per_class of at least {self.min_per_class}",
                code="out-of-range",
                got=f"per_class={self.per_class}",
                aligner=self.name,
                per_class=self.per_class,
            )

    @property
    def min_per_class(self) -> int:
        """The fewest labeled rows for each label that it can be fitted on."""
        return 1

    @property
    def rows(self) -> LabeledRows:
        """The labeled rows that it is fitted on."""
        return LabeledRows(self.per_class, self.seed)

    @property
    def needs(self) -> Needs:
        """The labeled rows, and the outputs that the model must return for every row."""
        raise NotImplementedError

    @property
    def reads_scores(self) -> bool:
        """Whether it reads the label scores of the first aligner; False if it uses only other outputs of the model."""
        return False

    @property
    def supports_unseen_labels(self) -> bool:
        """Whether a label without labeled rows can be predicted, for example by its name or its label word."""
        return False

    def fit(self, data: FitData) -> FittedAligner:
        """Fits the aligner.

        Args:
            data: The labeled rows, and what else the aligner needs.
        """
        rows = data[self.rows]
        fitted = self.fit_labeled(data, rows)
        if self.supports_unseen_labels:
            return fitted
        unseen = np.setdiff1d(np.arange(len(data.labels)), rows.gold)
        return replace(fitted, labels_without_rows=tuple(unseen.tolist()))

    def fit_labeled(self, data: FitData, rows: LabeledOutputs) -> FittedAligner:
        """Fits the aligner on labeled rows.

        Args:
            data: What the aligner needs.
            rows: The labeled rows.
        """
        raise NotImplementedError


def check_tokens(name: str, tokens: int) -> None:
    """Raises InputError if an aligner has no source tokens."""
    if tokens < 1:
        raise InputError(
            f"The aligner {name} needs at least one source token",
            code="out-of-range",
            got=f"tokens={tokens}",
            aligner=name,
            tokens=tokens,
        )
