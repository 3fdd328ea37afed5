"""Public functions and classes accept valid arguments only: anything else is an error of promptkit, and nothing is ignored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError
from tests.mistakes.accepted import ACCEPTED
from tests.mistakes.calls import CALLS, CREATED_BY_FUNCTIONS, OWNERS, PROMPT, WRONG, heads, predictor, task
from tests.support.errors import refused


def target(name: str) -> Any:
    owner, _, attribute = name.rpartition(".")
    if not owner:
        return getattr(pk, name)
    if name in ("Template.render", "Template.slots"):
        return getattr(pk.Template.load(PROMPT), attribute)
    return getattr(OWNERS[owner]() if owner in OWNERS else getattr(pk, owner), attribute)


def call(function: Callable[..., Any], values: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    variable = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    positional = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
        or (variable and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
    ]
    function(
        *(values[name] for name in positional if name in values),
        **{key: value for key, value in values.items() if key not in positional},
    )


def outcome(function: Callable[..., Any], values: dict[str, Any]) -> str:
    """The code of the error of a call; empty if it works. Any other exception fails the test."""
    try:
        call(function, values)
    except PromptkitError as caught:
        error = caught
    else:
        return ""
    assert error.code
    assert error.fields
    assert "\n" not in str(error)
    return error.code


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_refused(name: str) -> None:
    function = target(name)
    expected = outcome(function, CALLS[name]())  # some calls end in an error that a model of random numbers cannot avoid
    for parameter in CALLS[name]():
        accepted = [value for value in WRONG if outcome(function, {**CALLS[name](), parameter: value}) == expected]
        allowed = ACCEPTED.get(f"{name}.{parameter}", ACCEPTED.get(parameter, []))
        assert [*map(repr, accepted)] == [*map(repr, allowed)], f"{name}({parameter}=...)"


def public() -> Iterator[tuple[str, Any]]:
    """The public functions and classes of the package and its public modules, except errors."""
    for name in pk.__all__:
        value = getattr(pk, name)
        if isinstance(value, ModuleType):
            members = {key: member for key, member in vars(value).items() if key in getattr(value, "__all__", vars(value))}
            for key, member in members.items():
                if key.startswith("_") or not str(getattr(member, "__module__", "")).startswith(value.__name__):
                    continue
                is_setting = isinstance(member, type) and is_dataclass(member) and hasattr(member, "name")
                if is_setting or (inspect.isroutine(member) and inspect.signature(member).parameters):
                    yield f"{name}.{key}", member
        elif callable(value) and not (isinstance(value, type) and issubclass(value, PromptkitError)):
            yield name, value


CONSTRUCTORS = {
    name: value for name, value in public() if is_dataclass(value) and name not in CALLS.keys() | CREATED_BY_FUNCTIONS
}
"""The classes whose fields all have defaults."""


def test_all_public_functions_and_classes_are_tested() -> None:
    assert {name for name, _ in public()} <= CALLS.keys() | CONSTRUCTORS.keys() | CREATED_BY_FUNCTIONS
    assert len(CONSTRUCTORS) > 40


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_wrong_setting_is_refused(name: str) -> None:
    outcome(CONSTRUCTORS[name], {})
    for parameter in inspect.signature(CONSTRUCTORS[name]).parameters:
        outcomes = {repr(wrong): outcome(CONSTRUCTORS[name], {parameter: wrong}) for wrong in WRONG}
        assert sum(not code for code in outcomes.values()) <= 3, f"{name}({parameter}=...)"
        assert outcomes[repr(WRONG[4])], f"{name}({parameter}=object())"
        assert outcomes["nan"], f"{name}({parameter}=nan)"


# ---- what the errors say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (lambda: pk.Prompt(PROMPT, chat="yes"), "invalid-value", {"of": "a prompt", "keyword": "chat", "value": "'yes'"}),
        (lambda: pk.evaluate(predictor(), task(), cache=5), "invalid-value", {"of": "evaluate", "keyword": "cache"}),
        (lambda: pk.evaluate(predictor(), task(), limit=True), "invalid-value", {"keyword": "limit", "value": "True"}),
        (lambda: pk.evaluate(predictor(), task(), progress=5), "not-a-function", {"keyword": "progress"}),
        (lambda: pk.evaluate([predictor(), 5], task()), "not-a-predictor", {"keyword": "predictors", "value": "5"}),
        (lambda: pk.evaluate(predictor(), task(), out=5), "not-a-path", {"keyword": "out", "value": "5"}),
        (lambda: pk.evaluate(predictor(), "x"), "not-a-task", {"keyword": "task", "value": "'x'"}),
        (lambda: pk.evaluate_shard(predictor(), task(), "1/2"), "not-an-instance", {"keyword": "shard", "value": "'1/2'"}),
        (lambda: pk.compare(task(), plain=5), "not-a-predictor", {"keyword": "plain", "value": "5"}),
        (lambda: pk.compare(task()), "no-predictors", {"predictors": ()}),
        (lambda: pk.merge([]), "no-shards", {"shards": ()}),
        (lambda: pk.Shard(3, of=2), "invalid-shard", {"shard": "3/2"}),
        (lambda: task().part("x"), "unknown-name", {"kind": "part of Task.part", "name": "x"}),
    ],
)
def test_the_error_names_the_argument_and_the_value(action: Callable[[], object], code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()


def test_numpy_scalars_are_numbers() -> None:
    assert len(pk.evaluate(predictor(), task(), limit=np.int64(2), out="runs").ids) == 2  # type: ignore[arg-type]
    with refused(InputError, "not-finite", keyword="strength"):
        heads().steering_vector(layer=1, strength=np.float64("nan"))


def test_a_missing_or_unknown_argument_is_an_error_of_python() -> None:
    with pytest.raises(TypeError, match="evaluate"):
        pk.evaluate(predictor())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="limitt"):
        pk.evaluate(predictor(), task(), limitt=2)  # type: ignore[call-arg]
