"""Metrics and their confidence intervals: one file for each metric.

A new metric is a class with the attributes of `Metric`, registered by the decorator `register` or, in an installed package, by
an entry point of the group `promptkit.metrics` that names the class.
"""

from __future__ import annotations

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.metrics.table import METRICS

register = METRICS.register
"""Registers the class of a metric; tables, JSON, studies and comparisons then have it."""

__all__ = ["METRICS", "Metric", "MetricInput", "register"]
