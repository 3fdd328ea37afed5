"""Decoding images: files of every kind give the expected RGB values, and the error for a broken one names file and row."""

from __future__ import annotations

import io
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from promptkit.core.arrays import ReloadedArray, as_array, as_uint8_array
from promptkit.core.errors import MissingPackage, TaskError
from promptkit.core.values import FileReference, Value
from promptkit.inputs.image import image_input
from tests.support.errors import refused

GRAY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
COLORS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> FileReference:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return FileReference.of_bytes(stream.getvalue(), f"picture.{form.lower()}")


def pixels_of(value: Value) -> np.ndarray:
    """Shape (height, width, channels)."""
    return image_input(value, "0123").pixels.numpy().transpose(1, 2, 0)


def gray_levels(value: Value) -> np.ndarray:
    pixels = pixels_of(value)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_an_array_and_a_lossless_file_of_it_are_the_same_input(pixels: np.ndarray) -> None:
    array = image_input(as_uint8_array(pixels), "0123")
    assert array.pixels.shape == (3, *pixels.shape[:2])
    assert np.array_equal(array.pixels.numpy().transpose(1, 2, 0), (pixels / 255).astype(np.float32))
    for form in ("PNG", "BMP", "TIFF", "PPM"):
        assert image_input(encoded(Image.fromarray(pixels), form), "other") == array
    assert image_input(encoded(Image.fromarray(pixels), "WEBP", lossless=True), "other") == array


@pytest.mark.parametrize(
    "value",
    [
        as_uint8_array(GRAY),
        as_uint8_array(GRAY[..., None]),
        as_array(GRAY / 255),
        encoded(Image.fromarray(GRAY)),
        encoded(Image.fromarray(GRAY).convert("P")),
        encoded(Image.fromarray(GRAY.astype(np.uint16) * 257)),
        encoded(Image.fromarray(GRAY.astype(np.int32) * 257), "TIFF"),
        encoded(Image.fromarray((GRAY / 255).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(GRAY), "GIF"),
    ],
)
def test_gray_of_every_kind_is_repeated_in_three_channels(value: Value) -> None:
    np.testing.assert_allclose(gray_levels(value), GRAY / 255, atol=1e-7)


def test_16_bits_are_kept() -> None:
    levels = np.array([[0, 1, 32768, 65535]], np.uint16)
    np.testing.assert_allclose(gray_levels(encoded(Image.fromarray(levels))), levels / 65535, rtol=1e-6)


def test_black_and_white() -> None:
    assert gray_levels(encoded(Image.fromarray(GRAY > 128).convert("1"))).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "CMYK", "YCbCr"])
def test_colors_of_every_mode(mode: str) -> None:
    image = Image.fromarray(COLORS)
    converted = image.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else image.convert(mode)
    form = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    np.testing.assert_allclose(pixels_of(encoded(converted, form)), COLORS / 255, atol=0.02)


def test_cmyk_of_a_photograph_is_not_inverted() -> None:
    image = Image.new("RGB", (8, 8), (200, 30, 30)).convert("CMYK")
    np.testing.assert_allclose(pixels_of(encoded(image, "JPEG", quality=95))[4, 4], np.array([200, 30, 30]) / 255, atol=0.04)


@pytest.mark.parametrize(("alpha", "expected"), [(0, (1, 1, 1)), (255, (1, 0, 0)), (51, (1, 0.8, 0.8))])
def test_transparent_colors_are_composited_on_white(alpha: int, expected: tuple[float, ...]) -> None:
    image = Image.new("RGBA", (1, 1), (255, 0, 0, alpha))
    np.testing.assert_allclose(pixels_of(encoded(image))[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(pixels_of(as_uint8_array(np.asarray(image)))[0, 0], expected, atol=1e-6)


def test_a_transparent_color_of_a_palette_and_gray_with_alpha_are_composited() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    assert pixels_of(encoded(palette, transparency=0)).tolist() == [[[1, 1, 1], [0, 0, 1]]]
    assert pixels_of(encoded(Image.new("LA", (1, 1), (0, 0)))).tolist() == [[[1, 1, 1]]]
    assert pixels_of(encoded(Image.new("L", (1, 1), 7), transparency=7)).tolist() == [[[1, 1, 1]]]


def test_the_orientation_of_a_camera_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = pixels_of(encoded(Image.fromarray(COLORS).resize((4, 2)), exif=exif))
    assert turned.shape == (4, 2, 3)
    np.testing.assert_array_equal(
        pixels_of(encoded(Image.fromarray(COLORS), exif=exif)), np.rot90(COLORS, -1) / np.float32(255)
    )


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    animated = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert pixels_of(animated).tolist() == [[[1, 0, 0]] * 2] * 2


def test_images_keep_their_own_size() -> None:
    assert pixels_of(encoded(Image.new("RGB", (31, 7)))).shape == (7, 31, 3)


def test_only_files_need_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(Image.new("RGB", (2, 2)))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused(MissingPackage, "missing-package", package="pillow", extra="vision"):
        image_input(file, "0123")
    assert image_input(as_uint8_array(GRAY), "0123").pixels.shape == (3, 2, 3)


@given(st.data())
@settings(max_examples=200)
def test_a_broken_file_is_an_error_that_names_file_and_row_or_an_image(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"]))
    content = bytearray(encoded(Image.fromarray(COLORS).resize((16, 16)), form).read_bytes())
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[position] = value
    cut = data.draw(st.integers(0, len(content)))
    pixels, refusal = None, None
    try:
        pixels = pixels_of(FileReference.of_bytes(bytes(content[:cut]), "photos/cat.png"))
    except TaskError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code == "unreadable-image"
        assert (refusal.fields["file"], refusal.fields["where"]) == ("photos/cat.png", "0123")
    assert pixels is None or (pixels.min() >= 0 and pixels.max() <= 1)


@pytest.mark.parametrize("content", [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_an_image_is_refused(content: bytes) -> None:
    with refused(TaskError, "unreadable-image", file="a.png", where="0123"):
        image_input(FileReference.of_bytes(content, "a.png"), "0123")


@pytest.mark.parametrize(
    "value",
    [
        "a text",
        as_array([0.5]),
        as_array(np.zeros((2, 2, 2))),
        as_array(np.full((2, 2), 1.5)),
        as_array(np.full((2, 2), np.nan)),
        as_uint8_array(np.zeros((3, 0))),
        as_uint8_array(np.zeros((1, 2, 2, 3))),
    ],
)
def test_a_value_that_is_not_an_image_is_refused(value: Value) -> None:
    with refused(TaskError, "not-an-image", where="0123"):
        image_input(value, "0123")


def test_a_large_image_is_not_kept_but_decoded_again() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 4), dtype=np.uint8)
    values = [encoded(Image.fromarray(pixels)), as_uint8_array(pixels)]
    one, other = (image_input(value, "0123") for value in values)
    assert isinstance(one.pixels, ReloadedArray)
    assert one.pixels.numpy() is not one.pixels.numpy()
    assert not one.pixels.numpy().flags.writeable
    assert (one, one.fingerprint(), hash(one)) == (other, other.fingerprint(), hash(other))
    in_memory = as_array(one.pixels.numpy())
    assert in_memory == one.pixels
    assert (in_memory.digest, in_memory.shape, in_memory.dtype) == (one.pixels.digest, (3, 300, 300), one.pixels.dtype)
    assert pickle.loads(pickle.dumps(one)) == one


def test_an_image_with_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(Image.new("1", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with refused(TaskError, "unreadable-image", reason="it has more than 200 pixels"):
        image_input(file, "0123")
