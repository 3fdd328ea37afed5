"""Files in the IDX format of MNIST (LeCun, Cortes and Burges): big-endian arrays, which may be compressed with gzip."""

from __future__ import annotations

import gzip
import math
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.arrays import Array
from promptkit.core.errors import TaskError
from promptkit.tasks.readers import GZIP, Row
from promptkit.tasks.source import IdxFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""The third byte of a file -> the type of its numbers."""


def find_idx(files: Mapping[str, IdxFiles], folders: list[Path]) -> Path | None:
    """Returns the first folder that contains all files of all splits, compressed or not."""
    names = [name for split in files.values() for name in (split.images, split.labels)]
    return next((folder for folder in folders if all(_existing(folder / name) for name in names)), None)


def idx_rows(folder: Path, files: IdxFiles) -> list[Row]:
    """Returns the rows of a split with the columns image (an array of uint8) and label (a whole number), in order.

    Raises:
        TaskError: A file is missing or not in this format, or the files have different lengths.
    """
    import numpy as np

    images, labels = read_idx(folder / files.images), read_idx(folder / files.labels)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise _not_idx(folder / files.images, f"its numbers are not images of uint8: {images.dtype}, shape {images.shape}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise _not_idx(folder / files.labels, f"its numbers are not labels: {labels.dtype}, shape {labels.shape}")
    if len(images) != len(labels):
        raise TaskError(
            f"{folder / files.images} has {len(images)} images, and {folder / files.labels} has {len(labels)} labels",
            code="different-lengths",
            images=len(images),
            labels=len(labels),
        )
    return [{"image": Array(image), "label": label} for image, label in zip(images, labels.tolist(), strict=True)]


def read_idx(path: Path) -> NDArray[np.generic]:
    """Returns the array in a file, or in the file with `.gz` added to its name.

    An uncompressed file is mapped into memory and read when it is needed.

    Raises:
        TaskError: The file cannot be read or is not in this format.
    """
    import numpy as np

    content = _content(path)
    if len(content) < 4 or content[0] or content[1] or content[2] not in _TYPES:
        raise _not_idx(path, "it does not begin as the format requires")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content, ">u4", content[3], 4).tolist()) if len(content) >= start else ()
    dtype = np.dtype(_TYPES[content[2]])
    if len(content) != start + dtype.itemsize * math.prod(shape) or not shape:
        raise _not_idx(path, f"its size, {len(content)} bytes, does not match an array of shape {shape}")
    return np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)


def _content(path: Path) -> bytes | mmap.mmap:
    existing = _existing(path)
    if existing is None:
        raise TaskError(f"There is no file {path}, with or without {GZIP}", code="no-such-file", file=str(path))
    try:
        with existing.open("rb") as stream:
            if stream.read(2) == b"\x1f\x8b":
                return gzip.decompress(existing.read_bytes())
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _not_idx(existing, str(error)) from None


def _existing(path: Path) -> Path | None:
    """The file, or the file with `.gz` added to or removed from its name."""
    other = path.with_suffix("") if path.suffix == GZIP else path.with_name(path.name + GZIP)
    return next((candidate for candidate in (path, other) if candidate.is_file()), None)


def _not_idx(path: Path, reason: str) -> TaskError:
    return TaskError(
        f"{path} cannot be read as an IDX file: {reason}",
        code="not-idx",
        hint="Check that the file is complete",
        file=str(path),
        reason=reason,
    )
