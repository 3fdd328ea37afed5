"""The paired differences of a study: cells against a reference cell, with p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.core.errors import InputError, RunError
from promptkit.display.table import Entry, Plain, Table, text_of
from promptkit.metrics.paired_tests import TITLES, holm
from promptkit.studies import measures
from promptkit.studies.cells import SEED, TASK, Cell, EvaluatedGrid, Names, as_names
from promptkit.studies.grid import format_values
from promptkit.studies.measures import Difference
from promptkit.studies.tables import mean_of

BEST = "best"
"""The reference with the best mean."""
DIFFERENCE, P, HOLM = "difference", "p", "p Holm"


def compare(study: EvaluatedGrid, on: Names | None, to: object, by: Names, metric: str | None) -> Table:
    """Returns a table of paired differences; see `Study.compare`."""
    metric = measures.check_metric(study.cells, metric)
    by_names = as_names(by)
    study.check(*by_names)
    on_names = study.varying([SEED, TASK, *by_names]) if on is None else as_names(on)
    study.check(*on_names)
    if TASK in on_names or not on_names:
        raise _nothing_to_pair(study, TASK in on_names)
    if both := [name for name in on_names if name in by_names]:
        raise InputError(
            f"Cells with different values of {', '.join(both)} are compared, so they cannot also be compared within each value",
            code="conflicting-options",
            got=f"by={', '.join(by_names)}",
            hint="In by, name other dimensions, such as task and model, or leave it out",
            options=tuple(both),
        )
    reference = _reference(study, on_names, to, metric)
    compared = [
        (values, _pairs(study, reference, values))
        for values in study.combinations([*on_names, *by_names])
        if any(values[name] != value for name, value in reference.items())
    ]
    differences = [measures.difference(pairs, metric) if pairs else None for _, pairs in compared]
    adjusted = iter(holm([each.test.p for each in differences if each is not None]))
    lines: list[tuple[Entry, ...]] = []
    for (values, pairs), difference in zip(compared, differences, strict=True):
        figures: tuple[Entry, ...] = (None,) * 4
        if difference is not None:
            mean = measures.mean([cell for cell, _ in pairs], metric)
            figures = mean, difference.estimate, difference.test.p, next(adjusted)
        lines.append((*values.values(), *figures))
    return Table(
        title=study.title,
        columns=(*on_names, *by_names, metric, DIFFERENCE, P, HOLM),
        rows=tuple(lines),
        names=len(on_names) + len(by_names),
        caption=_caption(
            study, reference, metric, [*on_names, *by_names], differences, chosen=isinstance(to, str) and to == BEST
        ),
        signed=(DIFFERENCE,),
        p_values=(P, HOLM),
    )


def _nothing_to_pair(study: EvaluatedGrid, of_tasks: bool) -> InputError | RunError:
    if of_tasks:
        return RunError(
            "Rows of different tasks cannot be paired",
            code="different-tasks",
            hint="Compare along another dimension, with by='task' for a comparison within each task",
            tasks=tuple(each.name for each in study.tasks),
        )
    return InputError(
        "The study has no cells to compare: no dimension varies except seed and task",
        code="nothing-to-compare",
        hint="Add a dimension with several values to the grid",
        dimensions=tuple(study.dimensions),
    )


def _reference(study: EvaluatedGrid, names: Sequence[str], to: object, metric: str) -> dict[str, Plain]:
    """Returns the values of the cells that others are compared with."""
    if isinstance(to, str) and to == BEST and not (len(names) == 1 and BEST in study.dimensions[names[0]]):
        return _best(study, names, metric)
    values = to if isinstance(to, Mapping) else {names[0]: to}
    missing = [name for name in names if name not in values]
    if missing:
        raise InputError(
            f"The reference of a comparison needs a value of {', '.join(missing)}",
            code="incomplete-reference",
            got=str(to),
            hint=f"Write to={{{', '.join(f'{name!r}: ...' for name in names)}}}, or to='best'",
            missing=tuple(missing),
        )
    part = study.where(**values)
    return {name: part.dimensions[name][0] for name in names}


def _best(study: EvaluatedGrid, names: Sequence[str], metric: str) -> dict[str, Plain]:
    higher = measures.metric_of(study.cells[0], metric).higher_is_better
    means = [(mean_of(study, metric, values), values) for values in study.combinations(names)]
    known = [(mean.value, values) for mean, values in means if mean is not None]
    if not known:
        known = [(0.0, study.combinations(names)[0])]
    choose = max if higher else min
    return choose(known, key=lambda each: each[0])[1]


def _pairs(study: EvaluatedGrid, reference: Mapping[str, Plain], values: Mapping[str, Plain]) -> list[tuple[Cell, Cell]]:
    """Returns the cells with these values, each with the cell that differs only in having the values of the reference.

    Empty if tasks are averaged over and some task has no such pair.
    """
    pairs = [(cell, study.having({**cell.values, **reference})) for cell in study.having(values)]
    found = [(cell, references[0]) for cell, references in pairs if references]
    return found if TASK in values or study.of_every_task([cell for cell, _ in found]) else []


def _caption(
    study: EvaluatedGrid,
    reference: Mapping[str, Plain],
    metric: str,
    names: Sequence[str],
    differences: Sequence[Difference | None],
    *,
    chosen: bool,
) -> str:
    over = "items and seeds" if SEED in study.varying(names) else "items"
    tested = [each.test.test for each in differences if each is not None]
    shown = text_of(next(iter(reference.values()))) if len(reference) == 1 else format_values(reference)
    best = ", the best of them on these rows, so that p is too small" if chosen else ""
    parts = (
        study.averaged_over(names),
        f"{DIFFERENCE}: from {shown}{best}; paired by item",
        measures.direction(study.cells, metric),
        f"below figures their 95% intervals over {over}",
        f"{P}: {' or '.join(TITLES[name] for name in dict.fromkeys(tested))}" if tested else "",
        f"{HOLM}: adjusted for {len(tested)} comparisons" if len(tested) > 1 else "",
    )
    return "; ".join(filter(None, parts))
