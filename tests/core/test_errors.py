"""Errors: every error has a stable code in kebab case, and a code names one problem."""

from __future__ import annotations

import ast
import pickle
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import promptkit
from promptkit.core import errors
from promptkit.core.errors import InputError, ModelError, PromptkitError, ServerError, TaskError, unknown

ROOT = Path(promptkit.__file__).parent
TYPES = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, PromptkitError)}
KEBAB_CASE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SHARED_CODES = {
    "cannot-write",
    "invalid-value",
    "is-a-folder",
    "no-fixed-labels",
    "no-such-file",
    "no-such-folder",
    "not-a-mapping",
    "not-json",
    "not-text",
    "not-utf8",
    "path-exists",
    "rows-are-evaluated",
    "too-few-labels",
    "too-few-rows",
    "unreadable-file",
    "unsupported-file-type",
}
"""Codes shared by several error types: the same problem with different objects, such as a missing task or model file."""


def created() -> Iterator[tuple[str, ast.Call]]:
    """Yields the location and the call of everything in the package that creates an error."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TYPES:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def codes_of(value: ast.expr) -> list[str]:
    """The literal codes that an expression can evaluate to."""
    if isinstance(value, ast.IfExp):
        return codes_of(value.body) + codes_of(value.orelse)
    if isinstance(value, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "x" for part in value.values)]
    return [value.value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []


def code_argument(call: ast.Call) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)


@pytest.mark.parametrize(("location", "call"), [pytest.param(*item, id=item[0]) for item in created()])
def test_every_error_has_a_code_in_kebab_case(location: str, call: ast.Call) -> None:
    code = code_argument(call)
    assert code is not None
    assert not isinstance(code, ast.Constant) or isinstance(code.value, str)
    assert all(KEBAB_CASE.fullmatch(literal) for literal in codes_of(code))


@pytest.mark.parametrize(("location", "call"), [pytest.param(*item, id=item[0]) for item in created()])
def test_every_error_has_fields(location: str, call: ast.Call) -> None:
    assert {keyword.arg for keyword in call.keywords} - {"code", "got", "hint"}


def test_a_code_belongs_to_one_error_type() -> None:
    types: defaultdict[str, set[str]] = defaultdict(set)
    for _, call in created():
        code = code_argument(call)
        assert isinstance(call.func, ast.Name)
        for literal in codes_of(code) if code is not None else ():
            types[literal].add(call.func.id)
    assert {code for code, names in types.items() if len(names) > 1} <= SHARED_CODES


def test_an_error_without_a_code_cannot_be_created() -> None:
    with pytest.raises(TypeError):
        PromptkitError("A problem")


def test_the_message_has_three_parts() -> None:
    error = TaskError("The row has no label", code="no-label", got="row 3", hint="Add one", row=3)
    assert str(error) == "The row has no label. Given: row 3. Add one."
    assert (error.code, error.fields) == ("no-label", {"row": 3})


def test_an_unknown_name_is_answered_with_the_closest_ones() -> None:
    error = unknown("calibration", "btach", ["batch", "prior"], error=TaskError)
    assert isinstance(error, TaskError)
    assert error.code == "unknown-name"
    assert error.fields == {"kind": "calibration", "name": "btach", "close": ["batch"]}


@pytest.mark.parametrize("kind", [InputError, ModelError, ServerError])
def test_an_error_survives_pickling(kind: type[PromptkitError]) -> None:
    error = kind("A problem", code="a-problem", got=1, hint="Try again", number=1)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.code, copy.fields) == (str(error), error.code, error.fields)
