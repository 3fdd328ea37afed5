"""The configuration of a study: tasks, options shared by all cells, and a grid over other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.build import predictor_builder
from promptkit.config.grid import GridOptions
from promptkit.config.key_paths import name_key
from promptkit.config.values import Metavar, RelativePath, Spelled, as_list
from promptkit.core.arguments import check_value
from promptkit.core.errors import PromptkitError, unknown
from promptkit.core.paths import OUT, STUDIES, expanded, folder
from promptkit.runs.recorded import record_options
from promptkit.tasks.options import DataOptions
from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import YAML, errors_at

if TYPE_CHECKING:
    from promptkit.core.model import Model
    from promptkit.display.progress import Display, Progress
    from promptkit.display.table import Table
    from promptkit.manipulate.demos import Selector
    from promptkit.predictor.predictor import Predictor
    from promptkit.studies.baselines import Baselines
    from promptkit.studies.progress import StudyProgress
    from promptkit.studies.study import Study
    from promptkit.tasks.task import Task

TASK = "task"


class CompareOptions(StrictModel):
    """The comparison of a study's cells with reference cells."""

    to: dict[str, Any] | Literal["best"] = "best"
    """The values of the reference, such as {model: demo}, from which cells with other values of these options differ; or best:
    every cell is compared with the best one."""
    by: Annotated[list[str], BeforeValidator(as_list)] = Field(default_factory=list)
    """The options with a comparison for each of their values, such as task."""
    metric: str | None = None
    """The metric; by default the main one."""


class StudyConfig(GridOptions):
    """The configuration of a study: the options of an evaluation, some of which `grid` gives a list of values."""

    noun: ClassVar[str] = "study"
    example: ClassVar[str] = "It names a task and a grid, such as grid: {shots: [0, 4]}"

    task: Annotated[str, RelativePath(or_name=True), Metavar("TASK")] = ""
    """Name from `promptkit tasks`, task file (.yaml), or data file (csv, tsv, jsonl, parquet, xlsx); a list of them is the
    dimension task of the grid."""
    description: str = ""
    """One-line description of what the study measures."""
    baselines: list[Spelled] | None = None
    """Adds baselines without a language model: from the whole pool, and from the demonstrations of these selectors, such as
    [random]. A selector without k is used with the numbers of demonstrations of the cells."""
    compare: CompareOptions | None = None
    """Prints the differences of cells from reference cells, with p-values."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """Option -> list of values: the dimensions of the study, in order."""

    @model_validator(mode="after")
    def _check_a_task_is_given(self) -> Self:
        if not self.task and TASK not in self.grid:
            raise PydanticCustomError("missing-option", "A study needs a task", {"option": TASK, "key": TASK})
        return self

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads a study. Paths are relative to its file.

        Args:
            path: The path of a YAML file, or the name of a shipped study.

        Raises:
            InputError: There is no such study, or its grid is invalid.
            TaskError: The file does not define a study.
        """
        return super().from_yaml(_study_path(path))

    def run(
        self,
        *,
        out: str | Path = OUT,
        cache: bool = True,
        progress: Progress | Display[StudyProgress] | Literal[False] | None = None,
    ) -> Study:
        """Evaluates every cell of a study, each as `promptkit eval` would.

        All cells are checked before the first one is evaluated. Cells are grouped by model, and one model is in memory at a
        time.

        Args:
            out: The folder for the run folders.
            cache: Whether the score cache is used.
            progress: As for `pk.study`.
        """
        from promptkit.studies.grid import cells, plain_value
        from promptkit.studies.run import evaluate_grid

        self._check_compared()
        combinations = cells(self.dimensions())
        tasks = {name: _load_task(self, name) for name in self.grid.get(TASK, [self.task])}
        names = {id(task): name for name, task in tasks.items()}
        models: dict[str, Model] = {}

        def build_cell(**values: object) -> Predictor | list[Predictor]:
            cell = {name: names.get(id(value), value) for name, value in values.items()}
            config = self.cell(cell)
            build = _predictor_builder(self, tasks[config.task], cell)
            key = f"{config.model} {config.engine_settings()}"
            if key not in models:
                models[key] = _load_model(self, cell)
            predictors = build(models[key])
            return predictors if len(predictors) > 1 else predictors[0]

        for cell in combinations:
            _predictor_builder(self, tasks[self.cell(cell).task], cell)
        _baseline_selectors(self, [self.num_shots])
        several = TASK in self.grid
        study = evaluate_grid(
            build_cell,
            {**self.grid, **({TASK: [*tasks.values()]} if several else {})},
            task=None if several else tasks[self.task],
            out=out,
            **self.selected_rows(),
            metrics=self.metric or None,
            cache=cache,
            progress=progress,
        )
        for cell in combinations:
            values = {name: tasks[value].name if name == TASK else plain_value(value) for name, value in cell.items()}
            for evaluated in study.having(values):
                record_options(evaluated.run.path, self.cell(cell).changed())
        return study

    def _check_compared(self) -> None:
        """Checks the names of the options that are compared, before anything is evaluated."""
        if self.compare is None:
            return
        known = [*self.grid, "align"]
        compared = self.compare.to if isinstance(self.compare.to, dict) else {}
        for key, names in (("to", compared), ("by", self.compare.by)):
            with errors_at(self.file, f"compare.{key}"):
                for name in names:
                    if name not in known:
                        raise unknown("option of the grid", name, known)

    def comparison(self, study: Study) -> Table | None:
        """Returns the comparison that a study file asks for, over the finished study; None if it asks for none."""
        if self.compare is None:
            return None
        on = list(self.compare.to) if isinstance(self.compare.to, dict) else None
        with errors_at(self.file, "compare"):
            return study.compare(on=on, to=self.compare.to, by=self.compare.by, metric=self.compare.metric)

    def compute_baselines(self, study: Study) -> Baselines | None:
        """Computes the baselines that a study file names, on the rows of the finished study; None if it names none."""
        from promptkit.models.registry import load

        if self.baselines is None:
            return None
        shots = list(dict.fromkeys(int(cell.values.get("shots", self.num_shots) or 0) for cell in study.cells))
        selectors = _baseline_selectors(self, shots)
        model = load(self.grid.get("model", [self.model])[0], **self.engine_settings()) if selectors else None
        return study.baselines(*selectors, model=model)


