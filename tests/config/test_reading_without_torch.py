"""A finished run is read without importing PyTorch, for every kind of engine and for saved predictors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import CheckpointError
from promptkit.models.content import content_of_named
from promptkit.models.registry import ENGINES
from tests.models.vision.tiny import save_vit
from tests.support import bidirectional, tiny
from tests.support.errors import refused
from tests.support.heavy_packages import modules_after

TEXTS = ["eval", "task.yaml", "--shots", "2", "--limit", "4"]
IMAGES = ["eval", "digits", "--limit", "4", "--per-class", "2"]
COMMANDS = {
    "hf": [*TEXTS, "--model", "./llama"],
    "fake": [*TEXTS, "--model", "fake"],
    "encoder": [*TEXTS, "--model", "./llama", "--demos", "similar:encoder=encoder:./bert"],
    "vision": [*IMAGES, "--model", "vision:./vit", "--labelmap", "full", "--manipulation", "invert"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task in the current folder."""
    monkeypatch.chdir(tmp_path)
    tiny.save_reviews(tmp_path, 60, hold_out=0.5)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_finished_run_is_read_without_torch(folder: Path, words: list[str]) -> None:
    models = {"./llama": lambda: tiny.save(folder / "llama", "llama"), "./vit": lambda: save_vit(folder / "vit")}
    for name, save in {**models, "./bert": lambda: bidirectional.save(folder / "bert", "bert")}.items():
        if any(name in word for word in words):
            save()
    first = modules_after(*words)
    assert "torch" in first or "fake" in words
    assert modules_after(*words) == []
    assert modules_after(*words, "--json", "--no-baselines") == []


def test_every_engine_of_files_is_identified_by_them() -> None:
    """The model of a server is identified by the server."""
    assert {name for name, engine in ENGINES.items() if engine.content is None} == {"http", "fake"}


@pytest.fixture
def predictor(folder: Path) -> Path:
    """A saved predictor that shows demonstrations and is calibrated."""
    tiny.save(folder / "llama", "llama")
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Random(k=2))
    return pk.Predictor(pk.load("./llama"), prompt, [words, pk.calibrate.Contextual()]).fit(pk.task("task.yaml")).save("saved")


def test_the_run_of_a_saved_predictor_is_read_without_torch(predictor: Path) -> None:
    words = ["eval", "task.yaml", "--predictor", "saved", "--limit", "4", "--allow-seen"]
    assert "torch" in modules_after(*words)
    assert modules_after(*words) == []
    assert modules_after(*words, "--by-label", "--json") == []
    predictor.rename(predictor.with_name("moved"))
    moved = [word.replace("saved", "moved") for word in words]
    assert modules_after(*moved) == []
    assert modules_after(*moved, "--metric", "macro_f1") == []


def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list with one item for each evaluation by the model."""
    from promptkit.evaluation import evaluate as evaluation

    made: list[str] = []
    original = evaluation.evaluate

    def evaluate(*given: Any, **keywords: Any) -> Any:
        made.append("evaluated")
        return original(*given, **keywords)

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    return made


def run(**options: object) -> pk.Run:
    values: dict[str, Any] = {"task": "task.yaml", "predictor": "saved", "limit": 4, "allow_seen": True, **options}
    return pk.EvalConfig(**values).run(progress=False)


def test_the_run_of_another_predictor_is_evaluated(predictor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = evaluated(monkeypatch)
    first, again = run(), run()
    assert made == ["evaluated"]
    assert again.to_json()["results"] == first.to_json()["results"]
    assert again.path == first.path
    run(limit=5)
    run(set={"batch_tokens": "64"})
    rows = Path("rows.jsonl")
    rows.write_text(rows.read_text().replace("liked it 1", "disliked it 1"))
    run()
    assert made == ["evaluated"] * 4
    shutil.rmtree(predictor)
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    pk.Predictor(pk.load("./llama"), pk.Prompt("sentiment/review"), words).fit(pk.task("task.yaml")).save("saved")
    assert run().path != first.path
    assert made == ["evaluated"] * 5


def test_a_changed_model_or_folder_of_a_predictor_is_refused(predictor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    config = Path("llama/config.json")
    before = config.read_text()
    config.write_text(before + "\n")
    with refused(CheckpointError, "other-model"):
        run()
    config.write_text(before)
    file = predictor / "demonstrations.jsonl"
    file.write_text(file.read_text() + "\n")
    with refused(CheckpointError, "changed-since-saved"):
        run()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_the_content_of_a_classifier_is_that_of_its_files(tmp_path: Path, file: str) -> None:
    name = f"vision:{save_vit(tmp_path)}"
    before = content_of_named(name, {})
    assert before == content_of_named(name, {}) != content_of_named(name, {"size": 48})
    with (tmp_path / file).open("ab") as stream:
        stream.write(b"\n")
    assert content_of_named(name, {}) != before


@pytest.mark.parametrize("file", ["tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json"])
def test_the_content_of_an_encoder_is_that_of_its_files(tmp_path: Path, file: str) -> None:
    folder = bidirectional.save(tmp_path / "bert", "bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    before = content_of_named(f"encoder:{folder}", {})
    with (folder / file).open("ab") as stream:
        stream.write(b"\n")
    assert content_of_named(f"encoder:{folder}", {}) != before


def test_the_demo_classifier_is_identified_without_its_code() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    assert content_of_named("vision:demo", {})["content"] == pk.load("vision:demo").identity()["content"]
