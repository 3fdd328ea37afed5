"""The configuration of a study: tasks, options shared by all cells, and a grid over other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.build import predictor_builder
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.eval_options import EvalOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.key_paths import name_key
from promptkit.config.metrics import MetricOptions
from promptkit.config.task import RowOptions, TaskOptions
from promptkit.config.values import Metavar, RelativePath, Spelled, as_list
from promptkit.core.arguments import check_value
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError, PromptkitError, unknown
from promptkit.core.paths import OUT, STUDIES, expanded, folder
from promptkit.runs.recorded import record_options
from promptkit.tasks.options import DataOptions
from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import YAML, errors_at

if TYPE_CHECKING:
    from promptkit.core.model import Model
    from promptkit.display.table import Table
    from promptkit.manipulate.demos import Selector
    from promptkit.predictor.predictor import Predictor
    from promptkit.studies.baselines import Baselines
    from promptkit.studies.progress import Progress
    from promptkit.studies.study import Study
    from promptkit.tasks.task import Task

SHARED = frozenset(
    name for group in (DataOptions, RowOptions, MetricOptions, CalibrationOptions) for name in group.model_fields
)
"""The options that are the same for all cells of a study."""
LISTED = (*TaskOptions.model_fields, "model")
"""The options whose lists may stand outside of the grid."""
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


class StudyConfig(EvalOptions):
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
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _move_lists_into_the_grid(cls, values: Any) -> Any:  # pydantic passes whatever is given
        grid = values.get("grid", {}) if isinstance(values, Mapping) else None
        if not isinstance(grid, Mapping):
            return values
        lists = {name: [*values[name]] for name in LISTED if isinstance(values.get(name), list | tuple) and values[name]}
        repeated = next((name for name in lists if name in grid), None)
        if repeated is not None:
            raise _duplicate(repeated)
        rest = {name: value for name, value in values.items() if name not in lists}
        return {**rest, "grid": {**lists, **grid}} if lists else values

    @model_validator(mode="after")
    def _check_a_task_is_given(self) -> Self:
        if not self.task and TASK not in self.grid:
            raise PydanticCustomError("missing-option", "A study needs a task", {"option": TASK, "key": TASK})
        return self

    @model_validator(mode="after")
    def _check_no_option_is_given_twice(self) -> Self:
        repeated = next((name for name in self.grid if name in self.model_fields_set), None)
        if repeated is not None:
            raise _duplicate(repeated)
        return self

    @model_validator(mode="after")
    def _check_no_calibration_is_in_the_grid(self) -> Self:
        option = next((name for name in self.grid if name in CalibrationOptions.model_fields), None)
        if option is not None:
            message = (
                "{option} cannot be in the grid, because all calibrations, probes and label maps share one pass over the rows. "
                "List them at the top level, as in labelmap: [blm, blm+]: the study then has the dimension align. For "
                "figures at several numbers of labeled rows, use {curve}"
            )
            curve = by_caller(
                command="promptkit curve RUN --per-class 1,2,5", python="pk.learning_curve(RUN, per_class=[1, 2, 5])"
            )
            context = {"option": option, "key": f"grid.{option}", "curve": curve}
            raise PydanticCustomError("calibrate-in-grid", message, context)
        return self

    @property
    def file(self) -> Path | None:
        """The YAML file, which errors name; None for a study that is not read from a file."""
        return self._file

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads a study. Paths are relative to its file.

        Args:
            path: The path of a YAML file, or the name of a shipped study.

        Raises:
            InputError: There is no such study, or its grid is invalid.
            TaskError: The file does not define a study.
        """
        file = _study_path(path)
        spec = super().from_yaml(file)
        grid = {
            option: [_grid_value(file, option, index, value) for index, value in enumerate(values)]
            for option, values in spec.grid.items()
        }
        study = spec.model_copy(update={"grid": grid})
        study._file = file
        return study

    def cell(self, values: Mapping[str, object], without: str | None = None) -> EvalConfig:
        """Returns the configuration of a cell, whose values take precedence over the shared options.

        Args:
            values: Option of the grid -> its value in the cell.
            without: An option that gets its default value instead.
        """
        options = EvalOptions.model_fields  # not the field `baselines`, which means other baselines in a study
        shared = {name: value for name, value in self if name in options and name in self.model_fields_set}
        given = {name: value for name, value in {**shared, **values}.items() if name != without}
        return EvalConfig(**given)

    def keys(self, cell: Mapping[str, object]) -> dict[str, str]:
        """Returns the path of the key that defines each given option of a cell, such as {"shots": "grid.shots[1]"}."""
        in_grid = {option: f"grid.{option}[{self.grid[option].index(value)}]" for option, value in cell.items()}
        shared = self.model_fields_set - {"grid", "task", "description", "limit", "folds", "baselines", "compare"} - cell.keys()
        return in_grid | {option: option for option in sorted(shared)}

    def run(self, *, out: str | Path = OUT, cache: bool = True, progress: Progress | Literal[False] | None = None) -> Study:
        """Evaluates every cell of a study, each as `promptkit eval` would.

        All cells are checked before the first one is evaluated. Cells are grouped by model, and one model is in memory at a
        time.

        Args:
            out: The folder for the run folders.
            cache: Whether the score cache is used.
            progress: Called as cells and rows finish.
        """
        from promptkit.studies.grid import cells, plain_value
        from promptkit.studies.run import evaluate_grid

        self._check_compared()
        combinations = cells(_dimensions(self))
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


def _duplicate(option: str) -> PydanticCustomError:
    message = "{option} is given both in the grid and outside of it"
    return PydanticCustomError("duplicate-option", message, {"option": option, "key": f"grid.{option}"})


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


def _check_grid_option(option: str) -> None:
    """Raises InputError if an option does not differ between the cells of a study."""
    known = [name for name in EvalOptions.model_fields if name not in SHARED]
    if option not in known:
        raise unknown("option of the grid", option, known)


def _grid_value(path: Path, option: str, index: int, value: object) -> object:
    """Validates one value of the grid."""
    with errors_at(path, f"grid.{option}"):
        _check_grid_option(option)
    config = EvalConfig._from_file(path, {"task": "", option: value}, key=f"grid.{option}[{index}]")
    return dict(config)[option]


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


def _dimensions(spec: StudyConfig) -> Mapping[str, Sequence[object]]:
    from promptkit.studies.grid import dimensions

    for option in spec.grid:
        _check_grid_option(option)
    try:
        return dimensions(spec.grid)
    except InputError as error:
        raise error.at(spec.file, f"grid.{error.fields['dimension']}") if spec.file else error from None


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
