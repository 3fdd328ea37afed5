"""Images in the columns of a row: paths of files, encoded images in Parquet files and datasets, and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptkit.core.arrays import Array
from promptkit.core.errors import TaskError
from promptkit.core.values import FileReference, Value

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of supported image files."""


def image_value(cell: object, column: str, where: str, folder: Path) -> Value:
    """Returns the image in a cell. Files are hashed but not decoded.

    Args:
        cell: A path, the bytes of an image file, a mapping with `bytes` or `path` as in the `datasets` library, or an array.
        column: The column, for error messages.
        where: What to call the row in error messages.
        folder: The folder that a path is relative to.

    Raises:
        TaskError: A file cannot be read or has an unsupported type, or the cell contains something else.
    """
    if isinstance(cell, Array):
        return cell
    if isinstance(cell, bytes):
        return FileReference.of_bytes(cell, f"the column {column} of {where}")
    if isinstance(cell, str) and cell:
        return _file(folder / cell, where)
    if isinstance(cell, Mapping) and isinstance(content := cell.get("bytes"), bytes):
        return FileReference.of_bytes(content, str(cell.get("path") or f"the column {column} of {where}"))
    if isinstance(cell, Mapping) and isinstance(path := cell.get("path"), str):
        return _file(folder / path, where)
    raise TaskError(
        f"The column {column} contains no image in {where}",
        code="not-an-image",
        got=str(cell)[:100] or "an empty text",
        hint="Use a column of paths, or of images as the `datasets` library stores them",
        column=column,
        where=where,
    )


def _file(path: Path, where: str) -> FileReference:
    if path.suffix.lower() not in SUFFIXES:
        reason = f"files of type {path.suffix or path.name!r} are not supported; convert it to {SUFFIXES[0]}"
        raise unreadable_image(str(path), where, reason)
    try:
        return FileReference.of_file(path)
    except OSError as error:
        raise unreadable_image(str(path), where, error.strerror or str(error)) from None


def unreadable_image(name: str, where: str, reason: str) -> TaskError:
    """Returns the error for an image that is missing, broken or of an unsupported type.

    Args:
        name: The file.
        where: What to call the row.
        reason: Why it cannot be read.
    """
    return TaskError(
        f"The image {name} cannot be read, in {where}: {reason}",
        code="unreadable-image",
        hint="Replace the file, or remove the row",
        file=name,
        where=where,
        reason=reason,
    )
