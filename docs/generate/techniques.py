"""The page of all techniques: coordinates, paper, engines, and how each compares in the benchmarks of the repository."""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.config.kinds import NamedKind, named_kinds
from promptkit.core.errors import PromptkitError
from promptkit.core.registry import build, parse
from promptkit.manipulate.catalog import manipulations
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.modifiers import MODIFIERS
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.models.registry import ENGINES

TITLES = {
    SELECTORS.kind: "Demonstrations: which rows are shown",
    ORDERS.kind: "Demonstrations: in which order",
    COT.kind: "Chains of thought",
    MODIFIERS.kind: "Learned prompts and programs for images",
    FIRST_ALIGNERS.kind: "Alignment: scores of labels",
    EXTRACTIONS.kind: "Alignment: answers from texts",
    CALIBRATIONS.kind: "Alignment: calibration",
    PROBES.kind: "Alignment: probes",
    LABEL_MAPPINGS.kind: "Alignment: label maps",
}
"""The kinds of techniques, in the order of the page, with their headings."""
TABLES = {
    table.kind: table
    for table in (SELECTORS, ORDERS, COT, MODIFIERS, FIRST_ALIGNERS, EXTRACTIONS, CALIBRATIONS, PROBES, LABEL_MAPPINGS)
}
INTRODUCTION = """# Techniques

Every technique is an instance of `y = align(model(manipulate(x)))`. Manipulations have three coordinates (arXiv 2506.04650):
they are *fixed* or *learnable*, act on the *input*, the *embedding* or *hidden* states, and are *additive*, *concatenative* or
*parametric*. Demonstrations, their order, instructions and chains of thought are fixed, act on the input and are concatenative.
Alignments are *identity*, *rule-based*, *statistical* or *linear*.

The last column counts comparisons in our own [benchmarks](results.md): in how many the 95% interval of the paired difference is
above 0, below 0, or contains 0. Calibrations, label maps and probes are compared with the same prompt without them,
demonstrations with random ones, and learned prompts with no demonstrations. A technique without a count has no such comparison.

"""
HEAD = "| name | technique | coordinates | paper | engines | in benchmarks |\n|---|---|---|---|---|---|\n"
PAPER = re.compile(r"\b(\d{4}\.\d{4,5})\b")
"""An arXiv id."""
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


def technique_page(root: Path) -> str:
    """Returns the page.

    Args:
        root: The folder of the repository.
    """
    introduction = INTRODUCTION + baselines_note(root / "benchmarks") + "\n\n"
    kinds = [each for each in named_kinds() if each.kind in TITLES]
    results = compared(root / "benchmarks")
    parts = [introduction]
    for kind, title in TITLES.items():
        rows = [row(each, results.get(each.name)) for each in kinds if each.kind == kind]
        parts.append(f"## {title}\n\n{HEAD}" + "\n".join(rows) + "\n\n")
    return "".join(parts)


def row(named: NamedKind, found: Compared | None) -> str:
    """Returns the row of a technique."""
    entry = TABLES[named.kind][named.name]
    papers = ", ".join(f"[{each}](https://arxiv.org/abs/{each})" for each in papers_of(entry))
    description = re.sub(r"\s*\((?:learnable|fixed), .*?\)$", "", named.description).replace("|", "&#124;")
    cells = (f"`{named.name}`", description, coordinates(named, entry), papers, engines_of(named), counts(found))
    return f"| {' | '.join(cells)} |"


def coordinates(named: NamedKind, entry: type) -> str:
    """Returns the coordinates of a technique in the taxonomy."""
    if named.taxonomy:
        return named.taxonomy
    if named.kind in {SELECTORS.kind, ORDERS.kind, COT.kind}:
        return "fixed, input, concatenative"
    if named.kind in {FIRST_ALIGNERS.kind, EXTRACTIONS.kind}:
        return "identity" if named.name == "classes" else "rule-based"
    return str(getattr(entry, "alignment", "statistical"))


def papers_of(entry: type) -> list[str]:
    """Returns the arXiv ids in the documentation of a class, or of its module if it names none."""
    texts = (inspect.getdoc(entry) or "", inspect.getdoc(inspect.getmodule(entry)) or "")
    return next((found for text in texts if (found := [*dict.fromkeys(PAPER.findall(text))])), [])


# ---- engines -----------------------------------------------------------------------------------------------


def engines_of(named: NamedKind) -> str:
    """Returns the engines that a technique works with."""
    needed = features(named)
    names = [
        name
        for name, engine in ENGINES.items()
        if not engine.simulated and any(all(each in found for each in needed) for found in engine.kinds.values())
    ]
    return ", ".join(f"`{name}`" for name in names)


def features(named: NamedKind) -> Collection[str]:
    """Returns what a technique needs of the model."""
    table = TABLES[named.kind]
    if table is MODIFIERS:
        modality = {"image"} if "operations" in manipulations_by_name()[named.name] else set()
        return {*manipulations_by_name()[named.name], *modality}
    if table is FIRST_ALIGNERS:
        return {"Classify"} if named.name == "classes" else {"Score"}
    if table is EXTRACTIONS:
        return {"Generate"}
    if table in (CALIBRATIONS, PROBES, LABEL_MAPPINGS):
        try:
            built = build(named.kind, table, named.name)
        except PromptkitError:  # it has settings without a default
            return set()
        return {feature for need in built.needs for feature in need.features}
    return {"text"}


def manipulations_by_name() -> Mapping[str, Collection[str]]:
    """Returns what each manipulation needs of the model."""
    classes = {each.__name__: each for each in manipulations().values()}
    return {name: classes.get(entry.__name__, entry).requires for name, entry in MODIFIERS.items()}


# ---- benchmarks --------------------------------------------------------------------------------------------


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
