"""Calibrations after fitting, which need no further labeled rows and can be saved and applied to new rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from promptkit.align.labelmap.mapping import LabelMap, label_map_of
from promptkit.core.calibration import Calibration, DeclaresReads, DeclaresScores, Fitted
from promptkit.core.errors import Unsupported
from promptkit.core.needs import FitData, Need, Needs, Outputs, RowNeed, with_required
from promptkit.core.state import State, from_state, is_saveable, stateful, to_state

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Fix = Callable[[Need[object]], Need[object]]
"""Returns a need with the same value for other rows, which uses no rows of the fit part; see `Need.fixed`."""


def fit_calibration(
    calibration: Calibration, data: FitData, fix: Fix, *, one_context: bool
) -> FittedCalibration | ContextCalibration:
    """Fits a calibration for rows that are not known yet.

    A calibration whose needs are the same for all rows is fitted now. One that depends on each row's context or answer choices
    is fitted while predicting, with the words and tokens that were drawn from the fit part.

    Args:
        calibration: The calibration.
        data: What it is fitted on.
        fix: Returns what a need becomes for new rows.
        one_context: Whether all rows have the same demonstrations.

    Raises:
        Unsupported: The calibration needs both labeled rows and the context of each row (`needs-rows-and-context`).
    """
    has_labels = bool(data.labels)
    if all(need.is_shared(has_labels=has_labels, one_context=one_context) for need in calibration.needs):
        fitted = calibration.fit(data)
        reads = tuple((need, _fixed_row_need(need, fix)) for need in _reads(calibration, fitted))
        return FittedCalibration(
            name=calibration.name, reads_scores=_reads_scores(calibration), fitted=_canonical(fitted), reads=reads
        )
    pairs = tuple((need, fix(need)) for need in calibration.needs)
    if any(fixed.uses_fit_part for _, fixed in pairs):
        raise Unsupported(
            f"The calibration {calibration.name} needs rows of the fit part for each context, so it cannot be fitted once",
            code="needs-rows-and-context",
            hint="Use demonstrations that are the same for all rows, or another calibration",
            calibration=calibration.name,
        )
    return ContextCalibration(original=calibration, pairs=pairs)


def _reads(calibration: Calibration, fitted: Fitted) -> list[RowNeed[object]]:
    """Returns the needs whose arrays a fitted calibration reads; all needs of the calibration if it does not declare them."""
    if isinstance(fitted, DeclaresReads):
        return [*fitted.reads]
    return [need for need in with_required(calibration.needs) if isinstance(need, RowNeed)]


def _fixed_row_need(need: RowNeed[object], fix: Fix) -> RowNeed[object]:
    fixed = fix(need)
    assert isinstance(fixed, RowNeed), "RowNeed.fixed returns a RowNeed"
    return fixed


def _reads_scores(calibration: Calibration) -> bool:
    return not isinstance(calibration, DeclaresScores) or calibration.reads_scores


def _canonical(fitted: Fitted) -> Fitted:
    """Returns a fitted calibration as it is after saving and loading, so that both give the same bytes."""
    if not is_saveable(fitted):
        return fitted
    canonical = from_state(to_state(fitted))
    assert isinstance(canonical, type(fitted))
    return canonical


@stateful("fitted-calibration")
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibration:
    """A fitted calibration, as a calibration that needs no rows to be fitted on."""

    name: str
    """The name of the original calibration."""
    reads_scores: bool
    """Whether it reads the label scores of the first aligner."""
    fitted: Fitted
    """The fitted calibration."""
    reads: tuple[tuple[RowNeed[object], RowNeed[object]], ...]
    """Each need whose arrays the fitted calibration reads, and the need that reads the same for new rows."""
    per_context: ClassVar[bool] = False

    @property
    def needs(self) -> Needs:
        """What is read for new rows."""
        return tuple(fixed for _, fixed in self.reads)

    @property
    def state(self) -> State:
        """The fitted calibration as a JSON value and arrays.

        Raises:
            InputError: It contains something that cannot be saved (`not-saveable`).
        """
        return to_state(self, self.name)

    def fit(self, data: FitData) -> RenamedReads:
        """Returns the fitted calibration; the data is not used."""
        return RenamedReads(fitted=self.fitted, reads=dict(self.reads))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedReads:
    """A fitted calibration that finds its arrays under other needs."""

    fitted: Fitted
    reads: Mapping[RowNeed[object], RowNeed[object]]
    """Need of the fitted calibration -> need of the outputs."""

    @property
    def label_map(self) -> LabelMap | None:
        """The weights of source classes for each label, if the scores are a function of source classes."""
        return label_map_of(self.fitted)

    def apply(self, outputs: Outputs) -> Floats:
        """Returns label log-probabilities, shape (rows, K)."""
        return self.fitted.apply(replace(outputs, reads={need: outputs[fixed] for need, fixed in self.reads.items()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextCalibration:
    """A calibration that is fitted on the contexts or answer choices of the predicted rows, and on no labeled row."""

    original: Calibration
    pairs: tuple[tuple[Need[object], Need[object]], ...]
    """Each need of the calibration, and the need with the same value that uses no rows of the fit part."""
    per_context: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of the calibration."""
        return self.original.name

    @property
    def reads_scores(self) -> bool:
        """Whether it reads the label scores of the first aligner."""
        return _reads_scores(self.original)

    @property
    def needs(self) -> Needs:
        """What is collected for new rows."""
        return tuple(fixed for _, fixed in self.pairs)

    @property
    def state(self) -> State:
        """The needs as a JSON value and arrays.

        Raises:
            InputError: A need contains something that cannot be saved (`not-saveable`).
        """
        return to_state(self.pairs, self.name)

    def fit(self, data: FitData) -> Fitted:
        """Fits the calibration on the contexts of the rows."""
        values: dict[Need[object], object] = {need: data[fixed] for need, fixed in self.pairs}
        fitted = self.original.fit(replace(data, values=values))
        rows = {need: fixed for need, fixed in self.pairs if isinstance(need, RowNeed) and isinstance(fixed, RowNeed)}
        return RenamedReads(fitted=fitted, reads=rows) if rows else fitted


def read_fitted(state: State, original: Calibration, *, per_context: bool) -> FittedCalibration | ContextCalibration:
    """Returns the fitted calibration with a state.

    Args:
        state: The state, as the property `state` of a fitted calibration.
        original: The calibration before it was fitted.
        per_context: Whether it is fitted on each row's context while predicting.
    """
    value = from_state(state)
    if per_context:
        return ContextCalibration(original=original, pairs=cast("tuple[tuple[Need[object], Need[object]], ...]", value))
    assert isinstance(value, FittedCalibration)
    return value
