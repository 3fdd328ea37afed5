"""Every public method of the objects that users work with accepts valid arguments only: anything else is an error of promptkit.

The methods by which promptkit itself uses selectors, aligners, manipulations and models are left out: they are the interface of
extensions. The scikit-learn classifier raises the errors of scikit-learn.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.errors import PromptkitError
from tests.mistakes.calls import PROMPT, heads, image_predictor, mapped, out_of_fold, predictor, study, task


def function(x: object = 1) -> object:
    """A function in place of an object."""
    return x


class Other:
    """A class that has nothing to do with promptkit."""


WRONG: list[Any] = [None, {}, [], (), function, object(), Other, b"x", Path("x"), -1, 10**30, "", math.nan, [None], [{}]]
WRONG += [{1: 2}, np.zeros((2, 0)), {"text": None}, range(3), 1j, pk.Task, pk.Predictor]
GOOD: dict[str, Callable[[], Any]] = {
    "task": task,
    "rows": lambda: [{"text": "a"}],
    "folder": lambda: "folder",
    "path": lambda: "file",
    "out": lambda: "out",
    "split": lambda: "test",
    "part": lambda: "pool",
    "name": lambda: "x",
    "probabilities": lambda: np.ones((1, 2)) / 2,
}
"""Valid arguments of parameters without a default."""
NEEDS_A_SERVER = {"push_to_hub"}
OBJECTS: dict[str, Callable[[], Any]] = {
    "Predictor": predictor,
    "Predictor, fitted": lambda: predictor().fit(task()),
    "Predictor of images": image_predictor,
    "Predictions": lambda: predictor().fit(task()).predict(["a", "b"]),
    "Prediction": lambda: predictor().fit(task()).predict(["a"])[0],
    "Task": task,
    "Run": lambda: pk.evaluate(predictor(), task(), limit=2, out="of-methods"),
    "Comparison": lambda: pk.compare(task(), limit=2, out="of-methods", plain=predictor()),
    "Study": study,
    "HeadEffects": heads,
    "Template": lambda: pk.Template.load(PROMPT),
    "LabelMaps": lambda: pk.label_maps(mapped()),
    "Shard": lambda: pk.Shard(1, 2),
    "OutOfFold": out_of_fold,
    "Drift": lambda: pk.Drift(out_of_fold()),
    "TrainingConfig": pk.TrainingConfig,
}
"""The objects that users work with."""


def methods(value: object) -> Iterator[tuple[str, Callable[..., Any], dict[str, inspect.Parameter]]]:
    """The public methods of an object that promptkit defines and that have parameters."""
    for name in dir(value):
        static = inspect.getattr_static(type(value), name, None)
        defined = inspect.unwrap(static.__func__ if isinstance(static, staticmethod | classmethod) else static or name)
        if name.startswith("_") or not inspect.isfunction(defined) or not defined.__module__.startswith("promptkit."):
            continue
        method = getattr(value, name)
        if parameters := dict(inspect.signature(method).parameters):
            yield name, method, parameters


def arguments(parameters: dict[str, inspect.Parameter], wrong: str, value: object) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call: a wrong value, and valid ones for other parameters without a default."""
    positional, named = [], {}
    for name, parameter in parameters.items():
        if name != wrong and (parameter.default is not parameter.empty or parameter.kind in (2, 4)):
            continue
        given = value if name == wrong else GOOD.get(name, lambda: None)()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            positional.append(given)
        else:
            named["x" if parameter.kind is parameter.VAR_KEYWORD else name] = given
    return positional, named


@pytest.mark.parametrize("name", OBJECTS)
def test_wrong_arguments_of_methods_are_refused_or_valid(name: str) -> None:
    calls = 0
    for method_name, method, parameters in methods(OBJECTS[name]()):
        for parameter in parameters.keys() - {"progress"} if method_name not in NEEDS_A_SERVER else ():
            for value in WRONG:
                positional, named = arguments(parameters, parameter, value)
                calls += 1
                try:
                    result = method(*positional, **named)
                    list(result) if isinstance(result, GeneratorType) else result
                except PromptkitError as error:
                    message = str(error)
                except Exception as error:
                    raise AssertionError(f"{name}.{method_name}({parameter}={value!r:.60}): {error!r}") from error
                else:
                    message = ""
                assert "\n" not in message
    assert calls or name == "Prediction"
