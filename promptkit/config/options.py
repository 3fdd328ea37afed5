"""The base class of configurations, whose values come from the command line, a YAML file or Python keywords.

A configuration is composed of groups of options. A group is a `StrictModel` that declares options as fields, each with its
description as the docstring under it, and builds the object that they define. A field is everything that a new option needs:
the option of the command line, the key in YAML, the keyword in Python, and the option in the command that repeats a run derive
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from promptkit.config.values import RelativePath
from promptkit.core.arguments import check_value, error_code, shortened
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, PromptkitError, unknown
from promptkit.core.paths import expanded
from promptkit.tasks.field_descriptions import description_of
from promptkit.tasks.readers import is_data
from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import YAML, read_yaml, validation_error


class Options(StrictModel):
    """A configuration. An invalid value is an `InputError`, or in a YAML file a `TaskError` that names its key."""

    noun: ClassVar[str] = "configuration"
    """What a YAML file defines, for error messages."""
    example: ClassVar[str] = "It names a task, such as task: sentiment"
    """What a YAML file contains, for error messages."""

    if not TYPE_CHECKING:  # type checkers see the fields as keywords

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _invalid_option(type(self), error) from None

    @classmethod
    def from_keywords(cls, **keywords: Any) -> Self:
        """Returns the configuration with these values; the other options have their defaults.

        Raises:
            InputError: There is no such option, or a value is invalid.
        """
        return cls(**keywords)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads a configuration from a YAML file. Paths are relative to the file.

        Raises:
            InputError: There is no such file.
            TaskError: The file does not define a configuration, or a value is invalid.
        """
        check_value("path", path, str | Path, of=f"{cls.__name__}.from_yaml")
        file = expanded(path)
        if not (file.suffix in YAML and file.is_file()):
            hint = f"It was searched for in {Path.cwd()}"
            raise InputError(f"There is no {cls.noun} file {path}", code="no-such-file", hint=hint, file=str(path))
        return cls._from_file(file, read_yaml(file, cls.noun, cls.example))

    @classmethod
    def _from_file(cls, file: Path, values: Mapping[str, object], key: str = "") -> Self:
        """Returns the configuration with the values of a file.

        Args:
            file: The file.
            values: Option -> value.
            key: The path of the key that contains the values, such as `grid.shots[1]`, if it is not the name of the option.
        """
        config = cls.__new__(cls)
        try:  # not by the constructor, whose errors do not name the file
            cls.__pydantic_validator__.validate_python(values, self_instance=config)
        except ValidationError as error:
            raise validation_error(file, error, cls.noun, lambda location: _model_at(cls, location), key=key) from None
        options = {name: cls.model_fields[name] for name in values}
        paths = {name: _resolved(info, getattr(config, name), file.parent) for name, info in options.items()}
        return config.model_copy(update=paths)

    def changed(self) -> dict[str, object]:
        """Returns the options that differ from their defaults, in the order of the command line, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _model_at(cls: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """Returns the model that defines the keys at a location of pydantic: `cls`, or that of an option which has keys itself."""
    field = cls.model_fields.get(str(location[0])) if len(location) > 1 else None
    members = () if field is None else (field.annotation, *get_args(field.annotation))
    inner = next((each for each in members if isinstance(each, type) and issubclass(each, BaseModel)), None)
    return cls if inner is None else _model_at(inner, location[1:])


def is_path(value: str) -> bool:
    """Returns whether a text ends like the path of a file, and not like a name."""
    return value.endswith((*YAML, ".j2")) or is_data(value)


def _resolved(info: FieldInfo, value: object, folder: Path) -> object:
    """Returns the value of an option with its paths joined to a folder."""
    marker = next((item for item in info.metadata if isinstance(item, RelativePath)), None)
    if isinstance(value, list | tuple) and marker:
        return type(value)(_resolved(info, item, folder) for item in value)
    if isinstance(value, Path):
        return folder / expanded(value)
    if isinstance(value, str) and marker and marker.before:
        path, end, name = value.partition(f".py{marker.before}")
        return f"{folder / expanded(path)}{end}{name}" if end else value
    if isinstance(value, str) and marker and marker.after:
        path = value.removeprefix(marker.after)
        return value if path == value else f"{marker.after}{folder / expanded(path)}"
    if isinstance(value, str) and marker and (is_path(value) or not marker.or_name):
        return str(folder / expanded(value))
    return value


def _invalid_option(cls: type[Options], error: ValidationError) -> PromptkitError:
    """Returns the error for values that pydantic refuses; an unknown option comes first."""
    details = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
    option, kind = str(details["loc"][0]) if details["loc"] else "", details["type"]
    hint = description_of(cls.model_fields.get(option))
    if kind == "extra_forbidden":
        return unknown(f"option of {cls.__name__}", option, cls.model_fields)
    if kind == "missing":
        return InputError(f"{cls.__name__} needs {setting(option)}", code="missing-option", hint=hint, option=option)
    if "-" in kind:  # a code of promptkit
        return InputError(details["msg"], code=kind, **details.get("ctx", {}))
    value = shortened(details["input"])
    return InputError(
        f"Invalid value for {setting(option)}: {details['msg']}",
        code=error_code(kind),
        got=setting(option, details["input"]) if isinstance(details["input"], str | int | float) else f"{option}={value}",
        hint=hint,
        option=option,
        value=value,
    )
