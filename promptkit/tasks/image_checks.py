"""Checks of the keys of a task file for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic_core import PydanticCustomError

from promptkit.tasks.source import Source

ONE_LABEL_OF_IMAGES = (
    "Evaluate one task for each label, with a column that contains yes or no: all label maps and probes work on such a task"
)
"""What to do where any number of labels apply to an image."""


def check_image_task(
    labels: Mapping[str, object] | None,
    classes: Mapping[str, object] | None,
    sources: Sequence[Source],
    *,
    multi_label: bool,
    **text_keys: bool,
) -> None:
    """Checks the keys of a task of images.

    Args:
        labels: The labels of the task.
        classes: Its map from labels to the classes of a pretrained classifier.
        sources: Its sources.
        multi_label: Whether any number of the labels can apply to a row.
        **text_keys: Key of tasks of texts -> whether the task has it.

    Raises:
        PydanticCustomError: A key is missing, is for texts, or does not agree with another.
    """
    _check_no_text_keys(text_keys)
    if multi_label:
        message = f"an image has exactly one label. {ONE_LABEL_OF_IMAGES}"
        raise PydanticCustomError("multi-label-images", message, {"key": "multi_label"})
    if labels is None:
        raise PydanticCustomError("image-task-needs-labels", "a task of images needs labels", {"key": "labels"})
    for index, source in enumerate(sources):
        _check_image_columns(source, f"sources[{index}]")
    for label in classes or ():
        if label not in labels:
            raise PydanticCustomError(
                "undeclared-label",
                "classes contains '{label}', which is not one of the labels {labels}",
                {"label": label, "labels": ", ".join(labels), "key": "classes"},
            )
    without = [label for label in labels if not (classes or {}).get(label)]
    if classes is not None and without:
        raise PydanticCustomError(
            "label-without-classes",
            "classes must name at least one class for each label, and has none for {label}",
            {"label": ", ".join(without), "key": "classes"},
        )


def _check_image_columns(source: Source, place: str) -> None:
    _check_no_text_keys({"choices": source.choices is not None, "rationale": bool(source.rationale)}, f"{place}.")
    if len(source.inputs) != 1 or not all(isinstance(column, str) for column in source.inputs.values()):
        raise PydanticCustomError(
            "not-one-image",
            "a task of images needs exactly one input, the name of the column of the images",
            {"key": f"{place}.inputs"},
        )


def _check_no_text_keys(text_keys: Mapping[str, bool], prefix: str = "") -> None:
    for key, is_given in text_keys.items():
        if is_given:
            raise PydanticCustomError(
                "not-for-images",
                "{name} is for texts, and the modality of this task is image",
                {"name": key, "key": f"{prefix}{key}"},
            )


def needs_image_modality(key: str) -> PydanticCustomError:
    """Returns the error for a key that is for images, in a task of texts."""
    return PydanticCustomError("needs-image-modality", "this is for images: set modality: image", {"key": key})
