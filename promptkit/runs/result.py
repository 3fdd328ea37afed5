"""The results of one branch of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.metrics.requested import RequestedMetric, chosen, chosen_estimates, name_of
from promptkit.metrics.table import row_values

if TYPE_CHECKING:
    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The results of one branch of a run, that is, of one chain of aligners."""

    align: str
    """Name of the branch, such as `contextual`."""
    metrics: Mapping[str, Mapping[str, float]]
    """Metric -> `value`, and `low` and `high` of its 95% interval."""
    predicted: Mapping[str, int]
    """Label or choice -> number of rows that it is predicted for; empty for generated texts."""
    predictions: tuple[str | None, ...]
    """The prediction for each row; None if no answer was found in the reply or the generated text, or the row was skipped."""
    metric_input: MetricInput
    """The input of the metrics; rows and labels are in the run's order."""
    requested: tuple[Metric, ...] = ()
    """The metrics that were requested; the first one is the main metric."""
    label_maps: Mapping[int, LabelMap] = field(default_factory=dict)
    """The label map of each fold, if the branch has label maps; the key is 0 for a run without folds."""

    @property
    def chosen(self) -> dict[str, Metric]:
        """The metrics by name, the main one first: those that were requested, then the default ones."""
        return chosen(self.requested, self.metric_input)

    def with_metrics(self, requested: Sequence[RequestedMetric]) -> Self:
        """Returns the result with the metrics that a user requests before the default ones.

        Raises:
            InputError: A metric does not apply to the predictions.
        """
        metrics = chosen(requested, self.metric_input)
        values = chosen_estimates(metrics, self.metric_input, self.metrics)
        return replace(self, metrics=values, requested=tuple(metrics[name_of(each)] for each in requested))

    @property
    def logprobs(self) -> Floats:
        """Calibrated log-probabilities, shape (N, K); -inf where a row has fewer than K choices and for rows
        without an answer; K is 0 for generated texts."""
        return self.metric_input.logprobs

    @property
    def correct(self) -> Floats:
        """1.0 for each correct prediction, 0.0 for the others, shape (N,)."""
        return self.metric_input.correct

    @property
    def shares(self) -> dict[str, Floats]:
        """The value of each row, shape (N,), by metric, for metrics that are a share of rows."""
        values = {name: row_values(metric, self.metric_input) for name, metric in self.chosen.items()}
        return {name: shares for name, shares in values.items() if shares is not None}

    def to_json(self) -> dict[str, object]:
        """Returns the metrics and the number of predictions of each label."""
        return {"align": self.align, "metrics": self.metrics, "predicted": self.predicted}


def named_label_maps(results: Sequence[Result]) -> dict[str, LabelMap]:
    """Returns the label maps of results by the names of their branches, and of their folds if there are folds."""
    return {
        f"{result.align}, fold {fold}" if fold else result.align: label_map
        for result in results
        for fold, label_map in result.label_maps.items()
    }
