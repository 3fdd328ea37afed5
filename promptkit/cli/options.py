"""The options of the commands.

The options of a configuration, such as `EvalConfig`, are declared once, as its fields. A command takes a configuration as one
parameter, and `expand_options` turns it into one option for each field, with the field's docstring as the help text.
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
from typer.core import TyperArgument, TyperCommand, TyperOption

from promptkit.config.values import Metavar
from promptkit.core.caller import command_line, spelled
from promptkit.core.paths import OUT
from promptkit.tasks.field_descriptions import NAMES, description_of

EngineSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Engine setting, such as dtype=bfloat16.")
]

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
                yield _parameter(name, info, self.help.get(name), self.defaults.get(name, info.default))


_LISTED: dict[str, FieldInfo] = {}
"""Help text with `{names}` -> the field, which knows the names."""


class Command(TyperCommand):
    """A command whose help texts list the names in tables, and whose messages name its options."""

    def invoke(self, ctx: Any) -> Any:  # typer does not export the types
        """Runs the command."""
        with command_line():
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        for parameter in self.params:
            if isinstance(parameter, TyperOption | TyperArgument) and parameter.help in _LISTED:
                with command_line():
                    parameter.help = description_of(_LISTED[parameter.help])
        super().format_help(ctx, formatter)
        if any(parameter.name in ("set", "set_") for parameter in self.params):
            _write_settings(formatter)


def _write_settings(formatter: Any) -> None:
    """Writes the settings of each engine."""
    from promptkit.models.registry import ENGINES
    from promptkit.models.setting_descriptions import describe_settings

    with formatter.section("Engine settings, --set KEY=VALUE [default]; see promptkit models ENGINE"):
        formatter.write_dl([(name, ", ".join(map(str, describe_settings(engine)))) for name, engine in ENGINES.items()])


class _Bounds(TypedDict, total=False):
    min: float
    max: float


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turns each parameter that is a pydantic model into one option for each of its fields.

    `Annotated[Model, Expand(...)]` selects fields and changes their defaults. A field without a default becomes an argument.
    """
    parameters: list[Parameter] = []
    models: dict[str, tuple[type[BaseModel], list[Parameter]]] = {}
    for parameter in signature(command, eval_str=True).parameters.values():
        model, expand = _model_of(parameter.annotation)
        if model is None:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
        else:
            expanded = list(expand.parameters(model))
            parameters += expanded
            models[parameter.name] = model, expanded

    @wraps(command)
    def with_options(**values: object) -> None:
        groups = {
            parameter: model(**_given(model, {option.name: values.pop(option.name) for option in options}))
            for parameter, (model, options) in models.items()
        }
        command(**values, **groups)

    vars(with_options)["__signature__"] = Signature(parameters)
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def _given(model: type[BaseModel], values: Mapping[str, object]) -> dict[str, object]:
    """Returns the values that differ from the defaults of the model; typer has an empty list or None for no value."""
    fields = model.model_fields
    return {name: value for name, value in values.items() if value not in (None, [], fields[name].default)}


def _model_of(annotation: object) -> tuple[type[BaseModel] | None, Expand]:
    """The model of a parameter's annotation, and how it is expanded."""
    kind, expand = annotation, Expand()
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        expand = next((item for item in metadata if isinstance(item, Expand)), expand)
    return (kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None), expand


def _parameter(name: str, info: FieldInfo, help_text: str | None, default: object) -> Parameter:
    """Returns the parameter of a field, as typer reads it: an argument if the field has no default, otherwise an option."""
    kind, metadata = _split(info)
    metavar = next((item.text for item in metadata if isinstance(item, Metavar)), None)
    text = spelled(help_text or " ".join((info.description or "").split()), for_command_line=True)
    if NAMES in text:
        _LISTED[text] = info
    if info.is_required():
        argument = typer.Argument(metavar=metavar, help=text)
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=_annotated(kind, argument))
    option = name.replace("_", "-")
    flag = f"--{option}/--no-{option}" if default is True else f"--{option}"
    several = get_origin(kind) is list or kind == list[str] | None
    value = typer.Option(flag, metavar=metavar, help=text, **_bounds(metadata))
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None if several else default, annotation=_annotated(kind, value))


def _annotated(kind: Any, metadata: object) -> object:
    return Annotated[kind, metadata]


def _split(info: FieldInfo) -> tuple[Any, list[object]]:
    """The type of a field as typer reads it, and the metadata that only pydantic reads."""
    kind, metadata = _without_metadata(info.annotation)
    members = [member for member in get_args(kind) if member is not NoneType]
    optional = NoneType in get_args(kind)
    if optional:
        kind, inner = _without_metadata(members[0])
        metadata = [*metadata, *inner]
    if get_origin(kind) in (list, tuple, dict):
        kind, optional = list[str], True
    return kind | None if optional else kind, [*info.metadata, *metadata]


def _without_metadata(kind: Any) -> tuple[Any, list[object]]:
    """Returns a type without its metadata, and the metadata."""
    if get_origin(kind) is not Annotated:
        return kind, []
    inner, *metadata = get_args(kind)
    return inner, metadata


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
