"""The results of baselines without a pretrained model on the rows of a run, and the differences of its branches from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.paired_tests import paired_test
from promptkit.metrics.requested import chosen, chosen_estimates
from promptkit.metrics.table import difference, estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineResult:
    """The results of one baseline on the rows of a run."""

    name: str
    """Name of the baseline, such as `tfidf`."""
    description: str
    """Its description in captions of tables."""
    metrics: Mapping[str, Mapping[str, float]]
    """Metric -> `value`, and `low` and `high` of its 95% interval."""
    predicted: Mapping[str, int]
    """Label or choice -> number of rows that it is predicted for; empty for free answers."""
    predictions: tuple[str, ...]
    """The prediction for each row, in the run's order."""
    metric_input: MetricInput
    """The input of the metrics."""

    def with_metrics(self, requested: Sequence[Metric]) -> Self:
        """Returns the result with the metrics that a user requests, as far as they apply to the baseline."""
        metrics = chosen([metric for metric in requested if metric.applies_to(self.metric_input)], self.metric_input)
        return replace(self, metrics=chosen_estimates(metrics, self.metric_input, self.metrics))

    def to_json(self) -> dict[str, object]:
        """Returns its name, its description, the metrics and the number of predictions of each answer."""
        return {"name": self.name, "description": self.description, "metrics": self.metrics, "predicted": self.predicted}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineDifference:
    """The difference of the main metric between a branch of a run and a baseline, paired by row."""

    align: str
    """Name of the branch."""
    baseline: str
    """Name of the baseline, which is subtracted."""
    metric: str
    """Name of the metric."""
    estimate: Estimate
    """The difference with its 95% bootstrap interval."""
    p: float
    """Its two-sided p-value; for accuracy and exact match, of McNemar's exact test."""

    def to_json(self) -> dict[str, object]:
        """Returns the names, the difference, its interval and p."""
        return {"align": self.align, "baseline": self.baseline, "metric": self.metric, **asdict(self.estimate), "p": self.p}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The results of baselines on the rows of a run."""

    rows: int
    """The number of labeled rows that each was fitted on; with folds, the smallest number of all folds."""
    folds: int = 0
    """Number of folds, each predicted by baselines that are fitted on the other folds; 0 without folds."""
    results: tuple[BaselineResult, ...]
    """The result of each baseline, at least one."""
    metric: Metric | None = None
    """The metric that is compared: the main metric of the run, if it applies to baselines; None before `compared_with`."""
    differences: tuple[BaselineDifference, ...] = ()
    """The difference of each branch from each baseline; empty before `compared_with`."""

    def compared_with(
        self, branches: Mapping[str, MetricInput], requested: Sequence[Metric], metrics: Sequence[Metric]
    ) -> Self:
        """Returns the results with the differences of the branches of a run, which tables, notes and JSON show.

        Args:
            branches: Name of a branch -> the input of its metrics.
            requested: The metrics that were requested.
            metrics: The metrics of the run. The first one that applies to the baselines is compared.
        """
        results = tuple(result.with_metrics(requested) for result in self.results)
        metric = next(each for each in metrics if all(each.applies_to(result.metric_input) for result in results))
        pairs = [(result, align, rows) for align, rows in branches.items() for result in results]
        differences = tuple(_difference(*pair, metric) for pair in pairs)
        return replace(self, results=results, metric=metric, differences=differences)

    @property
    def best(self) -> BaselineResult:
        """The baseline with the best value of the compared metric; ties go to the last, which learns more than those before it.

        Before `compared_with` it is the one with the most correct rows.
        """
        return max(reversed(self.results), key=self._quality)

    def _quality(self, result: BaselineResult) -> float:
        """Returns the value of the compared metric, so that higher is better."""
        if self.metric is None:
            return float(result.metric_input.correct.mean())
        return self._sign * estimate(self.metric, result.metric_input).value

    @property
    def _sign(self) -> int:
        """1 if a higher value of the compared metric is better, else -1."""
        return 1 if self.metric is None or self.metric.higher_is_better else -1

    def differences_from_best(self) -> dict[str, BaselineDifference]:
        """Returns the difference of each branch from the best baseline, by the name of the branch."""
        best = self.best.name
        return {each.align: each for each in self.differences if each.baseline == best}

    def to_json(self) -> dict[str, object]:
        """Returns the results and the differences as JSON values."""
        return {
            "rows": self.rows,
            **({"folds": self.folds} if self.folds else {}),
            "results": [result.to_json() for result in self.results],
            "differences": [difference.to_json() for difference in self.differences],
        }

    def notes(self) -> list[str]:
        """Returns a note if a baseline is better than every branch, each by a difference whose interval excludes 0."""
        estimates = [each.estimate for each in self.differences_from_best().values()]
        if not all(max(self._sign * each.low, self._sign * each.high) < 0 for each in estimates):
            return []
        which = "the model" if len(estimates) == 1 else "every alignment of the model"
        return [f"{self.best.name}, which needs no model, is better than {which}"]

    def describe(self) -> list[str]:
        """Returns the lines of a table's caption about the baselines."""
        each = [f"{result.name} ({result.description})" for result in self.results]
        where = f"{self.rows} or more labeled rows of the other folds" if self.folds else f"{self.rows} labeled rows"
        title, best = "" if self.metric is None else self.metric.title, self.best.name
        return [
            f"vs. {best}: {title} minus that of {best}, paired by row (bootstrap)",
            f"no model: {', '.join(each)}; fitted on {where}",
        ]


def _difference(baseline: BaselineResult, align: str, rows: MetricInput, metric: Metric) -> BaselineDifference:
    """Returns the difference of a metric between a branch and a baseline, which is subtracted."""
    return BaselineDifference(
        align=align,
        baseline=baseline.name,
        metric=metric.name,
        estimate=difference(metric, rows, baseline.metric_input),
        p=paired_test(metric, baseline.metric_input, rows).p,
    )


def count_predictions(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Returns how often each label is predicted; without labels, how often each predicted answer is."""
    return {label: predictions.count(label) for label in labels or sorted(set(predictions))}
