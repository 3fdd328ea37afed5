"""Values that are not models, predictors or paths are refused where they are passed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from tests.support.errors import refused

LABELS = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})


def predictor() -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), LABELS)


@pytest.mark.parametrize("value", [None, 5, "fake", pk.load])
def test_a_predictor_needs_a_model(value: object) -> None:
    with refused(InputError, "not-a-model", value=repr(value)[:100]):
        pk.Predictor(value, pk.Prompt("sentiment/review"), LABELS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        pk.evaluate,
        lambda value, task: pk.evaluate([predictor(), value], task),
        lambda value, task: pk.compare(task, first=predictor(), second=value),
        pk.train,
        pk.search,
    ],
    ids=["evaluate", "evaluate several", "compare", "train", "search"],
)
@pytest.mark.parametrize("value", [None, 5])
def test_a_value_that_is_not_a_predictor_is_refused(call: Callable[[object, pk.Task], object], value: object) -> None:
    with refused(InputError, "not-a-predictor", value=repr(value)):
        call(value, pk.task("sentiment"))


@pytest.mark.parametrize("call", [pk.Prompt])
def test_a_value_that_is_not_a_path_is_refused(call: Callable[[object], object]) -> None:
    with refused(InputError, "not-a-path", value="5"):
        call(5)
