"""Names of calibrations, by the kind of task that they are for."""

from __future__ import annotations

from promptkit.align.chain import CALIBRATIONS

MULTI_LABEL = ("label-batch", "label-threshold")
"""Calibrations of tasks in which any number of labels can apply to a row."""
ONE_LABEL = tuple(name for name in CALIBRATIONS if name not in MULTI_LABEL)
"""Calibrations of tasks in which each row has one label."""
