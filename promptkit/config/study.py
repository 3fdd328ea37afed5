"""A study's YAML file: a task, the options of `promptkit eval` that are the same for every cell, and a grid over others.

What an option means is said by `options`, as for the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.core.errors import InputError, unknown
from promptkit.core.paths import STUDIES, expanded, folder
from promptkit.core.registry import spelt
from promptkit.tasks import resolve
from promptkit.tasks.readers import is_data
from promptkit.tasks.spec import read_yaml, wrong

if TYPE_CHECKING:
    from promptkit.core.model import Model
    from promptkit.manipulate.demos import Selector
    from promptkit.predictor.predictor import Predictor
    from promptkit.studies.baselines import Baselines
    from promptkit.studies.progress import Progress
    from promptkit.studies.study import Study
    from promptkit.tasks.task import Task

SUFFIXES = (".yaml", ".yml")


def _spelt(value: object) -> object:
    """{name: {key: value}} as the command line spells it; anything else as it is."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, keywords),) = value.items()
        if isinstance(keywords, Mapping | None):
            return spelt(str(name), keywords or {})
    return value


def _joined(value: object) -> object:
    """A list of spellings as the command line joins them."""
    return ",".join(str(_spelt(each)) for each in value) if isinstance(value, list) else _spelt(value)


def _listed(value: object) -> object:
    """One or several, as a list."""
    return value if value is None or isinstance(value, list) else [value]


Spelled = Annotated[str, BeforeValidator(_spelt)]
"""`name:key=value`, or {name: {key: value}}."""


class Options(BaseModel):
    """The options of a cell, each as `promptkit eval` has it; each may stand in `grid`, with a list of values."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = "demo"
    """[engine:]name: a hub id, a folder, a .gguf file, demo or fake."""
    set: dict[str, Any] = {}
    """Settings of the engine: {dtype: bfloat16}."""
    template: str | None = None
    """A template's name, the path of a .j2 file from here, or its text; the task's own unless given."""
    instruction: str | None = None
    """Replaces the template's instruction; "" shows none."""
    chat: bool = False
    """Whether the model's chat template is used."""
    shots: Annotated[int | None, Field(ge=0)] = None
    """How many demonstrations; 8, or none with `prompt`, unless given."""
    demos: Spelled | None = None
    """Which demonstrations: random, balanced:seed=3, or {balanced: {seed: 3}}."""
    order: Spelled | None = None
    """In which order they stand: given, shuffled, nearest-last; the nearest last, where they are ranked, unless given."""
    cot: Spelled | None = None
    """Have the model reason before it answers: zero-shot, least-to-most."""
    seed: int = 0
    """Of the demonstrations and their order, and of texts that are drawn."""
    score: str = "sum"
    """A label's log-probability: sum over its tokens, or mean per token."""
    extract: Spelled | None = None
    """How the answer is found in a written text: first_line, final_number, {pattern: {regex: ...}}."""
    max_tokens: PositiveInt | None = None
    """The most tokens of a written text."""
    samples: PositiveInt | None = None
    """How many texts a row; their majority is its answer."""
    temperature: NonNegativeFloat | None = None
    """0 writes the likeliest text; above 0 it is drawn."""
    prompt: Annotated[list[str] | None, BeforeValidator(_listed)] = None
    """A folder that `promptkit train` has made, or several, from here: what was learned changes the prompt."""


class StudySpec(Options):
    """A study's YAML file."""

    description: str = ""
    """What is studied, in a line."""
    task: str
    """A name of `promptkit tasks`, or the path of a task's YAML file or of a data file from here."""
    split: str | None = None
    """The split to read; the task's own choice unless given."""
    limit: PositiveInt | None = None
    """Only the N rows with the smallest hash of id."""
    calibrate: Annotated[str, BeforeValidator(_joined)] = ""
    """Calibrations besides the plain scores, [contextual, batch]: one more dimension, `align`, of the same pass."""
    data: str | None = None
    """Folder of a mirror of data sets, from here."""
    label_column: str | None = None
    """For a data file: the column of the labels."""
    labels: str | None = None
    """For a data file: its labels in order, a,b,c."""
    answer_column: str | None = None
    """For a data file whose answers are texts to be written: the column that holds them."""
    train: str | None = None
    """For a data file: where demonstrations come from, a path from here."""
    baselines: list[Spelled] | None = None
    """Show what no language model would get from the pool, and from the demonstrations of these selectors, [random]: with
    as many as the cells have, unless one says k."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """Option -> its values: the dimensions of the study, in this order."""

    @model_validator(mode="after")
    def _once(self) -> StudySpec:
        twice = next((name for name in self.grid if name in self.model_fields_set), None)
        if twice is not None:
            raise ValueError(f"{twice} is given both in the grid and outside of it")
        return self

    def options(self, cell: Mapping[str, Any]) -> Options:
        """The options of a cell, its values before those that are the same for all."""
        shared = {name: getattr(self, name) for name in Options.model_fields}
        return Options.model_validate(shared | dict(cell))


def read_study(name: str | Path) -> StudySpec:
    """The study of a YAML file, or a shipped one by its name; raises InputError or TaskError for a file that describes none."""
    path, shipped = expanded(name), folder("evals") / STUDIES
    if path.suffix in SUFFIXES and not path.is_file():
        hint = f"It was searched for in {Path.cwd()}"
        raise InputError(f"There is no study file {name}", code="no-such-file", hint=hint, file=str(name))
    if path.suffix not in SUFFIXES:
        path = shipped / f"{name}.yaml"
    if not path.is_file():
        known = (each.stem for each in shipped.glob("*.yaml"))
        raise unknown("study", str(name), known, hint="For your own study, give the path of its YAML file")
    given = read_yaml(path, "study", "It names a task and a grid, such as grid: {shots: [0, 4]}")
    try:
        spec = StudySpec.model_validate(given)
    except ValidationError as error:
        raise wrong(path, error, "study", lambda place: StudySpec) from None
    grid = {option: [_value(path, option, value) for value in values] for option, values in spec.grid.items()}
    paths = {key: str(path.parent / expanded(place)) for key in ("data", "train") if (place := getattr(spec, key))}
    named = {key: _from(path, key, given) for key in ("task", "template", "prompt") if (given := getattr(spec, key))}
    return spec.model_copy(update={"grid": grid, **paths, **named})


def _from(path: Path, option: str, given: Any) -> Any:
    """What the file names as a task, a template or learned prompts: a path counts from the file's own folder."""
    if isinstance(given, list):
        return [_from(path, option, each) for each in given]
    is_path = option == "prompt" or given.endswith((*SUFFIXES, ".j2")) or is_data(given)
    return str(path.parent / expanded(given)) if is_path else given


