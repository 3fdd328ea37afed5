"""The tables of a study: means, the best of several, paired differences, the split of the variance, and frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from promptkit.core.errors import InputError
from promptkit.display.table import Entry, Plain, Table, text_of
from promptkit.metrics.intervals import Estimate
from promptkit.studies import measures, selection, variance
from promptkit.studies.baselines import Baselines
from promptkit.studies.cells import SEED, Cell, Evaluated, Names, several
from promptkit.studies.grid import listed

SHOTS = ("k", "shots")
"""The dimensions that say how many demonstrations are shown."""


def mean_of(study: Evaluated, metric: str, values: Mapping[str, Plain]) -> Estimate | None:
    """The mean over the cells of these values; None where there is none."""
    cells = study.having(values)
    return measures.mean(cells, metric) if cells else None


def number(study: Evaluated) -> str | None:
    """The dimension that counts something, if there is one: what goes across a table, and along a plot."""
    counts = [
        name
        for name in study.varying([SEED])
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in study.dimensions[name])
    ]
    return next((name for name in SHOTS if name in counts), counts[0] if counts else None)


def caption(study: Evaluated, named: Names) -> str:
    """What the figures are a mean of, and what their intervals are over."""
    names = several(named)
    over = "items and seeds" if SEED in study.varying(names) else "items"
    return "; ".join(filter(None, [study.averaged(names), f"below each figure its 95% interval over {over}"]))


def means(study: Evaluated, rows: Names | None, columns: str | None, metric: str | None, baselines: Baselines | None) -> Table:
    """See `Study.table`."""
    metric = measures.check_metric(study.cells, metric)
    if rows is None and columns is None:
        columns = number(study)
    across_of = several(columns or [])
    down = study.varying([SEED, *across_of]) if rows is None else several(rows)
    study.check(*down, *across_of)
    across = study.combinations(across_of)
    lines: list[tuple[Entry, ...]] = [
        (*(values.values() or [metric]), *(mean_of(study, metric, values | more) for more in across))
        for values in study.combinations(down)
    ]
    blank = [""] * (len(down) - 1)
    lines += [(name, *blank, *figures) for name, figures in beside(baselines, metric, across).items()]
    return Table(
        title=study.title,
        columns=(*(down or ["figure"]), *(f"{columns}={text_of(more[columns])}" if columns else metric for more in across)),
        rows=tuple(lines),
        names=max(len(down), 1),
        caption=caption(study, [*down, *across_of]),
    )


def beside(baselines: Baselines | None, metric: str, across: Sequence[Mapping[str, Plain]]) -> dict[str, list[Estimate | None]]:
    """The accuracy of each control, by name, wherever it is comparable: it sees as many rows, or the whole pool."""
    if baselines is not None and metric != "accuracy":
        raise InputError(
            "Controls have no metric other than accuracy",
            code="controls-without-metric",
            got=metric,
            hint="Leave out controls=, or use metric='accuracy'",
            metric=metric,
        )
    found: dict[str, list[Estimate | None]] = {}
    for control in baselines.baselines if baselines else ():
        shots = [[value for name, value in values.items() if name in SHOTS] for values in across]
        counted = any(shots)
        name = control.name if control.k is None or counted else f"{control.name}, k={control.k}"
        line = found.setdefault(name, [None] * len(across))
        for place, those in enumerate(shots):
            if control.k is None or not those or control.k in those:
                line[place] = control.accuracy
    return found


def best(study: Evaluated, over: Names) -> Table:
    """See `Study.best`."""
    picked = several(over)
    study.check(*picked)
    down = study.varying([SEED, *picked])
    lines: list[tuple[Entry, ...]] = []
    for values in study.combinations(down):
        options = {listed(of): study.having(values | of) for of in study.combinations(picked)}
        correct = {name: np.mean([cell.result.correct for cell in cells], axis=0) for name, cells in options.items() if cells}
        if correct:
            shares = {name: float(each.mean()) for name, each in correct.items()}
            top, low = max(shares, key=shares.__getitem__), min(shares.values())
            average, flattery = float(np.mean([*shares.values()])), selection.optimism(np.array([*correct.values()]))
            lines.append((*values.values(), len(shares), average, low, shares[top], flattery, top))
    return Table(
        title=f"{study.title} · the best over {' × '.join(picked)}",
        columns=(*down, "N", "mean", "worst", "best", "optimism", "the best is"),
        rows=tuple(lines),
        names=len(down),
        caption=f"{study.averaged([*down, *picked])}; ".removeprefix("; ")
        + "optimism: of the best on a random half of the items, its accuracy there less that on the other half; "
        f"mean of {selection.HALVINGS} halvings",
    )


def compare(study: Evaluated, on: str, to: Any, by: Names, metric: str | None) -> Table:
    """See `Study.compare`."""
    metric = measures.check_metric(study.cells, metric)
    down = several(by)
    study.check(on, *down)
    (reference,) = study.where(**{on: to}).dimensions[on]
    head = f"difference to {text_of(reference)}"
    lines: list[tuple[Entry, ...]] = []
    for values in study.combinations([on, *down]):
        if values[on] != reference:
            pairs = paired(study, on, reference, values)
            cells = [cell for cell, _ in pairs]
            figures = (measures.mean(cells, metric), measures.difference(pairs, metric)) if pairs else (None, None)
            lines.append((*values.values(), *figures))
    return Table(
        title=study.title,
        columns=(on, *down, metric, head),
        rows=tuple(lines),
        names=1 + len(down),
        caption=f"differences paired by item; {caption(study, [on, *down])}",
        signed=(head,),
    )


def paired(study: Evaluated, on: str, to: Plain, values: Mapping[str, Plain]) -> list[tuple[Cell, Cell]]:
    """The cells of these values, each with the one that differs from it in having `to` as its value of `on`."""
    pairs = [(cell, study.having({**cell.values, on: to})) for cell in study.having(values)]
    return [(cell, others[0]) for cell, others in pairs if others]


def split(study: Evaluated) -> Table:
    """See `Study.variance`."""
    factors = study.varying()
    found = [study.having(values) for values in study.combinations(factors)]
    if study.n < 2 or not all(found):
        raise InputError(
            "The variance decomposition needs at least two items and every combination of the values",
            code="too-few-items" if study.n < 2 else "missing-combinations",
            got=f"{study.n} items, {sum(map(bool, found))} of {len(found)} combinations",
            hint="Use where() to select values of which every combination was evaluated",
            items=study.n,
            combinations=len(found),
            evaluated=sum(map(bool, found)),
        )
    shape = [*(len(study.dimensions[name]) for name in factors), study.n]
    correct = np.array([cells[0].result.correct for cells in found]).reshape(shape)
    parts = variance.components(correct, [*factors, "items"])
    return Table(
        title=f"{study.title} · variance of right and wrong answers",
        columns=("part", "variance", "share", "standard deviation", "degrees of freedom"),
        rows=tuple((p.name, p.variance, p.share, max(0.0, p.variance) ** 0.5, p.degrees) for p in parts),
        names=1,
        decimals=4,
        caption="random effects by the method of moments, which may put a variance near 0 below it; "
        f"{variance.RESIDUAL}: what is left, noise included",
    )


def cell_line(cell: Cell) -> dict[str, object]:
    """A cell's values, run and figures."""
    figures: dict[str, object] = {}
    for name, metric in cell.result.metrics.items():
        figures |= {name: metric["value"], f"{name} low": metric["low"], f"{name} high": metric["high"]}
    return {**cell.values, "run": str(cell.run.path), **figures}


def item_lines(cell: Cell) -> list[dict[str, object]]:
    """A cell's values with each item's answer."""
    run, result = cell.run, cell.result
    rows = zip(run.ids, run.gold, result.predictions, result.correct, strict=True)
    return [{**cell.values, "id": i, "gold": gold, "prediction": said, "correct": bool(right)} for i, gold, said, right in rows]
