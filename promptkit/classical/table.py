"""The table of all baselines."""

from __future__ import annotations

from promptkit.classical.baseline import Baseline
from promptkit.classical.frequent_answer import FrequentAnswer
from promptkit.classical.majority import Majority
from promptkit.classical.pixels import PixelRegression
from promptkit.classical.position import Position
from promptkit.classical.tfidf import TfidfRegression
from promptkit.tasks.spec import TaskSpec

BASELINES: tuple[Baseline, ...] = (Majority(), TfidfRegression(), PixelRegression(), Position(), FrequentAnswer())
"""All baselines, in the order of tables."""


def baselines_for(spec: TaskSpec) -> list[Baseline]:
    """Returns the baselines that can predict the answers of a task."""
    return [baseline for baseline in BASELINES if baseline.applies_to(spec)]
