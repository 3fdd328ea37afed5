"""Reads YAML files into pydantic models, with readable errors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from promptkit.core.errors import PromptkitError, TaskError, unknown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_UNION_MEMBERS = frozenset({"str", "RegexColumn", "list[str]", "bool", "int", "dict[str,nullable[dict[str,any]]]"})
"""Names of the types of a union, which pydantic adds to the location of an error."""


class _Loader(yaml.SafeLoader):  # the loader of libyaml crashes on deep nesting
    """A YAML loader that refuses duplicate keys. YAML would silently use the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Constructs a mapping; raises ConstructorError for a duplicate key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, kind: str, hint: str) -> dict[str, object]:
    """Reads a YAML file that contains a mapping.

    Args:
        path: The file.
        kind: What the file defines, for error messages: `task` or `study`.
        hint: What to try if the file contains something else.

    Raises:
        TaskError: The file is not YAML or contains no mapping.
        OSError: The file cannot be read.
    """
    try:
        data: object = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise TaskError(
            f"{path} is not YAML: {_yaml_reason(error)}", code="not-yaml", hint="Correct that line", file=str(path)
        ) from None
    if not isinstance(data, dict):
        shown = str(data)[:100] if data else "an empty file"
        raise TaskError(f"{path} does not define a {kind}", code="not-a-mapping", got=shown, hint=hint, file=str(path))
    return data


def _yaml_reason(error: Exception) -> str:
    """Why a text is not YAML, with line and column."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None or not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()) or "nested too deeply"
    context = f" {error.context}" if error.context else ""
    return f"{error.problem}{context} (line {mark.line + 1}, column {mark.column + 1})"


def validation_error(
    path: Path, error: ValidationError, kind: str, model_at: Callable[[tuple[int | str, ...]], type[BaseModel]]
) -> PromptkitError:
    """Returns a readable error for the most informative of pydantic's errors.

    Args:
        path: The file that was validated.
        error: The error of pydantic.
        kind: What the file defines: `task` or `study`.
        model_at: Returns the model that defines the keys at a location of the file.
    """
    details = min(error.errors(), key=_error_rank)
    location, error_type = details["loc"], details["type"]
    keys = [str(step) for step in location if step not in _UNION_MEMBERS and not str(step).startswith("function-")]
    place = ".".join(keys)
    where: dict[str, Any] = {"file": str(path), "place": place}
    if error_type == "extra_forbidden":
        known = model_at(location).model_fields
        return unknown(f"key of a {kind}", keys[-1], known, hint=f"It is at {place} in {path}", error=TaskError, **where)
    if "[key]" in location:
        return TaskError(
            f"{path}: the key {details['input']!r} of {keys[0]} is not text",
            code="key-not-text",
            hint="Put it in quotes: in YAML, no, yes, on and off without quotes are booleans, and digits are numbers",
            key=str(details["input"])[:200],
            **where,
        )
    field = model_at(location).model_fields.get(keys[-1]) if keys else None
    description = " ".join(((field and field.description) or "").split())
    if error_type == "missing":
        return TaskError(f"{path}: {place} is missing", code="missing-key", hint=description, **where)
    prefix = f"{path}: {place or 'the file'} is invalid"
    if _is_own_code(error_type):
        return TaskError(f"{prefix}: {details['msg']}", code=error_type, **{**where, **details.get("ctx", {})})
    if error_type == "value_error":  # the message of a validator includes the value
        return TaskError(f"{prefix}: {details['msg'].removeprefix('Value error, ')}", code="invalid-value", **where)
    message = details["msg"].replace("valid dictionary", "mapping (key: value)")
    value = str(details.get("input"))[:200]
    return TaskError(
        f"{path}: {place} is invalid: {message}", code="invalid-value", got=value, hint=description, value=value, **where
    )


def _error_rank(details: ErrorDetails) -> tuple[bool, bool]:
    """The sort key of an error: unknown keys first, and last a list or mapping where the text member of a union failed."""
    is_not_text = details["loc"][-1:] == ("str",) and isinstance(details["input"], dict | list)
    return details["type"] != "extra_forbidden", is_not_text


def _is_own_code(error_type: str) -> bool:
    """Whether a validator of this module raised the error: its codes have hyphens, those of pydantic underscores."""
    return "-" in error_type
