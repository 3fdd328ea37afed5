"""A run of a learned manipulation that was not trained says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.manipulate.modifiers import FIXED, LEARNABLE
from tests.mistakes.calls import PROMPT, WORDS, image_task, task, trained
from tests.support.tiny import save_reviews

SETTINGS = {"soft": {"length": 2}, "trigger-tokens": {"length": 2}}
IMAGES = ("border", "watermark", "mask", "affine", "filter")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_reviews(tmp_path, 40, hold_out=0.5)
    monkeypatch.chdir(tmp_path)


def image_predictor(*programs: Any) -> pk.Predictor:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2))
    model = pk.load_module(module, size=16, normalization=([0.5] * 3, [0.25] * 3), class_names=["cat", "dog"])
    return pk.Predictor(model, [pk.ImageProcessor(), *programs], pk.Classes(["a", "b"], classes={"a": "cat", "b": "dog"}))


def notes(predictor: pk.Predictor, on: pk.Task) -> list[str]:
    run = pk.evaluate(predictor, on, limit=2, out="runs")
    assert pk.Run.load(run.path).notes == run.notes
    return [note for note in run.notes if "not trained" in note]


@pytest.mark.parametrize("name", SETTINGS)
def test_an_untrained_manipulation_of_texts_is_noted(name: str) -> None:
    modifier = LEARNABLE[name](**SETTINGS[name])
    (note,) = notes(pk.Predictor(pk.load("fake"), [pk.Prompt(PROMPT), modifier], WORDS), task())
    assert name in note


@pytest.mark.parametrize("name", IMAGES)
def test_an_untrained_program_for_images_is_noted(name: str) -> None:
    (note,) = notes(image_predictor(LEARNABLE[name]()), image_task())
    assert name in note


def test_all_learned_manipulations_are_tested_or_need_a_larger_model() -> None:
    assert {*LEARNABLE} - {*SETTINGS} - {*IMAGES} == {"prefix", "steering", "loreft"}


def test_trained_and_fixed_manipulations_have_no_note() -> None:
    assert not notes(pk.Predictor(pk.load("fake"), [pk.Prompt(PROMPT), trained()], WORDS), task())
    for name in FIXED:
        assert not notes(image_predictor(FIXED[name]()), image_task())  # type: ignore[call-arg]


def test_shards_and_their_merged_run_have_the_note_once() -> None:
    predictor = pk.Predictor(pk.load("fake"), [pk.Prompt(PROMPT), pk.SoftPrompt(2)], WORDS)
    shards = [pk.evaluate_shard(predictor, task(), pk.Shard(n, 2), limit=4, out="shards").path for n in (1, 2)]
    assert sum("not trained" in note for note in pk.merge(shards, out="merged").notes) == 1
