"""Training programs for images from one configuration, and evaluating what was trained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptkit.cli.main import app
from promptkit.config.train import TrainConfig
from promptkit.core.errors import InputError, Unsupported
from tests.models.vision.tiny import save_vit
from tests.support.errors import refused

OPTIONS = {"task": "digits", "per_class": 3, "steps": 2, "batch_size": 8, "dev": 10}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"vision:{save_vit(tmp_path_factory.mktemp('model') / 'vit')}"


def test_a_watermark_is_trained_by_default(model: str) -> None:
    predictor = TrainConfig(**OPTIONS, model=model, labelmap="blm").build()
    assert [modifier.name for modifier in predictor.manipulate.modifiers] == ["watermark"]
    assert predictor.name == "blm:per_class=3"


def test_the_command_line_trains_a_program_and_evaluates_it(model: str, tmp_path: Path) -> None:
    """The program follows a fixed one, which the printed command has too."""
    words = "train digits --manipulation invert --manipulation filter:size=3 --labelmap blm+:alpha=1 --per-class 3 --steps 2"
    done = CliRunner().invoke(app, [*words.split(), "--dev", "10", "--model", model, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    command = shlex.split(done.output.partition("use it: ")[2])
    (folder,) = tmp_path.glob("train-digits-*")
    expected = f"--manipulation invert --prompt {folder} --labelmap blm+:alpha=1 --per-class 3"
    assert set(expected.split()) <= set(command)
    evaluated = CliRunner().invoke(app, [*command[1:], "--limit", "20"])
    assert evaluated.exit_code == 0, evaluated.output
    (run,) = tmp_path.glob("digits-*")
    assert len((run / "samples.jsonl").read_text("utf-8").splitlines()) == 20
    recorded = json.loads((run / "run.json").read_text("utf-8"))
    assert [modifier["name"] for modifier in recorded["manipulate"]["with"]] == ["invert", "filter"]


def test_what_a_classifier_cannot_train_is_refused(model: str) -> None:
    with refused(Unsupported, "needs-text-model"):
        TrainConfig(**OPTIONS, model=model, manipulation=["soft"], labelmap="blm+").build()
    with refused(Unsupported, "needs-image-model"):
        TrainConfig(**{**OPTIONS, "task": "sentiment"}, manipulation=["watermark"]).build()
    with refused(InputError, "option-not-applicable", option="shots"):
        TrainConfig(**OPTIONS, model=model, labelmap="blm+", shots=2).build()
