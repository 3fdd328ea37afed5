"""The estimated quality of a predictor: its results on labeled rows that it was not fitted on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Figure(BaseModel):
    """A metric with its 95% interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


class Estimate(BaseModel):
    """The results of a predictor on labeled rows that it was not fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    """The name of the task."""
    split: str
    """The split that was evaluated."""
    rows: int
    """The number of evaluated rows."""
    folds: int = 0
    """The number of folds, each predicted by a predictor that was fitted on the others; 0 if the rows were held out."""
    metrics: dict[str, Figure]
    """The metrics by name."""
    baselines: dict[str, dict[str, Figure]] = {}
    """The metrics of baselines without a pretrained model on the same rows, by the name of the baseline."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know."""
    command: str = ""
    """The command that repeats the evaluation."""
