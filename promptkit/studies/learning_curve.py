"""The main metric against labeled rows per class, from the stored outputs of one run. No model is loaded.

Each aligner is fitted again on a few of the labeled rows that the run has stored, for several draws of these rows. Draws with
the same seed are nested: the draw of 5 rows per class contains the draw of 2. The source tokens of a language model and the
unlabeled rows are always those of the run. Intervals are over items and draws, like the intervals of studies over items and
seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from promptkit.align.chain import Chain, needs_calibration
from promptkit.analysis.stored_run import ALL, StoredRun, check_single_label, named_calibrations, read_stored_run
from promptkit.classical.pixels import pixel_regression
from promptkit.classical.tfidf import text_regression
from promptkit.core.arguments import check_arguments
from promptkit.core.calibration import Calibration
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, RunError
from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.core.registry import spelling
from promptkit.display import plots
from promptkit.display.table import Table
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate, resamples
from promptkit.metrics.requested import chosen
from promptkit.metrics.table import statistic
from promptkit.needs.fit_rows import fit_row_of
from promptkit.studies.few_rows import Drawn, FewRows, Regression, labeled_rows_of
from promptkit.studies.measures import interval
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_CLASS = (1, 2, 5, 10, 20, 50)
"""The numbers of labeled rows of each label by default."""
DRAWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """The main metric of a run against labeled rows per class. Displays as a table, and in a notebook also as a plot."""

    title: str
    """Task, split, number of rows and model."""
    metric: Metric
    """The main metric of the run."""
    per_class: tuple[int, ...]
    draws: int
    """How many draws of labeled rows each figure is a mean over."""
    stored: int
    """The number of stored labeled rows of the label with the fewest, which limits `per_class`."""
    curves: Mapping[str, tuple[Estimate | None, ...]]
    """Aligner -> metric for each value of `per_class`; None if it cannot be fitted on so few rows."""
    baselines: Mapping[str, tuple[Estimate | None, ...]]
    """Baseline, which uses no pretrained model or no labeled rows -> metric for each value of `per_class`."""

    def table(self) -> Table:
        """Returns the figures with their intervals; the baselines come last."""
        rows = {**self.curves, **self.baselines}
        return Table(
            title=self.title,
            columns=("alignment", *(f"{count} per class" for count in self.per_class)),
            rows=tuple((name, *points) for name, points in rows.items()),
            names=1,
            caption=self._caption,
        )

    def plot(self) -> Figure:
        """Plots the figures with their intervals; the baselines are gray."""
        series = [plots.Series(name=name, points=points) for name, points in self.curves.items()]
        series += [plots.Series(name=name, points=points, is_baseline=True) for name, points in self.baselines.items()]
        return plots.lines(
            series,
            ticks=[*map(str, self.per_class)],
            x="labeled rows of each label",
            y=self.metric.title + (" (share of items)" if self.metric.interval == "wilson" else ""),
            legend="alignment",
            title=self.title,
            caption=self._caption,
        )

    @property
    def _caption(self) -> str:
        draws = f"mean over {self.draws} draws of at most {self.stored} stored rows of each label"
        direction = "" if self.metric.higher_is_better else ", lower is better"
        return f"{self.metric.title}{direction}: {draws}; 95% intervals over items and draws"

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit curve --json` prints."""
        curves, baselines = (
            {name: [None if point is None else asdict(point) for point in points] for name, points in each.items()}
            for each in (self.curves, self.baselines)
        )
        return {
            "title": self.title,
            "metric": self.metric.name,
            "per_class": list(self.per_class),
            "draws": self.draws,
            "stored": self.stored,
            "curves": curves,
            "baselines": baselines,
        }

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@check_arguments("learning_curve")
def learning_curve(
    run: str | Path,
    *,
    calibrate: str = ALL,
    per_class: Sequence[PositiveInt] = PER_CLASS,
    draws: PositiveInt = DRAWS,
    task: Task | None = None,
) -> LearningCurve:
    """Fits the probes and label maps of a finished run on fewer labeled rows than the run has.

    Args:
        run: Folder of the run, best one with many rows per class.
        calibrate: Probes and label maps of the run, such as `blm+,full`; or `all`.
        per_class: Numbers of labeled rows of each label. Numbers above `LearningCurve.stored` are left out.
        draws: How many times labeled rows are drawn.
        task: The task of the run, for a baseline on the same rows without a pretrained model: logistic regression on pixels, or
            on TF-IDF of texts.

    Raises:
        RunError: The run is not finished, or its rows do not have the same labels.
        InputError: The run has no such probe or label map, or too few labeled rows.
    """
    if not per_class:
        raise InputError("A learning curve needs numbers of labeled rows", code="no-numbers", got="[]", keyword="per_class")
    stored = read_stored_run(run)
    check_single_label(stored.reader, "A learning curve")
    calibrations = _chosen(stored, calibrate)
    data = FewRows(stored)
    counts = tuple(count for count in per_class if count <= data.available)
    if not counts:
        raise InputError(
            f"The run {stored.path} has stored only {data.available} labeled rows of some label",
            code="too-few-labeled-rows",
            got=setting("per_class", min(per_class)),
            hint=f"Give a run with a larger {setting('per_class')}",
            given=data.available,
            needed=min(per_class),
        )
    drawn = {count: [data.draw(count, seed) for seed in range(draws)] for count in counts}
    metric = next(iter(chosen(stored.metrics, data.alone()).values()))
    curves = {
        _name(each): tuple(_mean(metric, [data.predictions(each, rows) for rows in drawn[count]]) for count in counts)
        for each in calibrations
    }
    return LearningCurve(
        title=stored.heading,
        metric=metric,
        per_class=counts,
        draws=draws,
        stored=data.available,
        curves=curves,
        baselines=_baselines(metric, stored, data, drawn, task),
    )


