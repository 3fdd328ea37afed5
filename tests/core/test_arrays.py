"""Arrays: equality, hashing, immutability and serialization."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from promptkit.core.arrays import Array, as_array, deserialize, parameters_digest, serialize, zeros

values = arrays(np.float32, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=st.floats(width=32))


@given(values)
def test_values_survive_to_the_last_bit(numbers: np.ndarray) -> None:
    array = as_array(numbers)
    assert array.shape == numbers.shape
    assert array.tobytes() == numbers.tobytes() == array.numpy().tobytes()


@given(values, values)
def test_arrays_are_equal_if_shapes_and_bytes_are_equal(one: np.ndarray, other: np.ndarray) -> None:
    same = one.shape == other.shape and one.tobytes() == other.tobytes()
    assert (as_array(one) == as_array(other)) is same
    assert not same or hash(as_array(one)) == hash(as_array(other))
    assert {as_array(one): 1}[as_array(one.copy())] == 1


def test_arrays_with_equal_bytes_and_different_shapes_differ() -> None:
    assert zeros(2, 3) != zeros(3, 2)
    assert zeros(2, 3) != "zeros"


def test_an_array_is_read_only_and_independent_of_its_source() -> None:
    source = np.ones(3, np.float32)
    array = as_array(source)
    source[0] = 7
    assert array == as_array([1, 1, 1])
    with pytest.raises(ValueError, match="read-only"):
        array.numpy()[0] = 7
    assert array.numpy() is array.numpy()


def test_any_array_like_is_converted_to_contiguous_float32() -> None:
    array = as_array(np.arange(6, dtype=np.int64).reshape(2, 3).T)
    assert array.numpy().flags["C_CONTIGUOUS"]
    assert (array.numpy().dtype, array.shape) == (np.float32, (3, 2))
    assert array == as_array([[0, 3], [1, 4], [2, 5]])


@given(values)
def test_pickling_keeps_the_array_read_only(numbers: np.ndarray) -> None:
    copy: Array = pickle.loads(pickle.dumps(as_array(numbers)))
    assert copy == as_array(numbers)
    assert not copy.numpy().flags.writeable


@given(st.dictionaries(st.sampled_from(["keys", "values", "0.vectors"]), values, min_size=1))
def test_serialization_keeps_names_shapes_and_values(parameters: dict[str, np.ndarray]) -> None:
    expected = {name: as_array(numbers) for name, numbers in parameters.items()}
    result = deserialize(serialize(expected))
    assert result == expected
    assert parameters_digest(result) == parameters_digest(expected)


def test_the_digest_of_parameters_depends_on_names_shapes_and_values() -> None:
    different = [{"a": zeros(2, 3)}, {"b": zeros(2, 3)}, {"a": zeros(3, 2)}, {"a": as_array(np.ones((2, 3)))}, {}]
    assert len({*map(parameters_digest, different)}) == len(different)


def test_content_that_is_not_safetensors_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - safetensors words the message
        deserialize(b"PK")
