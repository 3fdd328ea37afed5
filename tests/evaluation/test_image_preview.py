"""`promptkit render` shows rows of images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.evaluation.preview import views
from promptkit.tasks.task_files import load_task
from tests.models.vision.tiny import convolutional
from tests.support.image_files import squares, write_folder, write_task


def predictor(*programs: object) -> pk.Predictor:
    reader = pk.Classes(["left", "right"], classes={"left": "cat", "right": "dog"})
    return pk.Predictor(convolutional(), [pk.ImageProcessor(), *programs], reader)


@pytest.mark.parametrize("source", ["folder", "memory"])
def test_a_row_of_images_is_shown(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = squares(8)
    task = pk.image_task(images, labels, label_names=["left", "right"], name="squares")
    if source == "folder":
        write_folder(tmp_path / "pictures", images, labels)
        task = load_task(write_task(tmp_path / "task.yaml", folder="pictures"))
    (view,) = views(predictor(pk.Invert()), task, split="test", n=1)
    shown = view.to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["shape"], shown["operations"], shown["request"]) == ([3, 6, 6], ["invert"], "Classify")
    assert shown["label"] in ("left", "right")
    view.show(tokens=False)
    printed = capsys.readouterr().out
    assert str(shown["id"]) in printed
    assert f"{tmp_path / 'pictures'}" in printed or source == "memory"
    assert "3 channels, 6 x 6 pixels" in printed
