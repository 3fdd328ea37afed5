"""Reads the rows of a split from a source of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptkit.tasks.images.bundled import bundled_rows, is_installed
from promptkit.tasks.images.folder import folder_rows, splits_of_folder
from promptkit.tasks.images.idx import find_idx, idx_rows
from promptkit.tasks.readers import Row, read_file, read_hub, read_mirror
from promptkit.tasks.source import Source

Tables = Mapping[str, Sequence[Row]]
"""Split -> rows that are in memory."""


def base_of(source: Source, task_folder: Path, data: Path | None) -> Path | None:
    """Returns the folder that the paths of a source are relative to, or None if the source is not available.

    Args:
        source: The source.
        task_folder: The folder of the task file.
        data: The folder of a local mirror of datasets, if one was given.
    """
    if source.mirror is not None:
        return data
    if source.hub is not None:
        return task_folder if data is None else None
    if source.idx is not None:
        return find_idx(source.idx, [(data or task_folder) / folder for folder in source.folders or ["."]])
    if source.bundled is not None:
        return task_folder if is_installed(source.bundled) else None
    return task_folder


def known_splits(source: Source, base: Path) -> Sequence[str] | None:
    """Returns the names of the source's splits, or None if they are not known before they are read."""
    if source.folder is not None:
        return splits_of_folder(base / source.folder)
    if source.bundled is not None:
        return ("test",)
    named = next((splits for splits in (source.files, source.idx, source.memory) if splits is not None), None)
    return None if named is None else tuple(named)


def read_source(source: Source, base: Path, split: str, tables: Tables, obtain: str | None) -> Sequence[Row]:
    """Returns the rows of a split, in the order of the source.

    Args:
        source: The source.
        base: The folder that its paths are relative to.
        split: The name of the split in the source, which it has.
        tables: The rows of a source that is in memory.
        obtain: How to get the data, for the error that the hub cannot be reached.

    Raises:
        TaskError: The rows cannot be read.
    """
    if source.files is not None:
        return read_file(base / source.files[split])
    if source.mirror is not None:
        return read_mirror(base, source.mirror, split)
    if source.hub is not None:
        return read_hub(source.hub, source.config, source.revision, split, obtain)
    return tables[split] if source.memory is not None else _read_images(source, base, split)


def _read_images(source: Source, base: Path, split: str) -> Sequence[Row]:
    """The rows of a source that can only contain images."""
    if source.folder is not None:
        return folder_rows(base / source.folder, split)
    if source.idx is not None:
        return idx_rows(base, source.idx[split])
    assert source.bundled is not None
    return bundled_rows(source.bundled)


def folder_of_files(source: Source, base: Path, split: str) -> Path:
    """Returns the folder that paths of images in the rows of a split are relative to."""
    if source.files is not None:
        return (base / source.files[split]).parent
    return base / (source.mirror or source.folder or "")
