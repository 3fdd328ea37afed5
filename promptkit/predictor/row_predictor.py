"""The protocol of what predicts rows: a predictor, or a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from promptkit.core.examples import Example
from promptkit.predictor.columns import Columns
from promptkit.predictor.decide.rule import Rule
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.predictions import Predictions
from promptkit.predictor.session import Unreadable
from promptkit.tasks.readers import Row


class RowSession(Protocol):
    """Predicts rows chunk by chunk."""

    def predict(self, rows: Sequence[Example | Unreadable]) -> Predictions:
        """Returns the predictions for rows; unreadable ones have an error instead."""
        ...


class RowPredictor(Protocol):
    """Predicts rows without labels."""

    @property
    def columns(self) -> Columns:
        """The columns that the inputs of a row are read from."""
        ...

    @property
    def out_of_fold(self) -> OutOfFold | None:
        """The probabilities of labeled rows that it was not fitted on, if they are known."""
        ...

    def rule(self, *, threshold: float | None = None, risk: float | None = None, sets: float | None = None) -> Rule | None:
        """Returns the rule that decides which rows are answered; None if every row is."""
        ...

    def predict(self, rows: object) -> Predictions:
        """Returns the predictions for rows."""
        ...

    def read_rows(self, rows: Sequence[Row], *, first: int = 1, folder: Path | None = None) -> Sequence[Example | Unreadable]:
        """Returns rows as examples; one that cannot be read is `Unreadable`."""
        ...

    def session(self) -> RowSession:
        """Returns a session, which predicts rows chunk by chunk."""
        ...

    def identity(self) -> Mapping[str, object]:
        """Returns everything that determines its predictions."""
        ...

    def notes(self) -> Sequence[str]:
        """Returns notes for readers of the predictions."""
        ...