def _chosen(stored: StoredRun, calibrate: str) -> list[Calibration]:
    """The named calibrations among those that the run has fitted on labeled rows."""
    fitted = [chain.calibration for chain in stored.chains if chain.calibration and labeled_rows_of(chain.calibration)]
    if calibrate != ALL:
        names = {_name(each) for each in named_calibrations(calibrate)}
        fitted = [each for each in fitted if _name(each) in names]
    if not fitted:
        raise InputError(
            f"The run {stored.path} has no such probe or label map, fitted on labeled rows",
            code="no-learned-aligner",
            got=", ".join(chain.name for chain in stored.chains),
            hint=f"Evaluate with some, such as {setting('labelmap', ['blm+', 'full'])} with {setting('per_class', 50)}",
            folder=str(stored.path),
        )
    return fitted


def _name(calibration: Calibration) -> str:
    """The spelling of a calibration without its number of labeled rows, which varies."""
    return spelling(calibration, without="per_class")


def _mean(metric: Metric, predictions: Sequence[MetricInput | None]) -> Estimate | None:
    """The mean of a metric over draws; None for draws of too few rows, or if it does not apply to the predictions."""
    known = [each for each in predictions if each is not None and metric.applies_to(each)]
    if not known:
        return None
    weights = resamples(len(known[0]))
    return interval(np.array([statistic(metric, each)(weights) for each in known]), len(known[0]), metric.bounds)


def _baselines(
    metric: Metric, stored: StoredRun, data: FewRows, drawn: Mapping[int, Sequence[Sequence[Drawn]]], task: Task | None
) -> dict[str, tuple[Estimate | None, ...]]:
    """The first aligner alone, which needs no labeled rows; and a regression on the inputs of the drawn rows."""
    baselines: dict[str, tuple[Estimate | None, ...]] = {}
    if not needs_calibration(stored.reader):
        alone = _mean(metric, [data.alone()])
        baselines[f"{Chain(reader=stored.reader).name}, no labeled rows"] = (alone,) * len(drawn)
    if task is not None:
        is_text = task.spec.modality == "text"
        name = "regression on TF-IDF, no model" if is_text else "regression on pixels, no model"
        fit: Regression = text_regression if is_text else pixel_regression
        rows = _task_rows(stored, task)
        baselines[name] = tuple(
            _mean(metric, [data.predictions_by(fit, each, rows, task.spec.scale) for each in draws]) for draws in drawn.values()
        )
    return baselines


def _task_rows(stored: StoredRun, task: Task) -> dict[str, LabeledExample]:
    """Returns the rows of a run by id: the evaluated rows, and those that its aligners were fitted on."""
    split = stored.title["split"]
    split_rows = task.labeled_rows(split) if "folds" in stored.title else [*task.part("fit"), *task.rows(split)]
    rows = {row.id: row for row in split_rows}
    support = (fit_row_of(record["id"]) for record in stored.collected.support)
    needed = {*(record["id"] for record in stored.collected.samples), *(row for row in support if row is not None)}
    if not rows.keys() >= needed:
        raise RunError(
            f"The data of the task {task.name} have changed since the run {stored.path} was made",
            code="data-changed",
            hint="Evaluate it again, or leave out the task",
            task=task.name,
            folder=str(stored.path),
        )
    return rows
