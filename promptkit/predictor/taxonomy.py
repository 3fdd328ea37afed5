"""The techniques by their coordinates in the taxonomy of neural network reprogrammability, as the tables of the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.classes import Classes
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.learned import LearnedAligner
from promptkit.align.probes import PROBES
from promptkit.core.taxonomy import OutputAlignment
from promptkit.manipulate.catalog import manipulations


def manipulations_table() -> str:
    """Returns the manipulations by format, location and operator as a Markdown table."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, manipulation in manipulations().items():
        kind = manipulation.kind
        groups.setdefault((kind.format, kind.location, kind.operator), []).append(name)
    rows = [(*kind, names_of(names)) for kind, names in groups.items()]
    return markdown(("format", "location", "operator", "manipulations"), rows)


def aligners_table() -> str:
    """Returns the aligners by output alignment as a Markdown table."""
    groups: dict[OutputAlignment, list[str]] = {"identity": [], "rule-based": [], "statistical": [], "linear": []}
    for name in FIRST_ALIGNERS:
        groups["identity" if name == Classes.name else "rule-based"].append(name)
    groups["rule-based"] += EXTRACTIONS
    groups["statistical"] += CALIBRATIONS
    learned: Mapping[str, type[LearnedAligner]] = {**LABEL_MAPPINGS, **PROBES}
    for name, aligner in learned.items():
        groups[aligner.alignment].append(name)
    return markdown(("output alignment", "aligners"), [(alignment, names_of(names)) for alignment, names in groups.items()])


def names_of(names: Iterable[str]) -> str:
    """Returns names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
