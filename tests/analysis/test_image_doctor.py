"""Two image classifiers are compared on the same rows."""

from __future__ import annotations

import promptkit as pk
from promptkit.analysis.doctor import diagnose
from tests.models.vision.tiny import convolutional
from tests.support.image_files import squares


def test_a_classifier_agrees_with_itself_on_images() -> None:
    task = pk.image_task(*squares(12), label_names=["left", "right"], name="squares")
    reader = pk.Classes(task.labels, classes={"left": "cat", "right": "dog"})
    diagnosis = diagnose(convolutional(), convolutional(), task, pk.ImageProcessor(), reader, limit=4)
    assert (diagnosis.n, diagnosis.largest, diagnosis.flips, diagnosis.differences) == (4, 0.0, (), ())
    assert not diagnosis.reasons
