"""Reads YAML files into pydantic models, with readable errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from promptkit.core.errors import PromptkitError, TaskError, unknown
from promptkit.core.yaml_text import parse_yaml
from promptkit.tasks.field_descriptions import description_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

YAML = (".yaml", ".yml")
"""The suffixes of YAML files."""
_UNION_MEMBERS = frozenset({"str", "RegexColumn", "bool", "int"})
"""Names of the types of a union, which pydantic adds to the location of an error."""


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
        data = parse_yaml(path.read_text("utf-8"))
    except ValueError as error:  # also a file that is not UTF-8
        reason = " ".join(str(error).split())
        raise TaskError(f"{path} is not YAML: {reason}", code="not-yaml", hint="Correct that line", file=str(path)) from None
    if not isinstance(data, dict):
        shown = str(data)[:100] if data else "an empty file"
        raise TaskError(f"{path} does not define a {kind}", code="not-a-mapping", got=shown, hint=hint, file=str(path))
    return data


def validation_error(
    path: Path, error: ValidationError, kind: str, model_at: Callable[[tuple[int | str, ...]], type[BaseModel]], key: str = ""
) -> PromptkitError:
    """Returns a readable error for the most informative of pydantic's errors.

    Args:
        path: The file that was validated.
        error: The error of pydantic.
        kind: What the file defines: `task` or `study`.
        model_at: Returns the model that defines the keys at a location of the file.
        key: The path of the key that was validated, if that was not the whole file; it replaces the first step of
            pydantic's location.
    """
    details = min(error.errors(), key=_error_rank)
    location, error_type, context = details["loc"], details["type"], details.get("ctx", {})
    steps = [step for step in location if not _is_type(step)]
    is_key = "[key]" in steps
    keys = [str(step) for step in steps]
    inner = steps[: steps.index("[key]") - 1] if is_key else steps
    place = _join(key, key_path(inner[1:] if key else inner), str(context.get("key", "")))
    where: dict[str, Any] = {"file": str(path), "place": place}
    if error_type == "extra_forbidden":
        known = model_at(location).model_fields
        return unknown(f"key of a {kind}", keys[-1], known, hint=f"It is at {place} in {path}", error=TaskError, **where)
    if is_key:
        return TaskError(
            f"{path}: the key {details['input']!r} of {place} is not text",
            code="key-not-text",
            hint="Put it in quotes: without quotes, true and false are booleans, digits are numbers, and null is no text",
            key=str(details["input"])[:200],
            **where,
        )
    field = model_at(location).model_fields.get(keys[-1]) if keys else None
    description = description_of(field)
    if error_type == "missing":
        return TaskError(f"{path}: {place} is missing", code="missing-key", hint=description, **where)
    prefix = f"{path}: {place or 'the file'} is invalid"
    if _is_own_code(error_type):
        return TaskError(f"{prefix}: {details['msg']}", code=error_type, **{**context, **where})
    if error_type == "value_error":  # the message of a validator includes the value
        return TaskError(f"{prefix}: {details['msg'].removeprefix('Value error, ')}", code="invalid-value", **where)
    message = details["msg"].replace("valid dictionary", "mapping (key: value)").replace("Dictionary", "The mapping")
    value = str(details.get("input"))[:200]
    return TaskError(
        f"{path}: {place} is invalid: {message}", code="invalid-value", got=value, hint=description, value=value, **where
    )


@contextmanager
def errors_at(file: Path | None, key: str, *, only: Collection[str] = ()) -> Iterator[None]:
    """Names a key of a file in the errors that the code in the block raises, unless they already name one.

    Args:
        file: The YAML file; None if the values do not come from a file.
        key: The full path of the key, such as `baselines[0]`.
        only: If given, the codes of the errors that are about the key, or the kinds of unknown names.
    """
    try:
        yield
    except PromptkitError as error:
        is_other = bool(only) and not {error.code, error.fields.get("kind")} & {*only}
        if file is None or "place" in error.fields or is_other:
            raise
        raise error.at(file, key) from None


def key_path(steps: Iterable[int | str]) -> str:
    """Returns the path of a key: ("grid", "shots", 1) -> `grid.shots[1]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def leaves(value: object, steps: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], object]]:
    """Yields every value in nested mappings and lists that is neither, with the steps that lead to it."""
    if not isinstance(value, Mapping | list):
        yield steps, value
        return
    for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from leaves(inner, (*steps, step))


def _is_type(step: int | str) -> bool:
    """Returns whether a step of pydantic's location names a type, such as `str` or `dict[str,any]`, and no key of the file."""
    text = str(step)
    return step in _UNION_MEMBERS or text.startswith("function-") or (text.endswith("]") and "[" in text[1:])


def _join(*paths: str) -> str:
    return ".".join(path for path in paths if path)


def _error_rank(details: ErrorDetails) -> tuple[bool, bool]:
    """The sort key of an error: unknown keys first, and last a list or mapping where the text member of a union failed."""
    is_not_text = details["loc"][-1:] == ("str",) and isinstance(details["input"], dict | list)
    return details["type"] != "extra_forbidden", is_not_text


def _is_own_code(error_type: str) -> bool:
    """Whether a validator of this module raised the error: its codes have hyphens, those of pydantic underscores."""
    return "-" in error_type
