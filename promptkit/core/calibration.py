"""Protocol of later aligners: calibrations, probes and label mappings. The package `align` implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from promptkit.core.needs import FitData, Needs, Outputs, RowNeed

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Fitted(Protocol):
    """A fitted calibration, probe or label mapping."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns label log-probabilities, shape (rows, K). Each row's result depends only on that row."""
        ...


@runtime_checkable
class Calibration(Protocol):
    """A later aligner: maps label log-probabilities, source classes or hidden states to label log-probabilities.

    Implementations are dataclasses whose fields are everything that determines a result.
    """

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def needs(self) -> Needs:
        """What `fit` needs in addition to the evaluated rows."""
        ...

    def fit(self, data: FitData) -> Fitted:
        """Fits it.

        Args:
            data: What it may be fitted on: the evaluated rows without labels, and the value of each of its needs.
        """
        ...


@runtime_checkable
class DeclaresReads(Protocol):
    """A fitted calibration that declares which needs it reads. One without this property may read all needs for rows."""

    @property
    def reads(self) -> tuple[RowNeed[object], ...]:
        """The needs whose arrays `apply` reads for each row."""
        ...


@runtime_checkable
class DeclaresScores(Protocol):
    """A later aligner that may work without label scores. Aligners without this property need them."""

    @property
    def reads_scores(self) -> bool:
        """Whether it reads the label scores of the first aligner."""
        ...


@runtime_checkable
class DeclaresLogOdds(Protocol):
    """A later aligner for rows with any number of labels: `Outputs.logprobs`, and what it returns, are log-odds of each label.

    Aligners without this property are for rows with one label.
    """

    @property
    def reads_log_odds(self) -> bool:
        """Whether it reads the log-odds of each label."""
        ...


@runtime_checkable
class EstimatesPrior(Protocol):
    """A calibration that estimates the label prior on rows of the fit part or on the evaluated rows."""

    @property
    def estimate_on(self) -> Literal["fit", "test"]:
        """The rows that the prior is estimated on."""
        ...

    @property
    def rows(self) -> int:
        """The maximum number of rows of the fit part."""
        ...

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether it assumes that the classes are about equal in these rows."""
        ...
