"""The page of all techniques: coordinates, paper, engines, and how each compares in the benchmarks of the repository."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from pathlib import Path

from comparisons import Compared, baselines_note, compared, counts

from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.config.kinds import NamedKind, named_kinds
from promptkit.core.errors import PromptkitError
from promptkit.core.registry import build
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
        needed = modifier_features(named.name)
        return {*needed, "image"} if "operations" in needed else needed
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


def modifier_features(name: str) -> Collection[str]:
    """Returns what a modifier needs of the model."""
    classes = {each.__name__: each for each in manipulations().values()}
    modifier = MODIFIERS[name]
    return classes.get(modifier.__name__, modifier).requires
