"""Creates a task from a folder of images by class, without a task file."""

from __future__ import annotations

from pathlib import Path

from promptkit.core.errors import TaskError
from promptkit.tasks.folds import HOLD_OUT
from promptkit.tasks.images.cells import SUFFIXES
from promptkit.tasks.images.folder import class_folders, folder_of_split, splits_of_folder
from promptkit.tasks.source import Source
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.task import Task


def labels_of_folder(root: Path) -> tuple[str, ...]:
    """Returns the names of the classes of all splits, in alphabetical order."""
    return tuple(sorted({name for split in splits_of_folder(root) for name in class_folders(folder_of_split(root, split))}))


def folder_source(root: Path, location: str) -> Source:
    """Returns the source of a folder of images.

    Args:
        root: The folder.
        location: Its path, as the task file names it.

    Raises:
        TaskError: The folder has a folder `train`, but none to evaluate.
    """
    splits = splits_of_folder(root)
    tests = [split for split in ("test", "validation", "val", "valid", "dev") if split in splits]
    if not tests:
        hint = "Name one of them test, or put the classes into the folder itself"
        raise TaskError(
            f"The folder {root} has no test images", code="no-test-images", got=", ".join(splits), hint=hint, folder=str(root)
        )
    return Source(
        folder=location,
        inputs={"image": "image"},
        label="label",
        splits={} if tests[0] == "test" else {"test": tests[0]},
        hold_out=None if "train" in splits else HOLD_OUT,
    )


def task_from_folder(folder: Path) -> Task:
    """Creates a task from a folder of images: CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE.

    Raises:
        TaskError: The folder has fewer than two classes, or no images to evaluate.
    """
    root = folder.resolve()
    labels = labels_of_folder(root) if _has_images(root) else ()
    if len(labels) < 2:
        raise _too_few_classes(folder, labels)
    source = folder_source(root, str(root))
    spec = TaskSpec(
        description=f"images of {root.name}", modality="image", labels={label: label for label in labels}, sources=[source]
    )
    return Task(root.name, spec, source, root.parent)


def _has_images(root: Path) -> bool:
    """Whether a folder has a file of a supported type, unlike a folder of runs."""
    return any(path.suffix.lower() in SUFFIXES for path in root.rglob("*"))


def _too_few_classes(folder: Path, labels: tuple[str, ...]) -> TaskError:
    if labels:
        return TaskError(
            f"The folder {folder} has images of one class only",
            code="one-class",
            got=labels[0],
            hint="Put the images of each class into a folder with its name",
            folder=str(folder),
            label=labels[0],
        )
    hint = "Put the images of each class into a folder with its name, or give the YAML file of a task or a data file in it"
    return TaskError(f"{folder} is a folder, and not one of images by class", code="is-a-folder", hint=hint, file=str(folder))
