"""The table of all metrics, and their values with intervals."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.core.registry import Registry
from promptkit.metrics.accuracy import Accuracy
from promptkit.metrics.base import Family, Metric
from promptkit.metrics.between_folds import design_effect
from promptkit.metrics.bleu import BLEU
from promptkit.metrics.brier import Brier
from promptkit.metrics.by_label import LabelF1, LabelPrecision, LabelRecall
from promptkit.metrics.chrf import ChrF
from promptkit.metrics.ece import ECE
from promptkit.metrics.exact_match import ExactMatch
from promptkit.metrics.field_mean import FieldMean
from promptkit.metrics.fields import FieldMatch
from promptkit.metrics.function import FunctionMetric
from promptkit.metrics.intervals import (
    Estimate,
    Statistic,
    Subset,
    bootstrap,
    mean_of,
    mean_share,
    paired_difference,
    resamples,
    widened,
)
from promptkit.metrics.jaccard import Jaccard
from promptkit.metrics.kappa import QuadraticKappa
from promptkit.metrics.log_loss import LogLoss
from promptkit.metrics.macro_f1 import MacroF1
from promptkit.metrics.mae import MAE
from promptkit.metrics.micro_f1 import MicroF1
from promptkit.metrics.no_answer import NoAnswer
from promptkit.metrics.no_answer_samples import NoAnswerSamples
from promptkit.metrics.rouge import Rouge1, Rouge2, RougeL
from promptkit.metrics.spearman import Spearman
from promptkit.metrics.squad_exact_match import SquadExactMatch
from promptkit.metrics.subset_accuracy import SubsetAccuracy
from promptkit.metrics.token_f1 import TokenF1
from promptkit.metrics.valid_json import ValidJson
from promptkit.metrics.vote_accuracy import VoteAccuracy

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def as_metric(added: object, name: str | None = None) -> Metric | None:
    """Returns the metric that a class or a function defines; a metric itself is unchanged, and anything else is None.

    Args:
        added: The class, the function or the metric.
        name: The name of a metric that is a function; by default that of the function.
    """
    if isinstance(added, FunctionType):
        named = name or added.__name__
        return FunctionMetric(named, added) if named.isidentifier() else None
    try:
        metric = added() if isinstance(added, type) else added
    except TypeError:  # a class that needs arguments
        return None
    return metric if isinstance(metric, Metric) else None


class MetricTable(Registry[Metric]):
    """A table of metrics by name: classes that are created without arguments, and functions of a row."""

    def _entry(self, added: object) -> tuple[str, Metric]:
        metric = as_metric(added)
        if metric is None:
            hint = f"It needs the attributes of {Metric.__module__}.{Metric.__qualname__}"
            raise self._incomplete(added, "A metric must be a class that implements the protocol Metric, or a function", hint)
        return metric.name, metric


METRICS = MetricTable(
    "metric",
    (
        *(Accuracy, MicroF1, MacroF1, Jaccard, SubsetAccuracy, ECE, Brier, LogLoss),
        *(ExactMatch, FieldMean, ValidJson, SquadExactMatch, TokenF1, BLEU, ChrF, Rouge1, Rouge2, RougeL),
        *(MAE, QuadraticKappa, Spearman),
        *(NoAnswer, NoAnswerSamples),
    ),
    group="promptkit.metrics",
)
"""All metrics by name, in the order of tables and JSON. The first one that applies to predictions is their main metric."""


ROUNDING = 1e-9
"""How far a share may be outside of 0 to 1 by rounding."""


FAMILIES = tuple(Family(kind.prefix, kind.members) for kind in (VoteAccuracy, FieldMatch, LabelPrecision, LabelRecall, LabelF1))
"""The families of metrics, with one metric for each member of the predictions, such as each field of a JSON answer."""


def applicable(rows: MetricInput) -> dict[str, Metric]:
    """Returns the metrics that apply to predictions, by name: first from `METRICS`, then from `FAMILIES`."""
    members = (metric for family in FAMILIES for metric in family.members(rows))
    return {metric.name: metric for metric in (*METRICS.values(), *members) if metric.applies_to(rows)}


def defaults(rows: MetricInput) -> dict[str, Metric]:
    """Returns the metrics that apply to predictions and are computed without being requested; the first is the main metric."""
    return {name: metric for name, metric in applicable(rows).items() if metric.is_default}


def _values(metric: Metric, rows: MetricInput) -> Floats | Subset | Statistic:
    """Returns the values of a metric, after a check that its interval can be computed from them.

    Raises:
        InputError: They are not one finite number per row, or not shares if the interval is Wilson's.
    """
    values = metric.values(rows)
    if isinstance(values, Subset):
        return values
    if not isinstance(values, np.ndarray):
        if metric.interval == "wilson" or not callable(values):
            raise _invalid(metric, rows, type(values).__name__)
        return values
    low, high = (-ROUNDING, 1 + ROUNDING) if metric.interval == "wilson" else (-np.inf, np.inf)
    if values.shape != (len(rows),) or not (np.isfinite(values) & (low <= values) & (values <= high)).all():
        raise _invalid(metric, rows, f"an array of shape {values.shape} with the values {values.ravel()[:5].tolist()}, ...")
    return values


def _invalid(metric: Metric, rows: MetricInput, got: str) -> InputError:
    needed = "a share (0 to 1) per row" if metric.interval == "wilson" else "a finite number per row, or a statistic"
    return InputError(
        f"No interval can be computed from the values of the metric {metric.name}",
        code="invalid-metric-values",
        got=got,
        hint=f"Return {needed}",
        metric=metric.name,
        rows=len(rows),
    )


def row_values(metric: Metric, rows: MetricInput) -> Floats | None:
    """Returns the value of each row, shape (N,), of a metric that is a share of rows; None for other metrics."""
    values = _values(metric, rows)
    return values if metric.interval == "wilson" and isinstance(values, np.ndarray) else None


def statistic(metric: Metric, rows: MetricInput) -> Statistic:
    """Returns a metric as a statistic of resampled rows."""
    return _statistic(_values(metric, rows))


def _statistic(values: Floats | Subset | Statistic) -> Statistic:
    if isinstance(values, Subset):
        return values.statistic()
    return mean_of(values) if isinstance(values, np.ndarray) else values


def estimate(metric: Metric, rows: MetricInput) -> Estimate:
    """Returns the value of a metric with its interval.

    If each fold has its own predictor, the interval contains the variance between them. For a metric that is no mean over rows,
    this variance is estimated from the correct rows of each fold.
    """
    values = _values(metric, rows)
    if isinstance(values, Subset):
        return values.estimate(rows.folds)
    if metric.interval == "wilson" and isinstance(values, np.ndarray):
        return mean_share(values, rows.folds)
    estimated = bootstrap(_statistic(values), resamples(len(rows)), bounds=metric.bounds)
    if not np.isfinite([estimated.value, estimated.low, estimated.high]).all():
        raise _invalid(metric, rows, str(estimated))
    effect = design_effect(values if isinstance(values, np.ndarray) else rows.correct, rows.folds)
    return widened(estimated, effect**0.5, bounds=metric.bounds)


def value_of(metric: Metric, rows: MetricInput) -> float:
    """Returns the value of a metric without its interval, which takes longer."""
    return float(statistic(metric, rows)(np.ones((1, len(rows))))[0])


def estimates(rows: MetricInput) -> dict[str, Estimate]:
    """Returns the default metrics of predictions, by name."""
    return {name: estimate(metric, rows) for name, metric in defaults(rows).items()}


def rounded_estimates(rows: MetricInput) -> dict[str, dict[str, float]]:
    """Returns the default metrics of predictions, as they are written to files."""
    return {name: each.rounded() for name, each in estimates(rows).items()}


def difference(metric: Metric, minuend: MetricInput, subtrahend: MetricInput) -> Estimate:
    """Returns the difference of a metric between two predictions of the same rows, with its paired bootstrap interval.

    Args:
        metric: A metric that applies to both.
        minuend: The predictions for N rows.
        subtrahend: The predictions for the same rows, in the same order, whose metric is subtracted.
    """
    first, second = _values(metric, minuend), _values(metric, subtrahend)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return paired_difference(first, second)
    one, other = _statistic(first), _statistic(second)
    width = metric.bounds[1] - metric.bounds[0]

    def subtracted(weights: Floats) -> Floats:
        differences: Floats = one(weights) - other(weights)
        return differences

    return bootstrap(subtracted, resamples(len(minuend)), bounds=(-width, width))