def _value(path: Path, option: str, value: object) -> object:
    """One value of the grid, as its option has it."""
    if option not in Options.model_fields:
        if option == "calibrate":
            raise InputError(
                f"calibrate cannot be in the grid of {path}, because calibrations share one pass over the rows",
                code="calibrate-in-grid",
                hint="Move it out of the grid, to the top level of the file",
                file=str(path),
            )
        raise unknown("option of the grid", option, Options.model_fields, hint=f"It is in the grid of {path}")
    try:
        found = getattr(Options.model_validate({option: value}), option)
    except ValidationError as error:
        raise wrong(path, error, "study", lambda place: Options) from None
    return _from(path, option, found) if option in ("template", "prompt") and found else found


def run(spec: StudySpec, *, out: Path, cache: bool = True, progress: Progress | None = None) -> Study:
    """Evaluate every cell, each as `promptkit eval` would; what is misspelt is told before the first."""
    from promptkit.models.registry import load
    from promptkit.studies.grid import cells, dimensions
    from promptkit.studies.run import evaluate_grid

    task = _task(spec)
    models: dict[str, Model] = {}

    def predictors_of(**cell: Any) -> Predictor | list[Predictor]:
        told, made = spec.options(cell), _branches(spec, task, cell)
        key = f"{told.model} {told.set}"
        if key not in models:
            models[key] = load(told.model, **told.set)
        predictors = made(models[key])
        return predictors if spec.calibrate else predictors[0]

    for cell in cells(dimensions(spec.grid)):
        _branches(spec, task, cell)
    _selectors(spec, [build.count(spec.shots, spec.prompt)])
    return evaluate_grid(
        predictors_of, task, spec.grid, out=out, split=spec.split, limit=spec.limit, cache=cache, progress=progress
    )


def baselines(spec: StudySpec, study: Study) -> Baselines | None:
    """The controls that the file asks for, over the items of its study."""
    from promptkit.models.registry import load

    if spec.baselines is None:
        return None
    own = build.count(spec.shots, spec.prompt)
    shots = list(dict.fromkeys(int(cell.values.get("shots", own) or 0) for cell in study.cells))
    selectors = _selectors(spec, shots)
    model = load(spec.grid.get("model", [spec.model])[0], **spec.set) if selectors else None
    return study.baselines(*selectors, model=model)


def _selectors(spec: StudySpec, shots: Sequence[int]) -> list[Selector]:
    """Those of the controls: each with its own k, or with every number of shots but none."""
    from promptkit.core.registry import build, parse
    from promptkit.manipulate.demos import SELECTORS

    several = [(each, [0] if "k" in parse(each)[1] else filter(None, shots)) for each in spec.baselines or ()]
    return [build("demonstration selector", SELECTORS, each, k=k, seed=spec.seed) for each, ks in several for k in ks]


def _task(spec: StudySpec) -> Task:
    data, train = (None if place is None else Path(place) for place in (spec.data, spec.train))
    template = spec.template or next(iter(spec.grid.get("template", [])), None)
    return resolve.task(spec.task, data, template, spec.label_column, spec.labels, spec.answer_column, train)


def _branches(spec: StudySpec, task: Task, cell: Mapping[str, Any]) -> Callable[[Model], list[Predictor]]:
    told = spec.options(cell)
    given = {each.name: getattr(told, each.name) for each in fields(PromptOptions)}
    prompt = PromptOptions(**given | {"shots": build.count(told.shots, told.prompt)})
    chain = build.chain(told.score, told.extract, told.max_tokens, told.samples, told.temperature, told.seed)
    return build.branches(task, told.model, prompt, chain, spec.calibrate, told.prompt or ())
