"""Values in the inputs of a row: equal, with equal hashes and ids, if and only if their contents are."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from promptkit.core.arrays import as_array, as_uint8_array
from promptkit.core.errors import TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.values import FileReference, Value, describe_value, value_identity
from promptkit.tasks.splits import with_ids
from tests.support.errors import refused

shapes = array_shapes(min_dims=1, max_dims=3, max_side=3)
contents = st.one_of(
    st.text(max_size=4),
    st.binary(max_size=4),
    arrays(np.uint8, shapes, elements=st.integers(0, 2)),
    arrays(np.float32, shapes, elements=st.sampled_from([0.0, 0.5, 1.0])),
)


def as_value(content: str | bytes | np.ndarray, name: str) -> Value:
    if isinstance(content, str):
        return content
    if isinstance(content, bytes):
        return FileReference.of_bytes(content, name)
    return as_uint8_array(content) if content.dtype == np.uint8 else as_array(content)


def key(content: str | bytes | np.ndarray) -> object:
    """The content itself, computed without the code under test."""
    if isinstance(content, np.ndarray):
        return content.dtype.name, content.shape, content.tobytes()
    return type(content).__name__, content


def row_id(**inputs: Value) -> str:
    return with_ids([LabeledExample(id="", inputs=inputs, label="a")])[0].id


@given(contents, contents)
def test_values_and_ids_are_equal_if_and_only_if_contents_are(
    one: str | bytes | np.ndarray, other: str | bytes | np.ndarray
) -> None:
    same = key(one) == key(other)
    first, second = as_value(one, "first.png"), as_value(other, "elsewhere/second.png")
    assert (first == second) is same
    assert not same or hash(first) == hash(second)
    assert (json.dumps(value_identity(first)) == json.dumps(value_identity(second))) is same
    assert (row_id(x=first) == row_id(x=second)) is same
    assert row_id(x=first) == row_id(y=first)


@given(contents)
def test_values_survive_pickling(content: str | bytes | np.ndarray) -> None:
    value = as_value(content, "a file")
    assert pickle.loads(pickle.dumps(value)) == value


def test_ids_of_texts_have_not_changed() -> None:
    assert row_id(text="a good film") == "2d6708d7e5fd"
    assert row_id(premise="naïve", hypothesis="\ud800") == "46ec3614b048"


def test_a_file_is_read_when_it_is_needed_and_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "one.bin"
    path.write_bytes(b"content")
    reference = FileReference.of_file(path)
    assert reference.content is None
    assert reference.read_bytes() == b"content"
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"content")
    assert reference == FileReference.of_file(copy) == FileReference.of_bytes(b"content", "in a larger file")
    path.write_bytes(b"changed")
    with refused(TaskError, "file-changed", file=str(path)):
        reference.read_bytes()
    path.unlink()
    with refused(TaskError, "unreadable-file", file=str(path)):
        reference.read_bytes()


@pytest.mark.parametrize("value", [as_array([1.0]), as_uint8_array([1]), FileReference.of_bytes(b"", "a.png")])
def test_inputs_that_are_not_texts_are_refused_as_texts(value: Value) -> None:
    row = Example(id="0123", inputs={"title": "a", "picture": value})
    with refused(TaskError, "not-text", variable="picture", row="0123"):
        _ = row.texts
    assert describe_value(value) != str(value)
    assert Example(id="0123", inputs={"title": "a"}).texts == {"title": "a"}


def test_arrays_of_different_types_differ_even_with_equal_bytes() -> None:
    floats = as_array([1.0])
    numbers = as_uint8_array(np.frombuffer(floats.tobytes(), np.uint8))
    assert floats.digest == numbers.digest
    assert floats != numbers
    assert (floats.dtype, numbers.dtype) == ("float32", "uint8")
    copy = pickle.loads(pickle.dumps(numbers))
    assert copy == numbers
    assert not copy.numpy().flags.writeable
