"""The state of fitted objects: every value comes back with its type and its bits, and nothing else is accepted."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load, save

from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.state import State, from_state, is_saveable, state_digest, stateful, to_state
from tests.support.errors import refused


@stateful("test-pair")
@dataclass(frozen=True, slots=True)
class Pair:
    first: Any
    second: Any = None


@stateful("test-derived")
@dataclass(frozen=True)
class Derived:
    number: float
    double: float = field(init=False, default=2.0)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    plain, lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.tuples(st.integers()), inner), max_leaves=8
)
numbers = st.sampled_from(["f8", "f4", "i8", "u1", "?"]).flatmap(lambda kind: arrays(kind, array_shapes(min_side=0)))


def through_files(value: object) -> object:
    state = to_state(value)
    return from_state(State(value=json.loads(json.dumps(state.value)), arrays=load(save(dict(state.arrays)))))


def same(first: object, second: object) -> bool:
    if isinstance(first, float) and math.isnan(first):
        return isinstance(second, float) and math.isnan(second)
    if isinstance(first, tuple):
        return isinstance(second, tuple) and len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return isinstance(second, dict) and [*first] == [*second] and all(same(first[key], second[key]) for key in first)
    return type(first) is type(second) and first == second


@given(values)
def test_values_come_back(value: object) -> None:
    read = through_files(Pair(value))
    assert isinstance(read, Pair)
    assert same(value, read.first)


@given(numbers)
def test_arrays_come_back_with_every_bit(array: np.ndarray) -> None:
    read = through_files(Pair(array, (1, Pair(array.T))))
    assert isinstance(read, Pair)
    for before, after in ((array, read.first), (array.T, read.second[1].first)):
        assert (before.dtype, before.shape, before.tobytes()) == (after.dtype, after.shape, after.tobytes())
        assert after.flags.c_contiguous


def test_an_array_that_occurs_twice_is_stored_once() -> None:
    array = np.arange(3.0)
    state = to_state(Pair(array, array))
    assert len(state.arrays) == 1
    read = from_state(state)
    assert isinstance(read, Pair)
    assert read.first is read.second


def test_derived_fields_are_not_stored() -> None:
    assert through_files(Derived(1.5)) == Derived(1.5)
    assert "double" not in json.dumps(to_state(Derived(1.5)).value)


@pytest.mark.parametrize("value", [lambda: 1, object(), {1, 2}, b"bytes", np.array(["text"]), np.array([None]), 1j])
def test_other_values_cannot_be_saved(value: object) -> None:
    with refused(InputError, "not-saveable", place="state.second.0"):
        to_state(Pair(1, (value,)))
    assert not is_saveable(value)


@pytest.mark.parametrize(
    "value",
    [
        {"array": "missing"},
        {"array": "x", "more": 1},
        {"number": "many"},
        {"mapping": [[1]]},
        {"type": "test-pair", "fields": {"first": 1, "third": 2}},
        {"type": "test-pair"},
        {"import": "os"},
        {},
    ],
)
def test_malformed_states_are_refused(value: Any) -> None:
    with refused(CheckpointError, "malformed-state"):
        from_state(State(value=value, arrays={"x": np.zeros(1)}))


@pytest.mark.parametrize("name", ["os.system", "promptkit.core.state.State", "builtins.dict", "unknown"])
def test_classes_are_found_by_their_registered_name_only(name: str) -> None:
    with refused(CheckpointError, "unknown-state", name=name):
        from_state(State(value={"type": name, "fields": {}}, arrays={}))


def test_a_name_belongs_to_one_class() -> None:
    with refused(InputError, "name-taken", name="test-pair"):

        @stateful("test-pair")
        @dataclass(frozen=True)
        class Other:
            pass

    with refused(InputError, "incomplete-class", name="Plain"):

        @stateful("test-plain")
        class Plain:
            pass


@given(numbers)
def test_the_digest_differs_if_anything_differs(array: np.ndarray) -> None:
    states = [to_state(Pair(array)), to_state(Pair(array, 1)), to_state(Pair(array[None])), to_state(Pair((array,)))]
    assert len({state_digest(state) for state in states}) == len(states)
    assert state_digest(to_state(Pair(array.copy()))) == state_digest(states[0])
