"""Models of saved predictors on servers, and the further models that a predictor queries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.core.errors import CheckpointError
from tests.models.http.test_engine import FakeServer
from tests.support.errors import refused
from tests.support.probe_runs import WORDS, write_task
from tests.support.servers import serving
from tests.support.tiny import save

ROWS = [{"text": "a fine evening"}, {"text": "never again"}]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save(tmp_path / "tiny", "llama", chat=True)


def change_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")


def test_a_model_on_a_server_is_identified_by_its_name(tiny: Path, tmp_path: Path) -> None:
    with serving(FakeServer(tiny)) as url:
        settings = {"base_url": url, "tokenizer": str(tiny), "max_retries": 1, "timeout": 5}
        prompt, align = pk.Prompt("sentiment/review", demos=pk.demos.First(k=2)), [pk.Verbalizer(WORDS), pk.calibrate.Batch()]
        predictor = pk.Predictor(pk.load("http:tiny", **settings), prompt, align)
        fitted = predictor.fit(write_task(tmp_path / "task"), cache=False)
        folder = fitted.save(tmp_path / "predictor")
        loaded = pk.Predictor.load(folder)
        assert loaded.predict(ROWS).probabilities.tobytes() == fitted.predict(ROWS).probabilities.tobytes()
        with refused(CheckpointError, "other-model", model="http:other", differs="content"):
            pk.Predictor.load(folder, model=pk.load("http:other", **settings))


def test_another_sentence_encoder_is_refused(tiny: Path, tmp_path: Path) -> None:
    encoder = Path(shutil.copytree(tiny, tmp_path / "encoder"))
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Similar(k=2, encoder=str(encoder)))
    predictor = pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer(WORDS))
    fitted = predictor.fit(write_task(tmp_path / "task"), cache=False)
    folder = fitted.save(tmp_path / "predictor")
    assert pk.Predictor.load(folder).predict(ROWS).predictions == fitted.predict(ROWS).predictions
    change_weights(encoder)
    with refused(CheckpointError, "other-model", model=str(encoder)):
        pk.Predictor.load(folder)


def test_the_same_weights_elsewhere_are_accepted(tiny: Path, tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load(str(tiny)), pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS))
    folder = predictor.save(tmp_path / "predictor")
    expected = predictor.predict(ROWS).probabilities
    moved = tiny.rename(tmp_path / "moved")
    loaded = pk.Predictor.load(folder, model=str(moved))
    assert loaded.predict(ROWS).probabilities.tobytes() == expected.tobytes()
