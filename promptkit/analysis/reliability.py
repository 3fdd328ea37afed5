"""Draws a reliability diagram and a confusion matrix for each alignment of a run, with matplotlib.

A reliability diagram shows accuracy over mean confidence for each bin of the expected calibration error (Guo et al. 2017, arXiv
1706.04599); perfectly calibrated probabilities lie on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from promptkit.analysis.realign import Alignments
from promptkit.core.shown_text import label_text
from promptkit.display.plots import COLORS, GRAY, POINTS, page, styled
from promptkit.display.text_table import FEW_LABELS
from promptkit.metrics.ece import BINS
from promptkit.metrics.indicators import indicators
from promptkit.metrics.intervals import Estimate, wilson
from promptkit.runs.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from promptkit.core.arrays import Floats

MOST_TICK_LABELS = 24
"""With more labels than this, a matrix has no tick labels."""
COLUMNS = 2
"""Number of alignments in one line of the figure."""


class Bin(NamedTuple):
    """The rows whose predicted labels have a probability within one interval."""

    confidence: float
    """Mean probability of the predicted labels."""
    rows: int
    accuracy: Estimate


def confidence_bins(result: Result) -> list[Bin]:
    """Returns the non-empty bins of a result, by ascending confidence."""
    confidence = result.metric_input.probabilities.max(1)  # 0 for a row without an answer
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    members = [number == index for index in range(BINS) if (number == index).any()]
    return [
        Bin(float(confidence[rows].mean()), int(rows.sum()), wilson(result.correct[rows].sum(), rows.sum())) for rows in members
    ]


def confusion_matrix(result: Result) -> Floats:
    """Returns the number of rows with each gold label (rows) and predicted label (columns), shape (labels, labels).

    Rows without a prediction are left out.
    """
    gold, predicted = indicators(result.metric_input)
    counts: Floats = gold.T @ predicted
    return counts


@styled
def draw(alignments: Alignments) -> Figure:
    """Returns a figure with a reliability diagram and a confusion matrix for each alignment."""
    columns = min(COLUMNS, len(alignments.results))
    lines = -(-len(alignments.results) // columns)
    title = f"{alignments.task} · {alignments.split} · {len(alignments.gold)} rows · {alignments.model}"
    legend = (
        "reliability: the area of a disc is the bin's share of rows, bars are 95% Wilson intervals; "
        "confusion: share of the rows with a gold label"
    )
    figure = page(5.8 * columns, 2.9 * lines, f"{title}; {legend}")
    grid = figure.subplots(lines, 2 * columns, squeeze=False)
    panels = grid.reshape(-1, 2)
    for axes in panels[len(alignments.results) :].ravel():
        axes.set_visible(False)
    for (left, right), result in zip(panels, alignments.results, strict=False):
        _draw_reliability(left, result)
        _draw_confusion(right, confusion_matrix(result), alignments.labels)
    return figure


def _draw_reliability(axes: Axes, result: Result) -> None:
    bins = confidence_bins(result)
    confidences, accuracies = [each.confidence for each in bins], [each.accuracy.value for each in bins]
    below = [each.accuracy.value - each.accuracy.low for each in bins]
    above = [each.accuracy.high - each.accuracy.value for each in bins]
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
    axes.errorbar(
        confidences, accuracies, yerr=[below, above], fmt="none", ecolor=COLORS[0], elinewidth=0.9, capsize=2, zorder=2
    )
    areas = [8 + 160 * each.rows / len(result.correct) for each in bins]
    axes.scatter(confidences, accuracies, s=areas, color=COLORS[0], edgecolors="white", linewidths=0.5, zorder=3)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_box_aspect(1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    accuracy, ece = (result.metrics[name]["value"] for name in ("accuracy", "ece"))
    axes.set_title(f"{result.align}\naccuracy {accuracy:.3f}, ECE {ece:.3f}", loc="left")


def _draw_confusion(axes: Axes, counts: Floats, labels: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    ticks = [label_text(label).replace("$", r"\$") for label in labels] if len(labels) <= MOST_TICK_LABELS else []
    few = len(labels) <= FEW_LABELS
    axes.set_xticks(range(len(ticks)), ticks, rotation=0 if len(labels) < 3 else 90)
    axes.set_yticks(range(len(ticks)), ticks)
    if not few:
        axes.tick_params(labelsize=POINTS - 4)
    for (row, column), count in np.ndenumerate(counts) if few else ():
        color = "white" if shares[row, column] < 0.5 else "black"
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=color, fontsize=POINTS - 1)
