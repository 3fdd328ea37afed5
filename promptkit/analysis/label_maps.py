"""Shows the label maps of a finished run as tables and heat maps. No model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap
from promptkit.analysis.branches import locate
from promptkit.analysis.stored_run import check_single_label, read_stored_run
from promptkit.core.arguments import check_arguments
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, unknown
from promptkit.core.output_reader import OutputReader
from promptkit.core.shown_text import label_text
from promptkit.display.label_map import label_map_panel
from promptkit.display.panels import Panel, stack_panels
from promptkit.display.table import Table
from promptkit.evaluation.results import compute_results
from promptkit.runs.result import named_label_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from promptkit.core.arrays import Floats

MOST_SOURCES = 5
"""The source classes of each label that a table shows by default."""
MOST_COLUMNS = 40
"""The largest number of source classes in a heat map; with many labels, each contributes fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMaps:
    """The label maps of a run by the names of its branches. Prints as a table for each map."""

    title: str
    """Task, split, number of rows and model."""
    maps: Mapping[str, LabelMap]

    @check_arguments("LabelMaps.tables")
    def tables(self, most: int = MOST_SOURCES) -> list[Table]:
        """Returns a table for each map: each label with its source classes, and their weights.

        Args:
            most: The largest number of source classes for each label; only positive weights are shown.
        """
        return [_table(self.title, name, each, most) for name, each in self.maps.items()]

    def plot(self) -> Figure:
        """Draws a heat map of each label map, with the source classes that have the highest weights."""
        caption = f"{self.title}; the source classes with the highest weights for each label"
        return stack_panels([map_panel(name, each) for name, each in self.maps.items()], caption)

    @check_arguments("LabelMaps.to_json")
    def to_json(self, most: int = MOST_SOURCES) -> dict[str, object]:
        """Returns what `promptkit labelmap --json` prints: branch -> label -> source class -> weight."""
        return {name: each.table(most) for name, each in self.maps.items()}

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())


@check_arguments("label_maps")
def label_maps(run: str | Path) -> LabelMaps:
    """Returns the label maps of a finished run: a hand-written one, and the others fitted again on its stored outputs.

    Args:
        run: Folder of the run, or RUN:BRANCH for the map of one branch.

    Raises:
        RunError: There is no such finished run, or its rows do not have the same labels.
        InputError: The run has no label map, or no such branch.
    """
    path, branch = locate(str(run))
    stored = read_stored_run(path)
    check_single_label(stored.reader, "A label map")
    results = compute_results(stored.chains, stored.collected)
    maps = named_label_maps(results)
    by_hand = hand_written(stored.reader)
    maps = ({} if by_hand is None else {stored.reader.name: by_hand}) | maps
    if not maps:
        raise InputError(
            f"The run {path} has no label map",
            code="no-label-map",
            got=", ".join(result.align for result in results),
            hint=f"Evaluate with one, such as {setting('labelmap', 'blm+')}",
            folder=str(path),
        )
    if branch is None:
        return LabelMaps(title=stored.heading, maps=maps)
    of_branch = {name: each for name, each in maps.items() if name == branch or name.startswith(f"{branch}, fold ")}
    if not of_branch:
        raise unknown(f"label map of the run {path}", branch, maps)
    return LabelMaps(title=stored.heading, maps=of_branch)


def hand_written(reader: OutputReader) -> LabelMap | None:
    """Returns the label map of a first aligner whose source classes were written by hand; None if there is none."""
    names = reader.source_classes()
    if not names:
        return None
    sources = tuple(source for label in reader.labels for source in names[label])
    weights = np.array([[float(source in names[label]) for label in reader.labels] for source in sources])
    named = {label: tuple(names[label]) for label in reader.labels}
    return LabelMap(sources=sources, labels=reader.labels, weights=weights, named=named)


def _table(title: str, name: str, label_map: LabelMap, most: int) -> Table:
    rows = label_map.table(most)
    columns = max(1, *map(len, rows.values()))
    cells = {
        label: [f"'{label_text(source)}' {weight:.2f}" for source, weight in weights.items()] for label, weights in rows.items()
    }
    return Table(
        title=f"{title} · {name}",
        columns=("label", *(f"source {number}" for number in range(1, columns + 1))),
        rows=tuple((label, *texts, *[""] * (columns - len(texts))) for label, texts in cells.items()),
        names=1 + columns,
        labels=("label",),
        caption=f"source classes with the highest weights; weights multiply {label_map.over}",
    )


def most_weighted(label_map: LabelMap) -> list[int]:
    """Returns the indices of the source classes with the highest weights for each label, in the order of the labels."""
    each = max(1, min(MOST_SOURCES, MOST_COLUMNS // len(label_map.labels)))
    order = np.argsort(-label_map.weights, axis=0, kind="stable")[:each].T
    best = [s for label, column in enumerate(order) for s in column if label_map.weights[s, label] > 0]
    return list(dict.fromkeys(int(s) for s in best))[:MOST_COLUMNS] or [0]


def map_panel(name: str, label_map: LabelMap) -> Panel:
    """Returns the heat map of a label map as a panel of a figure."""
    columns = most_weighted(label_map)
    weights: Floats = label_map.weights[columns].T
    return label_map_panel(
        weights.tolist(),
        labels=label_map.labels,
        sources=[label_map.sources[s] for s in columns],
        title=f"label map {name}, weights of {label_map.over}",
    )
