"""The options for the evaluated task and its rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import PositiveInt

from promptkit.config.values import Metavar, RelativePath
from promptkit.tasks.strict_model import StrictModel


class TaskOptions(StrictModel):
    """The task."""

    task: Annotated[str, RelativePath(or_name=True), Metavar("TASK")]
    """Name from `promptkit tasks`, task file (.yaml), or data file (csv, tsv, jsonl, parquet, xlsx)."""


class RowOptions(StrictModel):
    """The evaluated rows."""

    limit: PositiveInt | None = None
    """Evaluate only the N rows with the smallest hash of their id."""
    allow_seen: bool = False
    """Also evaluate rows that a learned prompt or a predictor was fitted on, and mark the figures."""
    folds: PositiveInt | None = None
    """Divide the rows into N folds and predict each fold from the others (1 for no folds); by default 5 for a single file of
    fewer than 500 rows."""
