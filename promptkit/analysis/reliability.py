"""The reliability diagram and the confusion matrix of each alignment of a run, drawn with matplotlib.

The bins are those of the expected calibration error (Guo et al. 2017, 1706.04599): of each, the mean confidence and the share
of rows that are right, which would lie on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from promptkit.analysis.realign import Alignments
from promptkit.display.plots import COLORS, GRAY, POINTS, page, styled
from promptkit.display.text_table import FEW_LABELS
from promptkit.metrics.classification import BINS
from promptkit.metrics.intervals import Estimate, wilson
from promptkit.runs.run import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from promptkit.core.arrays import Floats

NAMED = 24
"""With more labels than this their names do not fit beside the matrix."""
ACROSS = 2
"""Alignments side by side."""


class Bin(NamedTuple):
    """The rows whose predicted label has about one probability."""

    confidence: float
    """Its mean."""
    rows: int
    right: Estimate
    """The share of them that are right."""


def bins(result: Result) -> list[Bin]:
    """Those that hold rows, by confidence."""
    confidence = np.exp(result.logprobs.max(1) - np.logaddexp.reduce(result.logprobs, axis=1))
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    held = [number == each for each in range(BINS) if (number == each).any()]
    return [Bin(float(confidence[one].mean()), int(one.sum()), wilson(result.correct[one].sum(), one.sum())) for one in held]


def confusion(result: Result, gold: Sequence[str], labels: Sequence[str]) -> Floats:
    """How many rows of each label (a line) are predicted as each (a column)."""
    place = {label: number for number, label in enumerate(labels)}
    counts: Floats = np.zeros((len(labels), len(labels)))
    np.add.at(counts, ([place[label] for label in gold], [place[str(label)] for label in result.predictions]), 1)
    return counts


@styled
def picture(alignments: Alignments) -> Figure:
    """A reliability diagram and a confusion matrix for each alignment, the plain verbalizer first."""
    across = min(ACROSS, len(alignments.results))
    down = -(-len(alignments.results) // across)
    title = f"{alignments.task} · {alignments.split} · {len(alignments.gold)} rows · {alignments.model}"
    told = (
        "reliability: a disc's area is its share of the rows, bars are 95% Wilson intervals; confusion: share of a gold label"
    )
    figure = page(5.8 * across, 2.9 * down, f"{title}; {told}")
    grid = figure.subplots(down, 2 * across, squeeze=False)
    panels = grid.reshape(-1, 2)
    for axes in panels[len(alignments.results) :].ravel():
        axes.set_visible(False)
    for (left, right), result in zip(panels, alignments.results, strict=False):
        _reliability(left, result)
        _confusion(right, confusion(result, alignments.gold, alignments.labels), alignments.labels)
    return figure


def _reliability(axes: Axes, result: Result) -> None:
    found = bins(result)
    xs, values = [each.confidence for each in found], [each.right.value for each in found]
    spread = [[each.right.value - each.right.low for each in found], [each.right.high - each.right.value for each in found]]
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
    axes.errorbar(xs, values, yerr=spread, fmt="none", ecolor=COLORS[0], elinewidth=0.9, capsize=2, zorder=2)
    areas = [8 + 160 * each.rows / len(result.correct) for each in found]
    axes.scatter(xs, values, s=areas, color=COLORS[0], edgecolors="white", linewidths=0.5, zorder=3)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_box_aspect(1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share right")
    accuracy, ece = (result.metrics[name]["value"] for name in ("accuracy", "ece"))
    axes.set_title(f"{result.align}\naccuracy {accuracy:.3f}, ECE {ece:.3f}", loc="left")


def _confusion(axes: Axes, counts: Floats, labels: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    named = len(labels) <= NAMED
    few = len(labels) <= FEW_LABELS
    axes.set_xticks(range(len(labels)) if named else [], labels if named else [], rotation=0 if len(labels) < 3 else 90)
    axes.set_yticks(range(len(labels)) if named else [], labels if named else [])
    if not few:
        axes.tick_params(labelsize=POINTS - 4)
    for (row, column), count in np.ndenumerate(counts) if few else ():
        ink = "white" if shares[row, column] < 0.5 else "black"
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=ink, fontsize=POINTS - 1)
