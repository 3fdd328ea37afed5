"""Lists every class that a user names on the command line, in YAML and in saved runs, including registered ones."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from inspect import getdoc
from typing import Any, cast

from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.core.registry import Registry
from promptkit.manipulate.catalog import HasKind
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.modifiers import MODIFIERS
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.metrics import METRICS
from promptkit.models.registry import ENGINES
from promptkit.training.optimizers import OPTIMIZERS

TABLES: tuple[Registry[Any], ...] = (
    *(SELECTORS, ORDERS, COT, MODIFIERS),
    *(FIRST_ALIGNERS, EXTRACTIONS, CALIBRATIONS, PROBES, LABEL_MAPPINGS),
    *(METRICS, OPTIMIZERS, ENGINES),
)
"""The tables of everything that has a name, in the order of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKind:
    """Something that a user can name."""

    kind: str
    """What it is, such as `demonstration selector`."""
    name: str
    """Its name on the command line."""
    taxonomy: str
    """For a manipulation, its format, location and operator; empty for everything else."""
    description: str
    """The first line of its docstring."""


def named_kinds() -> list[NamedKind]:
    """Returns everything that a user can name, by kind."""
    return [
        NamedKind(
            kind=table.kind,
            name=name,
            taxonomy=_coordinates(name) if table is MODIFIERS else "",
            description=ENGINES[name].description if table is ENGINES else _first_line(entry),
        )
        for table in TABLES
        for name, entry in table.items()
    ]


def _coordinates(name: str) -> str:
    """Returns the format, location and operator of a manipulation."""
    return ", ".join(astuple(cast("type[HasKind]", MODIFIERS[name]).kind))


def _first_line(entry: object) -> str:
    """Returns the first line of the docstring of a class, or of the class of an object."""
    return (getdoc(entry if isinstance(entry, type) else type(entry)) or "").partition("\n")[0]
