"""Tables of the labels of a run: precision, recall and F1 of each, and the confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.display.table import Entry, Table
from promptkit.metrics.base import GENERATED
from promptkit.metrics.by_label import LabelF1, LabelPrecision, LabelRecall
from promptkit.metrics.indicators import indicators
from promptkit.metrics.table import estimate

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

NO_ANSWER = "no answer"
"""The column of a confusion matrix for rows without an answer."""


def label_table(rows: MetricInput, title: str) -> Table:
    """Returns a table of the precision, the recall and the F1 of each label, with 95% intervals.

    Possible answers of texts that are neither correct nor predicted in any row are left out.

    Args:
        rows: The predictions.
        title: The title of the table.

    Raises:
        InputError: The rows do not share their labels.
    """
    check_labels(rows)
    gold, predicted = indicators(rows)
    lines: tuple[tuple[Entry, ...], ...] = tuple(
        (
            label,
            *(estimate(kind(label), rows) for kind in (LabelPrecision, LabelRecall, LabelF1)),
            int(gold[:, column].sum()),
            int(predicted[:, column].sum()),
        )
        for column, label in _shown(rows, gold, predicted)
    )
    return Table(
        title=title,
        columns=("label", "precision", "recall", "F1", "gold", "predicted"),
        rows=lines,
        names=1,
        labels=("label",),
        caption="below figures their 95% intervals (precision, recall: Wilson; F1: bootstrap); gold, predicted: number of rows",
    )


def confusion_table(rows: MetricInput, title: str) -> Table:
    """Returns how often each label is predicted for the rows of each gold label.

    If a row can have several labels, it has for each label the number of rows that have it or not, and for which it is
    predicted or not. Possible answers of texts that are neither correct nor predicted in any row are left out.

    Args:
        rows: The predictions.
        title: The title of the table.

    Raises:
        InputError: The rows do not share their labels.
    """
    check_labels(rows)
    gold, predicted = indicators(rows)
    indices, labels = zip(*_shown(rows, gold, predicted), strict=True)
    gold, predicted = gold[:, indices], predicted[:, indices]
    if rows.kind == "label_sets":
        cells = [(g.T @ p).diagonal() for g, p in ((gold, predicted), (gold, 1 - predicted), (1 - gold, predicted))]
        counts = np.stack([*cells, len(rows) - sum(cells)], axis=1)
        columns: tuple[str, ...] = ("label", "true positive", "false negative", "false positive", "true negative")
    else:
        unanswered = gold.T @ ~rows.answered
        has_unanswered = bool(unanswered.any())
        counts = np.column_stack([gold.T @ predicted, unanswered] if has_unanswered else [gold.T @ predicted])
        columns = ("gold", *labels, *([NO_ANSWER] if has_unanswered else []))
    lines: tuple[tuple[Entry, ...], ...] = tuple((label, *map(int, line)) for label, line in zip(labels, counts, strict=True))
    caption = "" if rows.kind == "label_sets" else "columns: predicted labels"
    return Table(title=title, columns=columns, rows=lines, names=1, caption=caption, labels=(columns[0], *labels))


def _shown(rows: MetricInput, gold: Floats, predicted: Floats) -> list[tuple[int, str]]:
    """Returns the column and the name of each label that tables show: all, but of texts only the answers that occur."""
    occurs = gold.sum(0) + predicted.sum(0) > 0
    return [(index, label) for index, label in enumerate(rows.labels) if occurs[index] or rows.kind not in GENERATED]


def check_labels(rows: MetricInput) -> None:
    """Raises InputError unless all rows share their labels, or the possible answers of texts."""
    if not rows.labels:
        raise InputError(
            "Figures of each label need labels that all rows share, or answers of a closed set",
            code="no-shared-labels",
            got=f"predictions of {rows.kind}",
            hint=""
            if rows.kind == "choices"
            else "For texts use the extraction option or yes_no; each correct answer must be a single letter, or yes or no",
            kind=rows.kind,
        )
