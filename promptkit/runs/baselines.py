"""The results of baselines without a pretrained model on the rows of a run, and the differences of its branches from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.intervals import Estimate, mcnemar, paired_difference

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


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
    estimate: Estimate
    """The difference of the accuracy (or exact match) with its 95% bootstrap interval."""
    p: float
    """p of McNemar's exact two-sided test."""

    def to_json(self) -> dict[str, object]:
        """Returns the names, the difference, its interval and p."""
        return {"align": self.align, "baseline": self.baseline, **asdict(self.estimate), "p": self.p}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The results of baselines on the rows of a run."""

    rows: int
    """The number of labeled rows that each was fitted on; with folds, the smallest number of all folds."""
    folds: int = 0
    """Number of folds, each predicted by baselines that are fitted on the other folds; 0 without folds."""
    results: tuple[BaselineResult, ...]
    """The result of each baseline, at least one."""
    differences: tuple[BaselineDifference, ...] = ()
    """The difference of each branch from each baseline; empty before `compared_with`."""

    def compared_with(self, branches: Mapping[str, Floats]) -> Baselines:
        """Returns the results with the differences of the branches of a run, which tables, notes and JSON show.

        Args:
            branches: Name of a branch -> 1.0 for each of its correct predictions, 0.0 for the others, shape (N,).
        """
        pairs = ((result, align, correct) for align, correct in branches.items() for result in self.results)
        return replace(self, differences=tuple(_difference(*pair) for pair in pairs))

    def differences_from_best(self) -> dict[str, BaselineDifference]:
        """Returns the difference of each branch from the best baseline, by the name of the branch."""
        return {each.align: each for each in self.differences if each.baseline == self.best.name}

    @property
    def best(self) -> BaselineResult:
        """The baseline with the most correct rows; ties go to the last, which learns more than the ones before it."""
        return max(reversed(self.results), key=lambda result: result.metric_input.correct.sum())

    def to_json(self) -> dict[str, object]:
        """Returns the results and the differences as JSON values."""
        return {
            "rows": self.rows,
            **({"folds": self.folds} if self.folds else {}),
            "results": [result.to_json() for result in self.results],
            "differences": [difference.to_json() for difference in self.differences],
        }

    def notes(self) -> list[str]:
        """Returns a note if a baseline is better than every branch, each by a difference whose interval is below 0."""
        differences = self.differences_from_best().values()
        if not all(difference.estimate.high < 0 for difference in differences):
            return []
        which = "the model" if len(differences) == 1 else "every alignment of the model"
        return [f"{self.best.name}, which needs no model, is better than {which}"]

    def describe(self, metric: str) -> list[str]:
        """Returns the lines of a table's caption about the baselines.

        Args:
            metric: The title of the main metric.
        """
        each = [f"{result.name} ({result.description})" for result in self.results]
        where = f"{self.rows} or more labeled rows of the other folds" if self.folds else f"{self.rows} labeled rows"
        return [
            f"vs. {self.best.name}: {metric} minus that of {self.best.name}, paired by row (bootstrap)",
            f"no model: {', '.join(each)}; fitted on {where}",
        ]


def _difference(baseline: BaselineResult, align: str, correct: Floats) -> BaselineDifference:
    """Returns the difference of the main metric between a branch and a baseline.

    Args:
        baseline: The baseline, which is subtracted.
        align: Name of the branch.
        correct: 1.0 for each correct prediction of the branch, 0.0 for the others, shape (N,).
    """
    other = baseline.metric_input.correct
    return BaselineDifference(
        align=align,
        baseline=baseline.name,
        estimate=paired_difference(correct, other),
        p=mcnemar(int((correct > other).sum()), int((other > correct).sum())),
    )


def count_predictions(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Returns how often each label is predicted; without labels, how often each predicted answer is."""
    return {label: predictions.count(label) for label in labels or sorted(set(predictions))}
