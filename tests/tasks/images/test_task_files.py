"""Task files of images: what is checked, and that errors name the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promptkit.core.errors import TaskError
from promptkit.tasks.task_files import load_task
from tests.support.errors import refused

SOURCE = {"folder": "pictures", "inputs": {"image": "image"}, "label": "label"}
SPEC = {"description": "made up", "modality": "image", "labels": {"cat": "cat", "dog": "dog"}, "sources": [SOURCE]}


def write(folder: Path, **changes: object) -> Path:
    spec = {key: value for key, value in (SPEC | changes).items() if value is not None}
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(spec), "utf-8")
    return path


def test_a_task_of_images_needs_no_template_and_can_name_classes(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, classes={"cat": ["tabby cat", "Egyptian Mau"], "dog": "beagle"}))
    assert (task.spec.modality, task.spec.kind, task.labels) == ("image", "classification", ("cat", "dog"))
    assert task.spec.classes == {"cat": ["tabby cat", "Egyptian Mau"], "dog": "beagle"}


@pytest.mark.parametrize(
    ("changes", "code", "fields"),
    [
        ({"template": "sentiment/review"}, "not-for-images", {"place": "template"}),
        ({"answer": "first_line", "labels": None}, "not-for-images", {"place": "answer"}),
        ({"multi_label": True}, "multi-label-images", {"place": "multi_label"}),
        ({"labels": None}, "image-task-needs-labels", {"place": "labels"}),
        ({"classes": {"cat": "tabby cat"}}, "label-without-classes", {"place": "classes", "label": "dog"}),
        ({"classes": {"cat": "tabby cat", "dog": []}}, "label-without-classes", {"place": "classes", "label": "dog"}),
        ({"classes": {"cat": "a", "dog": "b", "cow": "c"}}, "undeclared-label", {"place": "classes", "label": "cow"}),
        ({"modality": "sound"}, "invalid-value", {"place": "modality"}),
        ({"modality": None, "template": "sentiment/review"}, "needs-image-modality", {"place": "sources[0]"}),
        (
            {"modality": None, "template": "sentiment/review", "classes": {"cat": "a", "dog": "b"}},
            "needs-image-modality",
            {"place": "classes"},
        ),
        ({"sources": [SOURCE | {"inputs": {"a": "a", "b": "b"}}]}, "not-one-image", {"place": "sources[0].inputs"}),
        (
            {"sources": [SOURCE | {"inputs": {"image": {"column": "a", "pattern": "b"}}}]},
            "not-one-image",
            {"place": "sources[0].inputs"},
        ),
        ({"sources": [SOURCE | {"rationale": {"why": "why"}}]}, "not-for-images", {"place": "sources[0].rationale"}),
        ({"sources": [SOURCE | {"files": {"test": "a.csv"}}]}, "ambiguous-source", {}),
        ({"sources": [SOURCE | {"folder": None, "idx": {"test": {"images": "a"}}}]}, "missing-key", {}),
        ({"sources": [SOURCE | {"bundled": "cifar", "folder": None}]}, "invalid-value", {"place": "sources[0].bundled"}),
    ],
)
def test_an_invalid_task_of_images_names_the_key(
    tmp_path: Path, changes: dict[str, object], code: str, fields: dict[str, object]
) -> None:
    with refused(TaskError, code, **fields):
        load_task(write(tmp_path, **changes))


def test_a_task_without_its_data_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"test": {"images": "a", "labels": "b"}}
    source = {"idx": files, "folders": ["nowhere"], "inputs": {"image": "image"}, "label": "label"}
    monkeypatch.delenv("PROMPTKIT_DATA", raising=False)
    with refused(TaskError, "data-not-found", task=str(tmp_path / "task.yaml")) as raised:
        load_task(write(tmp_path, sources=[source], obtain="install the package"))
    assert "install the package" in str(raised.value)
