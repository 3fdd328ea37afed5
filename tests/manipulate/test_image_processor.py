"""The image processor decodes rows of images and refuses other rows."""

from __future__ import annotations

from typing import Any

import numpy as np

import promptkit as pk
from promptkit.core.arrays import as_uint8_array
from promptkit.core.errors import TaskError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.manipulation import Manipulation
from promptkit.core.values import FileReference, Value
from promptkit.inputs.image import image_input
from promptkit.manipulate.image.processor import BoundImageProcessor
from tests.support.errors import refused

GRAY = as_uint8_array(np.arange(6).reshape(2, 3))


def row(**inputs: Value) -> Example:
    return Example(id="0123", inputs=inputs)


def bound() -> BoundImageProcessor:
    context: Any = None  # it needs none
    return pk.ImageProcessor().bind(context)


def test_rows_become_images_at_their_own_size() -> None:
    (rendered,) = bound()([row(image=GRAY)])
    assert rendered.input == image_input(GRAY, "0123")
    assert rendered.input.cost == 1
    assert (rendered.demos, rendered.continuations, rendered.skipped) == ((), (), False)
    assert isinstance(pk.ImageProcessor(), Manipulation)
    assert pk.ImageProcessor() == pk.ImageProcessor()


def test_an_image_does_not_depend_on_the_other_rows() -> None:
    others = [row(image=as_uint8_array(np.full((4, 4, 3), level))) for level in range(3)]
    together = bound()([*others, row(image=GRAY)])
    assert together == [image for each in (*others, row(image=GRAY)) for image in bound()([each])]


def test_a_row_that_is_not_one_image_is_refused() -> None:
    with refused(TaskError, "not-one-image", row="0123"):
        bound()([row(one=GRAY, other=GRAY)])
    with refused(TaskError, "not-an-image", where="0123"):
        bound()([row(text="a film")])
    with refused(TaskError, "unreadable-image", file="a.png", where="0123"):
        bound()([row(image=FileReference.of_bytes(b"broken", "a.png"))])
    with refused(Unsupported, "no-premise", row="0123"):
        bound().premise(row(image=GRAY))
