"""The data of a finished run with a subset of its labeled rows, on which its aligners are fitted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from promptkit.analysis.stored_run import StoredRun
from promptkit.collect.collected import FoldOutputs
from promptkit.collect.fit_data import StoredAnswers
from promptkit.core.answer_record import is_answered
from promptkit.core.calibration import Calibration
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.core.needs import FitData, LabeledOutputs, StoredFitRow, with_required
from promptkit.core.records import answered
from promptkit.needs.labeled_rows import LabeledRows, draw_per_class

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Drawn = Sequence[tuple[StoredFitRow, str]]
"""Rows of the fit part and their labels."""
Regression = Callable[[Sequence[LabeledExample], Sequence[Example]], list[str]]
"""Fits a regression on labeled rows and predicts the label of others."""


class FewRows:
    """The data of a run with a subset of its labeled rows. Rows are drawn for each fold of a run with folds.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run
        self._folds = [(fold, _FoldRows(run, fold)) for fold in run.collected.folds()]

    @property
    def available(self) -> int:
        """The number of stored labeled rows of the label with the fewest, in the fold with the fewest."""
        return min(rows.available for _, rows in self._folds)

    def draw(self, per_class: int, seed: int) -> list[Drawn]:
        """Draws labeled rows for each fold, the same number of each label."""
        return [rows.draw(per_class, seed) for _, rows in self._folds]

    def predictions(self, calibration: Calibration, drawn: Sequence[Drawn]) -> MetricInput | None:
        """Fits an aligner on labeled rows and returns its predictions of the evaluated rows; None for too few rows."""
        samples = self._run.collected.samples
        scores = np.zeros((len(samples), len(self._run.reader.labels)))
        for (fold, rows), each in zip(self._folds, drawn, strict=True):
            of_fold = rows.scores(calibration, each)
            if of_fold is None:
                return None
            positions = zip(fold.positions, fold.samples, strict=True)
            scores[[position for position, record in positions if is_answered(record)]] = of_fold
        return self._outcome(scores[[is_answered(record) for record in samples]])

    def predictions_by(
        self,
        fit: Regression,
        drawn: Sequence[Drawn],
        rows: Mapping[str, LabeledExample],
        scale: Mapping[str, float] | None = None,
    ) -> MetricInput:
        """Fits a regression on the inputs of labeled rows and returns its predictions of the evaluated rows.

        Args:
            fit: The regression.
            drawn: The labeled rows for each fold.
            rows: All rows of the task, by id.
            scale: The value of each label of a task with a numeric scale.
        """
        samples, labels = self._run.collected.samples, self._run.reader.labels
        gold = np.array([labels.index(record["gold"]) for record in samples], int)
        logprobs = np.full((len(samples), len(labels)), -np.inf)
        for (fold, _), each in zip(self._folds, drawn, strict=True):
            predicted = fit([rows[row.row] for row, _ in each], [rows[record["id"]].unlabeled() for record in fold.samples])
            logprobs[[*fold.positions], [labels.index(label) for label in predicted]] = 0.0
        predictions = MetricInput.of_scores(gold, logprobs, labels=labels)
        if scale is None:
            return predictions
        values = np.array([scale[labels[index]] for index in predictions.predicted], float)
        return predictions.with_values(np.array([record["gold_value"] for record in samples], float), values)

    def alone(self) -> MetricInput:
        """Returns the predictions of the first aligner, which needs no labeled rows."""
        return self._outcome(None)

    def _outcome(self, scores: Floats | None) -> MetricInput:
        return self._run.reader.outcome(self._run.collected.samples, scores).metric_input


class _FoldRows:
    """The data of one fold with a subset of its labeled rows.

    Args:
        run: The run.
        fold: The fold; a run without folds has a single one.
    """

    def __init__(self, run: StoredRun, fold: FoldOutputs) -> None:
        stored = StoredAnswers(run.chains, answered(fold.samples), answered(fold.support), fold.read_outputs)
        self._stored = stored
        self._known = [(row, row.label) for row in stored.fit_rows if row.label is not None]
        values = {need: need.load(stored) for need in with_required(stored.needs)}
        self._data = FitData(labels=stored.labels, items=stored.outputs(stored.evaluated), values=values)

    @property
    def available(self) -> int:
        """The number of stored labeled rows of the label with the fewest."""
        counts = Counter(label for _, label in self._known)
        return min(counts[label] for label in self._stored.labels)

    def draw(self, per_class: int, seed: int) -> Drawn:
        """Draws labeled rows, the same number of each label."""
        chosen = draw_per_class(per_class, seed, [(row.row, label) for row, label in self._known])
        return [self._known[index] for index in chosen]

    def scores(self, calibration: Calibration, rows: Drawn) -> Floats | None:
        """Fits an aligner on labeled rows and returns its label scores of the evaluated rows; None for too few rows."""
        need = labeled_rows_of(calibration)
        assert need is not None
        if len(rows) < need.minimum:
            return None
        outputs = self._stored.outputs([row.record for row, _ in rows])
        gold = np.array([self._stored.labels.index(label) for _, label in rows], int)
        labeled = LabeledOutputs(outputs=outputs, gold=gold)
        data = replace(self._data, values={**self._data.values, need: labeled})
        return calibration.fit(data).apply(data.items)


def labeled_rows_of(calibration: Calibration) -> LabeledRows | None:
    """Returns the need of a calibration for labeled rows of each label; None if it has none."""
    return next((need for need in calibration.needs if isinstance(need, LabeledRows)), None)
