"""The configuration of a task of images: its own first stages, and no options of prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptkit as pk
from promptkit.align.classes import Classes
from promptkit.config.answer import AnswerOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.modality import build_first_stages
from promptkit.core.errors import InputError, Unsupported
from promptkit.manipulate.image.processor import ImageProcessor
from tests.support.errors import refused
from tests.support.image_files import squares


@pytest.fixture
def task() -> pk.Task:
    return pk.image_task(*squares(12), label_names=["left", "right"], name="squares")


def stages(task: pk.Task, **options: object) -> object:
    config = EvalConfig(task="digits", **options)
    return build_first_stages(task, config, config)


def test_images_are_decoded_and_classified(task: pk.Task) -> None:
    config = EvalConfig(task="digits")
    first = build_first_stages(task, config, AnswerOptions())
    assert isinstance(first.encoder, ImageProcessor)
    assert isinstance(first.reader, Classes)
    assert first.uncalibrated is None
    named = pk.image_task(*squares(12), label_names=["left", "right"], classes={"left": "cat", "right": ["dog", "cow"]})
    assert build_first_stages(named, config, AnswerOptions()).uncalibrated is not None


@pytest.mark.parametrize(
    ("option", "value"),
    [("shots", 4), ("chat", True), ("demos", "random"), ("cot", "zero-shot"), ("score", "mean"), ("max_tokens", 5)],
)
def test_options_of_prompts_are_refused(task: pk.Task, option: str, value: object) -> None:
    with refused(InputError, "option-not-applicable", option=option, task="squares"):
        stages(task, **{option: value})


def test_a_model_of_texts_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    with refused(Unsupported, "needs-image-model", model="fake"):
        EvalConfig(task="digits", model="fake", labelmap="blm").build()
