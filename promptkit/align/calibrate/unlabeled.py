"""The unlabeled rows on which a prior is estimated: the fit part's, or the very rows that are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from promptkit.align.calibrate.probabilities import normalized
from promptkit.core.alignment import FitData, Needs
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

EstimateOn = Literal["fit", "test"]
"""`test` is transductive: what is said of one row depends on the others."""


def needed(estimate_on: EstimateOn, rows: int) -> Needs:
    """Rows of the fit part, unless those that are evaluated serve."""
    return Needs(rows=rows if estimate_on == "fit" else 0)


def seen(support: FitData, estimate_on: EstimateOn, rows: int | None) -> Floats:
    """Log-probabilities of at most so many rows, shape (rows, K), normalized."""
    return normalized((support.rows if estimate_on == "fit" else support.items).logprobs[:rows])


def check_rows(name: str, rows: int) -> None:
    """Refuse to estimate anything on nothing."""
    if rows < 1:
        raise InputError(
            f"The calibration {name} needs at least one row", code="out-of-range", got=f"rows={rows}", aligner=name, rows=rows
        )
