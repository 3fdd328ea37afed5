"""Unlabeled rows on which a prior is estimated: rows of the fit part, or the evaluated rows themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.alignment import FitData, Needs
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

EstimateOn = Literal["fit", "test"]
"""The fit part, or the evaluated rows (transductive: the prediction for a row then depends on the other rows)."""


def unlabeled_needs(estimate_on: EstimateOn, rows: int) -> Needs:
    """Returns the need for rows of the fit part, or no needs if the evaluated rows are used."""
    return Needs(rows=rows if estimate_on == "fit" else 0)


def unlabeled_logprobs(support: FitData, estimate_on: EstimateOn, rows: int | None) -> Floats:
    """Returns the normalized label log-probabilities of at most `rows` rows, shape (rows, K)."""
    return normalize_logprobs((support.rows if estimate_on == "fit" else support.items).logprobs[:rows])


def check_rows(name: str, rows: int) -> None:
    """Raises InputError for fewer than one row."""
    if rows < 1:
        raise InputError(
            f"The calibration {name} needs at least one row", code="out-of-range", got=f"rows={rows}", aligner=name, rows=rows
        )
