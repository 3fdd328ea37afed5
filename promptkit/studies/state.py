"""The state of a study while it runs: the cells that were built, and the runs and failures so far."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from promptkit.core.errors import InputError, PromptkitError
from promptkit.core.model import Model
from promptkit.display.table import Plain
from promptkit.predictor.predictor import Predictor
from promptkit.runs.run import Run
from promptkit.studies.cells import TASK, Cell, Failure, StudiedTask
from promptkit.studies.grid import ALIGN, cells, plain_value
from promptkit.studies.study import Study

Build = Callable[..., Predictor | Sequence[Predictor]]
"""A function that builds a cell's predictor from its values, or several predictors that share a pass over the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCell:
    """One combination of values, with its predictors."""

    values: Mapping[str, Plain]
    studied: StudiedTask
    """The task that it is evaluated on."""
    predictors: Sequence[Predictor]
    key: str
    """Equal for cells with equal settings, which share a run."""

    @property
    def model(self) -> Model:
        """The model that its predictors share."""
        return self.predictors[0].model


class GridState:
    """The cells of a study, and the runs and failures so far."""

    def __init__(
        self, build: Build, tasks: Sequence[StudiedTask], limit: int | None, dimensions: Mapping[str, tuple[object, ...]]
    ) -> None:
        self.runs: dict[str, Run] = {}
        """Key -> finished run."""
        self.reasons: dict[str, str] = {}
        """Key -> why the run failed."""
        self._tasks, self._limit = {each.name: each for each in tasks}, limit
        self._started = time.perf_counter()
        self._build_failures: list[Failure] = []
        self._built: list[BuiltCell] = []
        self._models: dict[str, Model] = {}
        self._latest: Model | None = None
        self._identities: dict[int, tuple[Model, str]] = {}
        self._dimensions = {name: tuple(map(plain_value, values)) for name, values in dimensions.items()}
        shares_a_pass = self._build_cells(build, dimensions)
        if shares_a_pass:
            self._add_align_dimension()

    def _build_cells(self, build: Build, dimensions: Mapping[str, tuple[object, ...]]) -> bool:
        """Builds all predictors; returns whether some cell has a list of them."""
        any_list = False
        for values in cells(dimensions):
            plain = {name: plain_value(value) for name, value in values.items()}
            try:
                built = build(**values)
            except PromptkitError as error:
                self._build_failures.append(Failure(values=plain, reason=str(error)))
                continue
            any_list = any_list or isinstance(built, Sequence)
            studied = self._tasks[str(plain.get(TASK, next(iter(self._tasks))))]
            self._built.append(self._cell(plain, studied, _predictors(built)))
        return any_list

    def _add_align_dimension(self) -> None:
        if ALIGN in self._dimensions:
            raise InputError(
                f"The dimension {ALIGN} is reserved for predictors that share a pass",
                code="reserved-dimension",
                hint="Use another name",
                dimension=ALIGN,
            )
        names = (predictor.name for cell in self._built for predictor in cell.predictors)
        self._dimensions[ALIGN] = tuple(dict.fromkeys(names))

    def _cell(self, values: Mapping[str, Plain], studied: StudiedTask, predictors: Sequence[Predictor]) -> BuiltCell:
        predictors = [self._with_shared_model(predictor) for predictor in predictors]
        settings = [[predictor.manipulate.settings(), predictor.chain.settings()] for predictor in predictors]
        key = json.dumps([studied.name, self._identity(predictors[0].model), settings])
        return BuiltCell(values=values, studied=studied, predictors=predictors, key=key)

    def _with_shared_model(self, predictor: Predictor) -> Predictor:
        """Returns a copy of the predictor with the first equal model of the study, so that a model is loaded once."""
        shared = copy(predictor)
        shared.model = self._models.setdefault(self._identity(predictor.model), predictor.model)
        return shared

    def _identity(self, model: Model) -> str:
        if id(model) not in self._identities:  # a reference to the model prevents the reuse of its id
            self._identities[id(model)] = model, json.dumps(model.identity(), sort_keys=True)
        return self._identities[id(model)][1]

    def runs_to_do(self) -> dict[str, BuiltCell]:
        """Returns the key of each run, with the first cell that has it; the runs of a model are one after the other."""
        first_cells: dict[str, BuiltCell] = {}
        for cell in self._built:
            first_cells.setdefault(cell.key, cell)
        order = list(self._models.values())
        return dict(sorted(first_cells.items(), key=lambda item: order.index(item[1].model)))

    def switch_model(self, cell: BuiltCell | None) -> None:
        """Releases the memory of the model of the latest run, if the study has several and the next run has another one.

        Args:
            cell: The cell of the next run; None at the end.
        """
        latest, self._latest = self._latest, None if cell is None else cell.model
        if latest is not None and len(self._models) > 1 and latest is not self._latest:
            latest.close()

    def failures(self) -> list[Failure]:
        """Returns the cells that could not be built or evaluated."""
        failed = (cell for cell in self._built if cell.key in self.reasons)
        return [*self._build_failures, *(Failure(values=cell.values, reason=self.reasons[cell.key]) for cell in failed)]

    def study(self) -> Study | None:
        """Returns the cells that are evaluated so far, or None if there are none."""
        evaluated = [
            Cell(values={**cell.values, **({ALIGN: result.align} if ALIGN in self._dimensions else {})}, run=run, result=result)
            for cell in self._built
            if (run := self.runs.get(cell.key)) is not None
            for result in run.results
        ]
        if not evaluated:
            return None
        return Study(
            tasks=tuple(self._tasks.values()),
            limit=self._limit,
            dimensions=self._dimensions,
            cells=tuple(evaluated),
            failures=tuple(self.failures()),
            seconds=time.perf_counter() - self._started,
        )


def _predictors(built: Predictor | Sequence[Predictor]) -> Sequence[Predictor]:
    """Returns the result of a build function as a list; raises InputError if it contains anything but predictors."""
    predictors = list(built) if isinstance(built, Sequence) else [built]
    if not predictors or not all(isinstance(predictor, Predictor) for predictor in predictors):
        raise InputError(
            "The function of a study must return a predictor",
            code="not-a-predictor",
            got=repr(built)[:100],
            hint="Write return pk.Predictor(model, prompt, labels), or return a list of predictors with one model and prompt",
            value=repr(built)[:100],
        )
    return predictors
