"""The option for the metrics of an evaluation."""

from __future__ import annotations

from typing import Annotated

from promptkit.config.values import Metavar, RelativePath, Spellings
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel


class MetricOptions(StrictModel):
    """The metrics besides the default ones."""

    metric: Annotated[Spellings, Metavar("NAME"), RelativePath(before=":"), NamesFrom("promptkit.metrics:METRICS")] = ()
    """Metrics besides the default ones, separated by commas, or your own as FILE.py:NAME; the first is the main metric, which
    comparisons use: {names}."""
