"""The evaluated cells of a grid, and how some of them are picked out. Knows nothing of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from promptkit.core.errors import InputError, unknown
from promptkit.display.table import Plain, text_of
from promptkit.runs.run import Result, Run
from promptkit.studies.grid import listed
from promptkit.tasks.task import Task

SEED = "seed"
"""The dimension whose values are a sample of what there could have been."""
REASONS = 3
"""How many different reasons of failed cells are told."""

Names = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of a study's values, evaluated."""

    values: Mapping[str, Plain]
    """Dimension -> value."""
    run: Run
    """Cells of equal settings share it."""
    result: Result
    """The branch of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A combination of values that could not be evaluated."""

    values: Mapping[str, Plain]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Cells over the same items."""

    task: Task
    split: str
    limit: int | None
    dimensions: Mapping[str, tuple[Plain, ...]]
    """Each with its values in the order given; `align` last, where predictors share a pass."""
    cells: tuple[Cell, ...]
    """In the order of their dimensions."""
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0

    @property
    def n(self) -> int:
        """How many items."""
        return len(self.cells[0].run.ids)

    @property
    def title(self) -> str:
        """Task, split, items and models."""
        models = list(dict.fromkeys(cell.run.model for cell in self.cells))
        named = models[0] if len(models) == 1 else f"{len(models)} models"
        return f"{self.task.name} · {self.split} · {self.n} rows · {named}"

    @property
    def trouble(self) -> str:
        """Which combinations could not be evaluated, and why, in one paragraph; empty if all could."""
        reasons: dict[str, list[Failure]] = {}
        for failure in self.failures:
            reasons.setdefault(failure.reason, []).append(failure)
        told = [
            f"{listed(failed[0].values)}{f' and {len(failed) - 1} more' if len(failed) > 1 else ''}: {reason}"
            for reason, failed in reasons.items()
        ]
        more = f" And {len(told) - REASONS} other reasons." if len(told) > REASONS else ""
        count = len(self.failures)
        failed = "A cell of the study failed and is" if count == 1 else f"{count} cells of the study failed and are"
        return f"{failed} left out: {' '.join(told[:REASONS])}{more}" if count else ""

    def where(self, **values: Any) -> Self:
        """The cells of these values, each one or a list: `where(demos="random", k=[2, 4])`."""
        wanted = {name: {text_of(value) for value in several(given)} for name, given in values.items()}
        for name, texts in wanted.items():
            self.check(name)
            known = list(map(text_of, self.dimensions[name]))
            foreign = sorted(texts - set(known))
            if foreign:
                raise unknown(f"value of {name} in the study", foreign[0], known)
        table = {
            name: tuple(value for value in known if name not in wanted or text_of(value) in wanted[name])
            for name, known in self.dimensions.items()
        }
        cells = tuple(cell for cell in self.cells if all(cell.values[name] in table[name] for name in table))
        if not cells:
            given = listed({k: str(v) for k, v in values.items()})
            raise InputError("No cell with these values was evaluated", code="no-such-cell", got=given, values=given)
        return replace(self, dimensions=table, cells=cells)

    def check(self, *names: str) -> None:
        """Raise for what is no dimension of the study."""
        for name in names:
            if name not in self.dimensions:
                raise unknown("dimension of the study", name, self.dimensions)

    def varying(self, besides: Iterable[str] = ()) -> list[str]:
        """The dimensions that have several values."""
        return [name for name, values in self.dimensions.items() if len(values) > 1 and name not in besides]

    def combinations(self, names: Sequence[str]) -> list[dict[str, Plain]]:
        """Every combination of the values of some dimensions."""
        return [dict(zip(names, values, strict=True)) for values in product(*(self.dimensions[name] for name in names))]

    def having(self, values: Mapping[str, Plain]) -> list[Cell]:
        """The cells of these values."""
        return [cell for cell in self.cells if all(cell.values[name] == value for name, value in values.items())]

    def averaged(self, named: Iterable[str]) -> str:
        """What is averaged over where only these dimensions are named: `mean over seed (5)`, or nothing."""
        over = [f"{name} ({len(self.dimensions[name])})" for name in self.varying(named)]
        return f"mean over {', '.join(over)}" if over else ""


def several(given: object) -> list[Any]:
    """What is given, one or several, as a list."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
