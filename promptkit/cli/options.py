"""The options of the commands.

Options that several commands share are declared once, as the fields of a model: `PromptOptions`, `AnswerOptions` and
`DataOptions`. A command takes such a model as one parameter, and `expand_options` turns it into one option for each field,
with the field's docstring as the help text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypedDict, cast, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from promptkit.core.paths import OUT

METAVARS = {"prompt": "FOLDER"}
"""The placeholders that `--help` shows for values, where the type is not specific enough."""

TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="Name from `promptkit tasks`, task file (.yaml), or data file (csv, tsv, jsonl, parquet)."
    ),
]

ModelName = Annotated[
    str, typer.Option("--model", help="Model as [engine:]name: a hub id, a folder, a .gguf file, demo or fake.")
]

EngineSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Engine setting, such as dtype=bfloat16.")
]

Calibrate = Annotated[
    str,
    typer.Option(
        help="Calibrations, probes and label maps, separated by commas, such as contextual,batch or knn:k=3: contextual, "
        "domain, batch, batch-fitted, pmi, prior, proca, temperature, vector, affine, linear, hidden, prototypical, soft-verbalizer, "
        "knn, automatic, blm, blm+, frequency, iterative, random-map, semantic."
    ),
]

Limit = Annotated[int | None, typer.Option(min=1, help="Evaluate only the N rows with the smallest hash of their id.")]

Shard = Annotated[str | None, typer.Option(metavar="I/N", help="Evaluate shard I of N; `promptkit merge` joins the shards.")]

DEFAULT_OUT = Path(OUT)

Out = Annotated[Path, typer.Option(help="Folder for the run folders.")]

NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not use the score cache.")]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

Plot = Annotated[Path | None, typer.Option(help="Write a plot to this .png, .pdf or .svg file.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand:
    """How the fields of a model become the options of one command."""

    only: tuple[str, ...] | None = None
    """The fields that become options; by default all."""
    without: tuple[str, ...] = ()
    """The fields that do not become options."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """Field -> default value in this command, if it differs from the model's default."""
    help: Mapping[str, str] = field(default_factory=dict)
    """Field -> help text in this command, if it differs from the field's docstring."""

    def parameters(self, model: type[BaseModel]) -> Iterator[Parameter]:
        """Yields one command line parameter for each field."""
        for name, info in model.model_fields.items():
            if name not in self.without and (self.only is None or name in self.only):
                annotation = _option(name, info, self.help.get(name))
                default = self.defaults.get(name, info.default)
                yield Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


ZERO_SHOT = Expand(without=("cot", "prompt"), defaults={"shots": 0}, help={"shots": "Number of demonstrations."})
"""The options of a prompt in commands that use no demonstrations by default."""


class _Bounds(TypedDict, total=False):
    min: float
    max: float


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turns each parameter that is a pydantic model into one option for each of its fields.

    `Annotated[Model, Expand(...)]` selects fields and changes their defaults. The values are validated by typer.
    """
    parameters: list[Parameter] = []
    models: dict[str, tuple[type[BaseModel], list[str]]] = {}
    for parameter in signature(command, eval_str=True).parameters.values():
        model, expand = _model_of(parameter.annotation)
        if model is None:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
        else:
            expanded = list(expand.parameters(model))
            parameters += expanded
            models[parameter.name] = model, [option.name for option in expanded]

    @wraps(command)
    def with_options(**values: object) -> None:
        groups = {
            parameter: model.model_construct(None, **{name: values.pop(name) for name in names})
            for parameter, (model, names) in models.items()
        }
        command(**values, **groups)

    vars(with_options)["__signature__"] = Signature(parameters)
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def _model_of(annotation: object) -> tuple[type[BaseModel] | None, Expand]:
    """The model of a parameter's annotation, and how it is expanded."""
    kind, expand = annotation, Expand()
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        expand = next((item for item in metadata if isinstance(item, Expand)), expand)
    return (kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None), expand


def _option(name: str, info: FieldInfo, help_text: str | None) -> object:
    """A typer annotation: the type, and the option with its bounds and help text."""
    kind, metadata = _split(info)
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=METAVARS.get(name),
        help=help_text or " ".join((info.description or "").split()),
        **_bounds(metadata),
    )
    return Annotated[kind, option]


def _split(info: FieldInfo) -> tuple[Any, list[object]]:
    """The type of a field as typer reads it, and the metadata that only pydantic reads."""
    members = [member for member in get_args(info.annotation) if member is not NoneType]
    if NoneType not in get_args(info.annotation):
        return info.annotation, [*info.metadata]
    kind, *metadata = get_args(members[0]) if get_origin(members[0]) is Annotated else (members[0],)
    return kind | None, [*info.metadata, *metadata]


def _bounds(metadata: Iterable[object]) -> _Bounds:
    """The arguments `min` and `max` of a typer option. Exclusive bounds are only used for integers."""
    bounds: _Bounds = {}
    for item in metadata:
        match item:
            case Ge(ge=bound):
                bounds["min"] = cast(float, bound)
            case Gt(gt=bound):
                bounds["min"] = cast(int, bound) + 1
            case Le(le=bound):
                bounds["max"] = cast(float, bound)
    return bounds


def eval_words(context: typer.Context, without: frozenset[str]) -> list[str]:
    """Returns the `promptkit eval` command with the options that another command was called with.

    Args:
        context: The context of the other command.
        without: Names of parameters that `promptkit eval` does not have, or that the caller adds itself.
    """
    words = ["promptkit", "eval", str(context.params["task"])]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        # the default number of demonstrations differs between the commands
        if parameter.name in without or (value == parameter.default and parameter.name != "shots"):
            continue
        for item in value if isinstance(value, (list, tuple)) else (value,):
            words += [parameter.opts[0]] if item is True else [parameter.opts[0], str(item)]
    return words
