"""How techniques compare with their controls in the results of the benchmarks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from promptkit.core.errors import PromptkitError
from promptkit.core.registry import parse

DIFFERENCES = ("gain", "difference from random")
"""The keys of paired differences in the results of benchmarks."""
NAMES = ("align", "demos", "order", "name")
"""The keys of the name of what is compared."""


class Compared(NamedTuple):
    """How often the 95% interval of a technique's difference is above 0, below 0, or neither."""

    better: int
    worse: int
    undecided: int
    benchmarks: tuple[str, ...]


def compared(benchmarks: Path) -> Mapping[str, Compared]:
    """Returns how each technique compares in the results of all benchmarks, by name."""
    found: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for file in sorted(benchmarks.glob("*/*.json")):
        for spelled, low, high in differences(json.loads(file.read_text("utf-8")), ""):
            found[spelled].append((file.parent.name, low, high))
    return {name: counted(each) for name, each in found.items()}


def counted(found: list[tuple[str, float, float]]) -> Compared:
    """Returns the counts of the differences of one technique."""
    better = sum(low > 0 for _, low, _ in found)
    worse = sum(high < 0 for _, _, high in found)
    return Compared(better, worse, len(found) - better - worse, tuple(dict.fromkeys(name for name, _, _ in found)))


def differences(node: object, key: str) -> Iterator[tuple[str, float, float]]:
    """Yields the name of what is compared and the bounds of its paired difference, for each in a result."""
    if isinstance(node, list):
        for each in node:
            yield from differences(each, key)
    elif isinstance(node, dict):
        name = next((node[each] for each in NAMES if isinstance(node.get(each), str)), key)
        for each in DIFFERENCES:
            if isinstance(node.get(each), dict) and {"low", "high"} <= node[each].keys():
                yield technique_of(name), node[each]["low"], node[each]["high"]
        for part, value in node.items():
            yield from differences(value, part)


def technique_of(spelled: str) -> str:
    """Returns the name of a technique without its settings; the text itself if it is no name of one."""
    try:
        return parse(spelled)[0]
    except PromptkitError:
        return spelled


def counts(found: Compared | None) -> str:
    """Returns the counts as the cell of a table."""
    if found is None:
        return ""
    links = ", ".join(f"[{name}](benchmarks/{name}/README.md)" for name in found.benchmarks)
    return f"{found.better} better, {found.worse} worse, {found.undecided} undecided: {links}"


def baselines_note(benchmarks: Path) -> str:
    """Returns a sentence on the controls without a language model, from the results on learned alignments."""
    lines = []
    for file in sorted(benchmarks.glob("alignment_learned/*.json")):
        result = json.loads(file.read_text("utf-8"))
        for shots, methods in result["shots"].items():
            values = {name: method["accuracy"]["value"] for name, method in methods.items()}
            controls = {name: values.pop(name) for name in result["without_a_language_model"]}
            best, control = max(values, key=lambda name: values[name]), max(controls, key=lambda name: controls[name])
            lines.append(
                f"{result['task']} with {shots} demonstrations: `{best}` {values[best]:.2f}, {control} {controls[control]:.2f}"
            )
    return (
        "Whether a frozen model is worth its cost is a question of the control without one. In "
        "[alignment_learned](benchmarks/alignment_learned/README.md), with "
        "16 labeled rows for each label, the best alignment and the best control are: " + "; ".join(lines) + "."
    )