def _study_path(name: str | Path) -> Path:
    check_value("path", name, str | Path, of="StudyConfig.from_yaml")
    path, shipped = expanded(name), folder("evals") / STUDIES
    if path.suffix in YAML:
        return path
    path = shipped / f"{name}.yaml"
    if not path.is_file():
        known = (file.stem for file in shipped.glob("*.yaml"))
        raise unknown("study", str(name), known, hint="For your own study, give the path of its YAML file")
    return path


def _baseline_selectors(spec: StudyConfig, shots: Sequence[int]) -> list[Selector]:
    """Builds the selectors of the baselines: with the k of their spec, or once for each number of demonstrations above 0."""
    from promptkit.core.registry import build, parse
    from promptkit.manipulate.demos import SELECTORS

    selectors: list[Selector] = []
    for index, spelling in enumerate(spec.baselines or ()):
        with errors_at(spec.file, f"baselines[{index}]"):
            for k in [0] if "k" in parse(spelling)[1] else filter(None, shots):
                selectors.append(build("demonstration selector", SELECTORS, spelling, k=k, seed=spec.seed))
    return selectors


def _load_task(spec: StudyConfig, name: str) -> Task:
    """Loads a task of a study, and checks that it has the split."""
    template = spec.template or next(iter(spec.grid.get("template", [])), None)
    key = f"grid.{TASK}[{spec.grid[TASK].index(name)}]" if TASK in spec.grid else TASK

    def load(without: str | None) -> Task:
        given = {TASK: name, "template": template} if without is None else {TASK: name, "template": template, without: None}
        return spec.model_copy(update=given).load_task()

    given = [option for option in DataOptions.model_fields if option in spec.model_fields_set]
    task = name_key(spec.file, load, {option: option for option in given}, default=key)
    if spec.split:
        with errors_at(spec.file, "split", only=("split",)):
            task.rows(spec.split)
    return task


def _predictor_builder(spec: StudyConfig, task: Task, cell: Mapping[str, object]) -> Callable[[Model], list[Predictor]]:
    """Checks the options of a cell, and returns a function that builds its predictors for a model."""

    def check(without: str | None) -> Callable[[Model], list[Predictor]]:
        return predictor_builder(spec.cell(cell, without), task)

    return name_key(spec.file, check, spec.keys(cell))


def _load_model(spec: StudyConfig, cell: Mapping[str, object]) -> Model:
    keys = spec.keys(cell)
    try:
        return spec.cell(cell).load_model()
    except PromptkitError as error:
        is_setting = "setting" in error.fields or str(error.fields.get("kind", "")).startswith("setting")
        with errors_at(spec.file, keys.get("set", "set") if is_setting else keys.get("model", "model")):
            raise
