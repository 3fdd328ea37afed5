"""The runs of one evaluation with several seeds: means over rows and seeds, and the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import stdev
from typing import TYPE_CHECKING, Self

from promptkit.display.notes import note_lines
from promptkit.display.table import Entry, Plain, Table
from promptkit.metrics.intervals import Estimate
from promptkit.runs.run import Run
from promptkit.studies import measures
from promptkit.studies.cells import SEED, Cell, StudiedTask
from promptkit.studies.grid import ALIGN
from promptkit.studies.study import Study
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from pandas import DataFrame

SPREAD = ("sd", "lowest", "highest")
"""The columns of the spread of the main metric over seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A metric of a branch over several seeds."""

    mean: Estimate
    """The mean over rows and seeds, with its 95% interval."""
    values: tuple[float, ...]
    """The value of each seed."""

    @property
    def sd(self) -> float:
        """The standard deviation over seeds."""
        return stdev(self.values)

    def to_json(self) -> dict[str, object]:
        """Returns the mean with its interval, and the spread over seeds."""
        spread = {"sd": self.sd, "lowest": min(self.values), "highest": max(self.values), "values": list(self.values)}
        return {**asdict(self.mean), **spread}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRuns:
    """The runs of several seeds on the same rows. `print` shows a table of means and one of the seeds."""

    study: Study
    """The runs, with the dimension seed, and align if there are calibrations."""

    @classmethod
    def of(cls, runs: Mapping[int, Run], task: Task, *, limit: int | None, seconds: float) -> Self:
        """Returns the runs of several seeds.

        Args:
            runs: Seed -> run.
            task: The task of all runs.
            limit: The limit on the number of rows; None for all.
            seconds: Duration of the evaluation.
        """
        first = next(iter(runs.values()))
        branches = tuple(result.align for result in first.results)
        dimensions: dict[str, tuple[Plain, ...]] = {SEED: tuple(runs), **({ALIGN: branches} if len(branches) > 1 else {})}
        cells = [
            Cell(values={SEED: seed, **({ALIGN: result.align} if len(branches) > 1 else {})}, run=run, result=result)
            for seed, run in runs.items()
            for result in run.results
        ]
        studied = StudiedTask.of(task, first.split)
        return cls(study=Study(tasks=(studied,), limit=limit, dimensions=dimensions, cells=tuple(cells), seconds=seconds))

    @property
    def runs(self) -> dict[int, Run]:
        """The run of each seed; seeds that change nothing share a run."""
        return {int(str(cell.values[SEED])): cell.run for cell in self.study.cells}

    @property
    def branches(self) -> dict[str, list[Cell]]:
        """Branch -> its cells, one for each seed."""
        names = dict.fromkeys(cell.result.align for cell in self.study.cells)
        return {name: [cell for cell in self.study.cells if cell.result.align == name] for name in names}

    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Returns each metric of each branch: branch -> metric -> mean and spread over seeds."""
        return {name: {metric: _spread(cells, metric) for metric in _metrics(cells)} for name, cells in self.branches.items()}

    def table(self) -> Table:
        """Returns a table with a row for each branch: the mean of each metric, and the spread of the main one over seeds."""
        rows: list[tuple[Entry, ...]] = []
        spreads = self.spreads()
        names = list(next(iter(spreads.values())))
        for branch, metrics in spreads.items():
            main = metrics[names[0]]
            others = (metrics[name].mean if name in metrics else None for name in names[1:])
            rows.append((branch, main.mean, main.sd, min(main.values), max(main.values), *others))
        first, *titles = (measures.metric_of(self.study.cells[0], name).title for name in names)
        return Table(
            title=f"{self.study.title} · {len(self.runs)} seeds",
            columns=("alignment", first, *SPREAD, *titles),
            rows=(*rows, *self._baseline_rows(names)),
            names=1,
            caption=f"means over {len(self.runs)} seeds; below each figure its 95% interval over items and seeds; "
            f"sd, lowest, highest: {first} of the seeds",
        )

    def _baseline_rows(self, names: Sequence[str]) -> list[tuple[Entry, ...]]:
        """The rows of baselines without a model, which depend on no seed: those of the first run."""
        baselines = self.study.cells[0].run.baselines
        rows: list[tuple[Entry, ...]] = []
        for result in baselines.results if baselines else ():
            main, *others = (Estimate(**result.metrics[name]) if name in result.metrics else None for name in names)
            rows.append((f"no model: {result.name}", main, None, None, None, *others))
        return rows

    def seeds_table(self) -> Table:
        """Returns a table with a row for each seed: the main metric of each branch, and the folder of the run."""
        branches = self.branches
        metric = measures.check_metric(self.study.cells, None)
        return Table(
            title=f"{measures.metric_of(self.study.cells[0], metric).title} of each seed",
            columns=(SEED, *branches, "run"),
            rows=tuple(
                (seed, *(_value(_cell_of(cells, seed), metric) for cells in branches.values()), str(run.path))
                for seed, run in self.runs.items()
            ),
            names=1,
        )

    def notes(self) -> list[str]:
        """Returns the notes of the runs, the parts of the variance, and a note if the seeds change nothing."""
        notes = list(dict.fromkeys(note for run in self.runs.values() for note in run.notes))
        if len({run.path for run in self.runs.values()}) == 1:
            return [*notes, "the seeds change nothing: all of them have the same prompts and answers, and share one run"]
        return notes + [
            f"variance of right and wrong answers, {branch}: "
            + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
            for branch, shares in self.variance_shares().items()
        ]

    def variance_shares(self) -> dict[str, dict[str, float]]:
        """Returns the shares of the variance of right and wrong answers: branch -> items, seed, residual -> share."""
        if self.study.n < 2:
            return {}
        align = self.study.dimensions.get(ALIGN)
        parts = (
            {str(name): self.study.where(align=name) for name in align} if align else {next(iter(self.branches)): self.study}
        )
        return {name: {str(row[0]): float(str(row[2])) for row in part.variance().rows} for name, part in parts.items()}

    def to_pandas(self) -> DataFrame:
        """Returns a data frame with a row for each seed and branch."""
        return self.study.to_pandas()

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit eval --seeds --json` prints."""
        first = self.study.cells[0].run
        spreads = self.spreads().items()
        return {
            "task": first.task,
            "split": first.split,
            "n": len(first.ids),
            "model": first.model,
            "seeds": list(self.runs),
            "seconds": round(self.study.seconds, 3),
            "results": [
                {"align": name, "metrics": {key: each.to_json() for key, each in metrics.items()}} for name, metrics in spreads
            ],
            "variance": self.variance_shares(),
            "runs": {seed: run.to_json() for seed, run in self.runs.items()},
            "notes": self.notes(),
        }

    def __str__(self) -> str:
        return "\n\n".join([str(self.table()), str(self.seeds_table()), *note_lines(self.notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + self.seeds_table()._repr_html_()


def _metrics(cells: Sequence[Cell]) -> list[str]:
    """The metrics that all cells have."""
    return [name for name in cells[0].result.metrics if all(name in cell.result.metrics for cell in cells)]


def _spread(cells: Sequence[Cell], metric: str) -> Spread:
    values = tuple(float(cell.result.metrics[metric]["value"]) for cell in cells)
    return Spread(mean=measures.mean(cells, metric), values=values)


def _cell_of(cells: Sequence[Cell], seed: int) -> Cell | None:
    return next((cell for cell in cells if cell.values[SEED] == seed), None)


def _value(cell: Cell | None, metric: str) -> float | None:
    return None if cell is None else float(cell.result.metrics[metric]["value"])
