"""The label maps of a run as tables and heat maps."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.align.labelmap.mapping import LabelMap
from promptkit.analysis.label_maps import LabelMaps, most_weighted
from promptkit.reports import heatmaps
from promptkit.reports.blocks import Block, Chart, Section, TableBlock
from promptkit.runs.result import named_label_maps
from promptkit.runs.run import Run


def label_map_sections(run: Run) -> Sequence[Section]:
    """Returns a section with the label maps of a run; none if it has no label map."""
    maps = named_label_maps(run.results)
    if not maps:
        return []
    tables = LabelMaps(title=run.title, maps=maps).tables()
    blocks: list[Block] = []
    for (name, each), table in zip(maps.items(), tables, strict=True):
        blocks += [_heatmap(name, each), TableBlock(table=table)]
    return [Section(id="label-maps", title="Label maps", blocks=blocks)]


def _heatmap(name: str, label_map: LabelMap) -> Chart:
    """Returns the weights of the source classes that tables show, labels in rows."""
    columns = most_weighted(label_map)
    sources = list(dict.fromkeys(label_map.sources[s] for s in columns))
    cells = [
        {"row": label, "column": label_map.sources[s], "value": (weight := float(label_map.weights[s, row])), "text": weight}
        for row, label in enumerate(label_map.labels)
        for s in columns
    ]
    lowest = min(float(str(cell["value"])) for cell in cells)
    return heatmaps.heatmap(
        cells,
        rows=list(label_map.labels),
        columns=sources,
        y="label",
        x="source class",
        unit="weight",
        title=f"Label map {name}",
        description=f"Weights of {len(sources)} source classes for {len(label_map.labels)} labels, which the table below lists",
        note=f"Weights multiply {label_map.over}.",
        diverging=lowest < 0,
        number=".1f",
    )
