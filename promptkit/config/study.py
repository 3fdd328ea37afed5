"""Reads a study's YAML file and evaluates it: a task, options shared by all cells, and a grid over other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.answer import AnswerOptions
from promptkit.config.build import predictor_builder
from promptkit.config.key_paths import name_key
from promptkit.config.prompt import PromptOptions
from promptkit.config.spelling import Spelled, join_spellings
from promptkit.core.errors import InputError, PromptkitError, unknown
from promptkit.core.paths import STUDIES, expanded, folder
from promptkit.tasks.options import DataOptions
from promptkit.tasks.readers import is_data
from promptkit.tasks.resolve import resolve_task
from promptkit.tasks.yaml_file import errors_at, read_yaml, validation_error

if TYPE_CHECKING:
    from promptkit.core.model import Model
    from promptkit.manipulate.demos import Selector
    from promptkit.predictor.predictor import Predictor
    from promptkit.studies.baselines import Baselines
    from promptkit.studies.progress import Progress
    from promptkit.studies.study import Study
    from promptkit.tasks.task import Task

SUFFIXES = (".yaml", ".yml")


class Options(PromptOptions, AnswerOptions):
    """The options of one cell, as in `promptkit eval`. Each may also be in `grid`, with a list of values."""

    model: str = "demo"
    """Model as [engine:]name: a hub id, a folder, a .gguf file, demo or fake."""
    set: dict[str, object] = Field(default_factory=dict)
    """Settings of the engine, such as {dtype: bfloat16}."""


class StudySpec(Options, DataOptions):
    """A study's YAML file. Paths are relative to the file."""

    description: str = ""
    """One-line description of what the study measures."""
    task: str
    """Task name, or path of a task's YAML file or of a data file."""
    limit: PositiveInt | None = None
    """Evaluate only the N rows with the smallest hash of their id."""
    calibrate: Annotated[str, BeforeValidator(join_spellings)] = ""
    """Calibrations, such as [contextual, batch]; with the uncalibrated scores they form one more dimension, `align`."""
    baselines: list[Spelled] | None = None
    """Adds baselines without a language model: from the whole pool, and from the demonstrations of these selectors, such as
    [random]. A selector without k is used with the numbers of demonstrations of the cells."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """Option -> list of values: the dimensions of the study, in order."""
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_no_option_is_given_twice(self) -> StudySpec:
        repeated = next((name for name in self.grid if name in self.model_fields_set), None)
        if repeated is not None:
            message = "{option} is given both in the grid and outside of it"
            raise PydanticCustomError("duplicate-option", message, {"option": repeated, "key": f"grid.{repeated}"})
        return self

    @property
    def file(self) -> Path | None:
        """The YAML file, which errors name; None for a study that is not read from a file."""
        return self._file

    def options(self, cell: Mapping[str, object], without: str | None = None) -> Options:
        """Returns the options of a cell, whose values take precedence over the shared options.

        Args:
            cell: Option of the grid -> its value in the cell.
            without: An option that gets its default value instead.
        """
        values = self.model_dump(include=set(Options.model_fields)) | dict(cell)
        return Options.model_validate({option: value for option, value in values.items() if option != without})

    def keys(self, cell: Mapping[str, object]) -> dict[str, str]:
        """Returns the path of the key that defines each given option of a cell, such as {"shots": "grid.shots[1]"}."""
        in_grid = {option: f"grid.{option}[{self.grid[option].index(value)}]" for option, value in cell.items()}
        shared = self.model_fields_set - {"grid", "task", "description", "limit", "baselines"}
        return in_grid | {option: option for option in sorted(shared)}


def read_study(name: str | Path) -> StudySpec:
    """Reads a study.

    Args:
        name: The path of a YAML file, or the name of a shipped study.

    Raises:
        InputError: There is no such study, or its grid is invalid.
        TaskError: The file does not define a study.
    """
    path = _study_path(name)
    data = read_yaml(path, "study", "It names a task and a grid, such as grid: {shots: [0, 4]}")
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        raise validation_error(path, error, "study", lambda location: StudySpec) from None
    spec._file = path
    grid = {
        option: [_grid_value(path, option, index, value) for index, value in enumerate(values)]
        for option, values in spec.grid.items()
    }
    paths = {
        "data": spec.data and path.parent / expanded(spec.data),
        "train": spec.train and path.parent / expanded(spec.train),
        "task": _resolve_path(path, spec.task),
        "template": spec.template and _resolve_path(path, spec.template),
        "prompt": spec.prompt and [_join(path, learned) for learned in spec.prompt],
    }
    return spec.model_copy(update={"grid": grid, **paths})


def _study_path(name: str | Path) -> Path:
    path, shipped = expanded(name), folder("evals") / STUDIES
    if path.suffix in SUFFIXES and not path.is_file():
        hint = f"It was searched for in {Path.cwd()}"
        raise InputError(f"There is no study file {name}", code="no-such-file", hint=hint, file=str(name))
    if path.suffix not in SUFFIXES:
        path = shipped / f"{name}.yaml"
    if not path.is_file():
        known = (file.stem for file in shipped.glob("*.yaml"))
        raise unknown("study", str(name), known, hint="For your own study, give the path of its YAML file")
    return path


def _resolve_path(study: Path, value: str) -> str:
    """Joins a path to the folder of the study file; names and template texts are unchanged."""
    is_path = value.endswith((*SUFFIXES, ".j2")) or is_data(value)
    return _join(study, value) if is_path else value


def _join(study: Path, path: str) -> str:
    return str(study.parent / expanded(path))


def _grid_value(path: Path, option: str, index: int, value: object) -> object:
    """Validates one value of the grid."""
    if option not in Options.model_fields:
        if option == "calibrate":
            raise InputError(
                "calibrations cannot be in the grid, because they share one pass over the rows",
                code="calibrate-in-grid",
                hint="Move the option to the top level of the file",
                option=option,
            ).at(path, "grid.calibrate")
        raise unknown("option of the grid", option, Options.model_fields).at(path, f"grid.{option}")
    try:
        options = Options.model_validate({option: value})
    except ValidationError as error:
        raise validation_error(path, error, "study", lambda location: Options, within=f"grid.{option}[{index}]") from None
    if option == "template" and options.template:
        return _resolve_path(path, options.template)
    if option == "prompt" and options.prompt:
        return [_join(path, learned) for learned in options.prompt]
    return options.model_dump()[option]


def run(spec: StudySpec, *, out: Path, cache: bool = True, progress: Progress | None = None) -> Study:
    """Evaluates every cell of a study, each as `promptkit eval` would.

    All cells are checked before the first one is evaluated.

    Args:
        spec: The study.
        out: The folder for the run folders.
        cache: Whether the score cache is used.
        progress: Called as cells and rows finish.
    """
    from promptkit.studies.grid import cells
    from promptkit.studies.run import evaluate_grid

    task = _load_task(spec)
    models: dict[str, Model] = {}

    def build_cell(**cell: object) -> Predictor | list[Predictor]:
        options, with_model = spec.options(cell), _predictor_builder(spec, task, cell)
        key = f"{options.model} {options.set}"
        if key not in models:
            models[key] = _load_model(spec, cell)
        predictors = with_model(models[key])
        return predictors if spec.calibrate else predictors[0]

    for cell in cells(_dimensions(spec)):
        _predictor_builder(spec, task, cell)
    _baseline_selectors(spec, [spec.num_shots])
    return evaluate_grid(
        build_cell, task, spec.grid, out=out, split=spec.split, limit=spec.limit, cache=cache, progress=progress
    )


def baselines(spec: StudySpec, study: Study) -> Baselines | None:
    """Computes the baselines that a study file names, on the rows of the finished study; None if it names none."""
    from promptkit.models.registry import load

    if spec.baselines is None:
        return None
    shots = list(dict.fromkeys(int(cell.values.get("shots", spec.num_shots) or 0) for cell in study.cells))
    selectors = _baseline_selectors(spec, shots)
    model = load(spec.grid.get("model", [spec.model])[0], **spec.set) if selectors else None
    return study.baselines(*selectors, model=model)


def _baseline_selectors(spec: StudySpec, shots: Sequence[int]) -> list[Selector]:
    """Builds the selectors of the baselines: with the k of their spec, or once for each number of demonstrations above 0."""
    from promptkit.core.registry import build, parse
    from promptkit.manipulate.demos import SELECTORS

    selectors: list[Selector] = []
    for index, spelling in enumerate(spec.baselines or ()):
        with errors_at(spec.file, f"baselines[{index}]"):
            for k in [0] if "k" in parse(spelling)[1] else filter(None, shots):
                selectors.append(build("demonstration selector", SELECTORS, spelling, k=k, seed=spec.seed))
    return selectors


def _load_task(spec: StudySpec) -> Task:
    """Loads the task of a study, and checks that it has the split."""
    template = spec.template or next(iter(spec.grid.get("template", [])), None)

    def load(without: str | None) -> Task:
        options = spec if without is None else spec.model_copy(update={without: None})
        return resolve_task(spec.task, options, template=None if without == "template" else template)

    given = [option for option in DataOptions.model_fields if option in spec.model_fields_set]
    task = name_key(spec.file, load, {option: option for option in given}, default="task")
    if spec.split:
        with errors_at(spec.file, "split", only=("split",)):
            task.rows(spec.split)
    return task


def _dimensions(spec: StudySpec) -> Mapping[str, Sequence[object]]:
    from promptkit.studies.grid import dimensions

    try:
        return dimensions(spec.grid)
    except InputError as error:
        raise error.at(spec.file, f"grid.{error.fields['dimension']}") if spec.file else error from None


def _predictor_builder(spec: StudySpec, task: Task, cell: Mapping[str, object]) -> Callable[[Model], list[Predictor]]:
    """Checks the options of a cell, and returns a function that builds its predictors for a model."""

    def check(without: str | None) -> Callable[[Model], list[Predictor]]:
        options, calibrate = spec.options(cell, without), "" if without == "calibrate" else spec.calibrate
        return predictor_builder(task, options.model, options, options, calibrate)

    return name_key(spec.file, check, spec.keys(cell))


def _load_model(spec: StudySpec, cell: Mapping[str, object]) -> Model:
    from promptkit.models.registry import load

    options, keys = spec.options(cell), spec.keys(cell)
    try:
        return load(options.model, **options.set)
    except PromptkitError as error:
        is_setting = "setting" in error.fields or str(error.fields.get("kind", "")).startswith("setting")
        with errors_at(spec.file, keys.get("set", "set") if is_setting else keys.get("model", "model")):
            raise
