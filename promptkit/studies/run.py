"""A grid of predictors over one task, evaluated: cells of equal settings once, finished ones read, failed ones told."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from promptkit.core.errors import InputError, PromptkitError, RunError
from promptkit.core.model import Model
from promptkit.display.table import Plain
from promptkit.evaluation.evaluate import OUT, evaluate
from promptkit.predictor.predictor import Predictor
from promptkit.runs.run import Run
from promptkit.studies.cells import Cell, Failure
from promptkit.studies.grid import ALIGN, cells, check_takes, dimensions, plain
from promptkit.studies.progress import Moment, NotebookBar, Progress, in_notebook
from promptkit.studies.study import Study
from promptkit.tasks.task import Task

Build = Callable[..., Predictor | Sequence[Predictor]]
"""Makes a cell's predictor from its values, or several that share a pass."""

_log = logging.getLogger(__name__)


def study(
    build: Build,
    task: Task,
    /,
    *,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    **grid: object,
) -> Study:
    """Evaluate `build(**cell)` for every combination of the values of `grid`.

    A value that is a list, a range or the like is a dimension; a text, a number or a mapping is a constant. Where `build`
    gives several predictors that share a pass, `align` is one more dimension. Cells of equal settings are one run; runs that
    are finished are read, a broken one continues, and prompts that cells share are answered once. A cell that fails leaves
    the others be: it is told by a warning, and stands in `failures`. Raises RunError if all fail.

    `progress` is called with a `Moment`; a notebook shows a bar unless it is given.
    """
    made = evaluated(build, task, grid, out=out, split=split, limit=limit, cache=cache, progress=progress)
    if made.failures:
        _log.warning("%s", made.trouble)
    return made


def evaluated(
    build: Build,
    task: Task,
    grid: Mapping[str, object],
    *,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Study:
    """As `study`, without a word about the cells that fail."""
    if not isinstance(task, Task):
        raise InputError(
            "A study needs a task object",
            code="not-a-task",
            got=repr(task)[:100],
            hint='Write pk.task("sentiment")',
            value=repr(task)[:100],
        )
    table = dimensions(grid)
    check_takes(build, table)
    show = progress or (NotebookBar() if in_notebook() else lambda moment: None)
    state = _State(build, task, split or task.spec.split, limit, table)
    for number, (key, cell) in enumerate(state.distinct.items()):
        moment = partial(Moment, done=number, of=len(state.distinct), values=cell.values, so_far=state.study())

        def rows(done: int, total: int, moment: Callable[..., Moment] = moment) -> None:
            show(moment(rows=(done, total)))

        show(moment())
        try:
            state.runs[key] = evaluate(cell.predictors, task, split=split, limit=limit, out=out, cache=cache, progress=rows)
        except PromptkitError as error:
            state.reasons[key] = str(error)
    made = state.study()
    show(Moment(done=len(state.distinct), of=len(state.distinct), values={}, so_far=made))
    if made is None:
        failures = state.failures()
        raise RunError(
            f"Every cell of the study failed. The first error: {failures[0].reason}",
            code="all-cells-failed",
            failures=len(failures),
            reason=failures[0].reason,
        )
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """One combination of values, and what was built for it."""

    values: Mapping[str, Plain]
    predictors: Sequence[Predictor]
    key: str
    """Equal where all settings are."""


class _State:
    """The combinations of a study, and what became of each so far."""

    def __init__(
        self, build: Build, task: Task, split: str, limit: int | None, table: Mapping[str, tuple[object, ...]]
    ) -> None:
        self.runs: dict[str, Run] = {}
        """By key, those that are finished."""
        self.reasons: dict[str, str] = {}
        """By key, why it failed."""
        self._task, self._split, self._limit = task, split, limit
        self._started = time.perf_counter()
        self._unbuilt: list[Failure] = []
        self._built: list[_Built] = []
        self._models: dict[str, Model] = {}
        self._identities: dict[int, tuple[Model, str]] = {}
        lists = False
        for values in cells(table):
            named = {name: plain(value) for name, value in values.items()}
            try:
                made = build(**values)
            except PromptkitError as error:
                self._unbuilt.append(Failure(values=named, reason=str(error)))
                continue
            lists = lists or isinstance(made, Sequence)
            self._built.append(self._keyed(named, _predictors(made)))
        self._dimensions: dict[str, tuple[Plain, ...]] = {name: tuple(map(plain, found)) for name, found in table.items()}
        if lists:
            if ALIGN in table:
                raise InputError(
                    f"The dimension {ALIGN} is reserved for predictors that share a pass",
                    code="reserved-dimension",
                    hint="Use another name",
                    dimension=ALIGN,
                )
            self._dimensions[ALIGN] = tuple(dict.fromkeys(each.name for cell in self._built for each in cell.predictors))

    def _keyed(self, values: Mapping[str, Plain], predictors: Sequence[Predictor]) -> _Built:
        shared = [self._sharing(each) for each in predictors]
        settings = [[each.manipulate.settings(), each.chain.settings()] for each in shared]
        return _Built(values=values, predictors=shared, key=json.dumps([self._identity(shared[0].model), settings]))

    def _sharing(self, predictor: Predictor) -> Predictor:
        """The predictor with the first model that is the same, so that no two are loaded."""
        other = copy(predictor)
        other.model = self._models.setdefault(self._identity(predictor.model), predictor.model)
        return other

    def _identity(self, model: Model) -> str:
        if id(model) not in self._identities:  # the model is kept with it, so that its number is no other's
            self._identities[id(model)] = model, json.dumps(model.identity(), sort_keys=True)
        return self._identities[id(model)][1]

    @property
    def distinct(self) -> dict[str, _Built]:
        """The first cell of each run."""
        found: dict[str, _Built] = {}
        for cell in self._built:
            found.setdefault(cell.key, cell)
        return found

    def failures(self) -> list[Failure]:
        """The cells that could not be built or evaluated."""
        failed = [
            Failure(values=each.values, reason=self.reasons[each.key]) for each in self._built if each.key in self.reasons
        ]
        return [*self._unbuilt, *failed]

    def study(self) -> Study | None:
        """What is evaluated; None if nothing is."""
        found = [
            Cell(values={**cell.values, **({ALIGN: result.align} if ALIGN in self._dimensions else {})}, run=run, result=result)
            for cell in self._built
            if (run := self.runs.get(cell.key)) is not None
            for result in run.results
        ]
        if not found:
            return None
        return Study(
            task=self._task,
            split=self._split,
            limit=self._limit,
            dimensions=self._dimensions,
            cells=tuple(found),
            failures=tuple(self.failures()),
            seconds=time.perf_counter() - self._started,
        )


def _predictors(made: Predictor | Sequence[Predictor]) -> Sequence[Predictor]:
    """What was built, as a list; raises for what is no predictor."""
    found = list(made) if isinstance(made, Sequence) else [made]
    if not found or not all(isinstance(each, Predictor) for each in found):
        raise InputError(
            "The function of a study must return a predictor",
            code="not-a-predictor",
            got=repr(made)[:100],
            hint="Write return pk.Predictor(model, prompt, labels), or return a list of predictors with one model and prompt",
            value=repr(made)[:100],
        )
    return found
