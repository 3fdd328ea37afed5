"""The table of all baselines."""

from __future__ import annotations

from promptkit.classical.baseline import AnyBaseline
from promptkit.classical.frequent_answer import FrequentAnswer
from promptkit.classical.frequent_fields import FrequentFields
from promptkit.classical.label_set import FrequentSet, TfidfLabels
from promptkit.classical.majority import Majority
from promptkit.classical.numbers import Mean, Median, TfidfRidge
from promptkit.classical.pixels import PixelRegression
from promptkit.classical.position import Position
from promptkit.classical.tfidf import TfidfRegression
from promptkit.tasks.spec import TaskSpec

BASELINES: tuple[AnyBaseline, ...] = (
    *(Majority(), TfidfRegression(), PixelRegression()),
    *(FrequentSet(), TfidfLabels()),
    *(Position(), FrequentAnswer(), FrequentFields()),
    *(Median(), Mean(), TfidfRidge()),
)
"""All baselines, in the order of tables."""


def baselines_for(spec: TaskSpec) -> list[AnyBaseline]:
    """Returns the baselines that can predict the answers of a task."""
    return [baseline for baseline in BASELINES if baseline.applies_to(spec)]
