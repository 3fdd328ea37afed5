"""Folders of images by class: CLASS/FILE, or SPLIT/CLASS/FILE."""

from __future__ import annotations

from pathlib import Path

from promptkit.core.errors import TaskError
from promptkit.tasks.readers import Row

_SPLITS = ("train", "test")
"""The folders in a folder are splits if one of them has one of these names and itself has folders; otherwise they are classes.
"""
_METADATA = frozenset({"thumbs.db", "desktop.ini"})
"""Files of operating systems that are not images. Names with a leading dot are ignored too."""


def splits_of_folder(root: Path) -> tuple[str, ...]:
    """Returns the splits of a folder of images; only `test` if its folders are classes.

    Raises:
        TaskError: There is no such folder.
    """
    return class_folders(root) if _has_splits(root) else ("test",)


def folder_of_split(root: Path, split: str) -> Path:
    """Returns the folder that contains the classes of a split: the folder itself if its folders are classes."""
    return root / split if _has_splits(root) else root


def class_folders(root: Path) -> tuple[str, ...]:
    """Returns the names of the folders in a folder, in alphabetical order.

    Raises:
        TaskError: There is no such folder, or it cannot be read.
    """
    try:
        return tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")))
    except OSError as error:
        reason = f"The folder {root} cannot be read: {error.strerror or error}"
        raise TaskError(reason, code="unreadable-folder", hint="Check its path", folder=str(root)) from None


def folder_rows(root: Path, split: str) -> list[Row]:
    """Returns the rows of a split, in alphabetical order.

    The columns are label, the class, and image and file, both the path of the image in the folder.

    Raises:
        TaskError: There is no such folder, or it has no files.
    """
    parent = folder_of_split(root, split)
    files = [(name, path) for name in class_folders(parent) for path in sorted((parent / name).rglob("*")) if _is_image(path)]
    if not files:
        reason = f"The folder {parent} has no images in folders by class"
        raise TaskError(reason, code="no-images", hint="Put them in CLASS/FILE", folder=str(parent))
    named = [(name, path.relative_to(root).as_posix()) for name, path in files]
    return [{"image": file, "label": name, "file": file} for name, file in named]


def _has_splits(root: Path) -> bool:
    return any(class_folders(root / name) for name in _SPLITS if name in class_folders(root))


def _is_image(path: Path) -> bool:
    """Whether a path is a file that should be an image. Files of unsupported types are refused when they are read."""
    return path.is_file() and not path.name.startswith(".") and path.name.lower() not in _METADATA
