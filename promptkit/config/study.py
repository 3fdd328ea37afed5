"""The configuration of a study: a task, options shared by all cells, and a grid over other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.build import predictor_builder
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.eval_options import EvalOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.key_paths import name_key
from promptkit.config.task import RowOptions, TaskOptions
from promptkit.config.values import Spelled
from promptkit.core.errors import InputError, PromptkitError, unknown
from promptkit.core.paths import OUT, STUDIES, expanded, folder
from promptkit.runs.recorded import record_options
from promptkit.tasks.options import DataOptions
from promptkit.tasks.yaml_file import YAML, errors_at

if TYPE_CHECKING:
    from promptkit.core.model import Model
    from promptkit.manipulate.demos import Selector
    from promptkit.predictor.predictor import Predictor
    from promptkit.studies.baselines import Baselines
    from promptkit.studies.progress import Progress
    from promptkit.studies.study import Study
    from promptkit.tasks.task import Task

SHARED = frozenset(name for group in (TaskOptions, DataOptions, RowOptions, CalibrationOptions) for name in group.model_fields)
"""The options that are the same for all cells of a study."""


class StudyConfig(EvalOptions):
    """The configuration of a study: the options of an evaluation, some of which `grid` gives a list of values."""

    noun: ClassVar[str] = "study"
    example: ClassVar[str] = "It names a task and a grid, such as grid: {shots: [0, 4]}"

    description: str = ""
    """One-line description of what the study measures."""
    baselines: list[Spelled] | None = None
    """Adds baselines without a language model: from the whole pool, and from the demonstrations of these selectors, such as
    [random]. A selector without k is used with the numbers of demonstrations of the cells."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """Option -> list of values: the dimensions of the study, in order."""
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_no_option_is_given_twice(self) -> Self:
        repeated = next((name for name in self.grid if name in self.model_fields_set), None)
        if repeated is not None:
            message = "{option} is given both in the grid and outside of it"
            raise PydanticCustomError("duplicate-option", message, {"option": repeated, "key": f"grid.{repeated}"})
        return self

    @model_validator(mode="after")
    def _check_no_calibration_is_in_the_grid(self) -> Self:
        option = next((name for name in self.grid if name in CalibrationOptions.model_fields), None)
        if option is not None:
            message = (
                "{option} cannot be in the grid, because all calibrations, probes and label maps share one pass over the rows. "
                "List them at the top level, as in labelmap: [blm, blm+]: the study then has the dimension align. For the "
                "accuracy at several numbers of labeled rows, use promptkit curve RUN --per-class 1,2,5"
            )
            raise PydanticCustomError("calibrate-in-grid", message, {"option": option, "key": f"grid.{option}"})
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
        shared = self.model_fields_set - {"grid", "task", "description", "limit", "folds", "baselines"}
        return in_grid | {option: option for option in sorted(shared)}

    def run(self, *, out: str | Path = OUT, cache: bool = True, progress: Progress | None = None) -> Study:
        """Evaluates every cell of a study, each as `promptkit eval` would.

        All cells are checked before the first one is evaluated.

        Args:
            out: The folder for the run folders.
            cache: Whether the score cache is used.
            progress: Called as cells and rows finish.
        """
        from promptkit.studies.grid import cells, plain_value
        from promptkit.studies.run import evaluate_grid

        task = _load_task(self)
        models: dict[str, Model] = {}

        def build_cell(**cell: object) -> Predictor | list[Predictor]:
            config, with_model = self.cell(cell), _predictor_builder(self, task, cell)
            key = f"{config.model} {config.set}"
            if key not in models:
                models[key] = _load_model(self, cell)
            predictors = with_model(models[key])
            return predictors if len(predictors) > 1 else predictors[0]

        combinations = cells(_dimensions(self))
        for cell in combinations:
            _predictor_builder(self, task, cell)
        _baseline_selectors(self, [self.num_shots])
        study = evaluate_grid(build_cell, task, self.grid, out=out, **self.selected_rows(), cache=cache, progress=progress)
        for cell in combinations:
            for evaluated in study.having({name: plain_value(value) for name, value in cell.items()}):
                record_options(evaluated.run.path, self.cell(cell).changed())
        return study

    def compute_baselines(self, study: Study) -> Baselines | None:
        """Computes the baselines that a study file names, on the rows of the finished study; None if it names none."""
        from promptkit.models.registry import load

        if self.baselines is None:
            return None
        shots = list(dict.fromkeys(int(cell.values.get("shots", self.num_shots) or 0) for cell in study.cells))
        selectors = _baseline_selectors(self, shots)
        model = load(self.grid.get("model", [self.model])[0], **self.set) if selectors else None
        return study.baselines(*selectors, model=model)


def _study_path(name: str | Path) -> Path:
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
    config = EvalConfig._from_file(path, {"task": "", option: value}, within=f"grid.{option}[{index}]")
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


def _load_task(spec: StudyConfig) -> Task:
    """Loads the task of a study, and checks that it has the split."""
    template = spec.template or next(iter(spec.grid.get("template", [])), None)

    def load(without: str | None) -> Task:
        given = {"template": template} if without is None else {"template": template, without: None}
        return spec.model_copy(update=given).load_task()

    given = [option for option in DataOptions.model_fields if option in spec.model_fields_set]
    task = name_key(spec.file, load, {option: option for option in given}, default="task")
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
