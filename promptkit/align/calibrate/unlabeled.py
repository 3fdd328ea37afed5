"""Unlabeled rows on which a prior is estimated: rows of the fit part, or the evaluated rows themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from promptkit.align.logprobs import normalize_logprobs
from promptkit.align.unused import check_unused
from promptkit.core.errors import InputError
from promptkit.core.needs import Need, Outputs
from promptkit.needs.fit_rows import EvaluatedRows, FitRows

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.core.needs import FitData

ROWS = 128
"""The default number of rows of the fit part."""
EstimateOn = Literal["fit", "test"]
"""The fit part, or the evaluated rows (transductive: the prediction for a row then depends on the other rows)."""


def unlabeled_rows(
    estimate_on: EstimateOn, rows: int, per_label: int = 0, *, most_evaluated: int | None = None
) -> Need[Outputs]:
    """Returns the need for the rows.

    Args:
        estimate_on: Which rows.
        rows: The maximum number of rows of the fit part.
        per_label: The minimum number of rows for each label.
        most_evaluated: The maximum number of evaluated rows; all of them if None.
    """
    return FitRows(rows, per_label) if estimate_on == "fit" else EvaluatedRows(most_evaluated, per_label)


def unlabeled_logprobs(data: FitData, rows: Need[Outputs]) -> Floats:
    """Returns the normalized label log-probabilities of the rows, shape (rows, K)."""
    return normalize_logprobs(data[rows].logprobs)


def check_all_evaluated(name: str, estimate_on: EstimateOn, rows: int) -> None:
    """Raises InputError for a number of rows of a calibration that is estimated on all evaluated rows."""
    if estimate_on == "test":
        check_unused(name, "estimate_on=test", rows=(rows, ROWS))


def check_rows(name: str, rows: int) -> None:
    """Raises InputError for fewer than one row."""
    if rows < 1:
        raise InputError(
            f"The calibration {name} needs at least one row", code="out-of-range", got=f"rows={rows}", aligner=name, rows=rows
        )
