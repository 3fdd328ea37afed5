"""Predictors on the Hugging Face hub: a folder replaces the hub."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

import promptkit as pk
from promptkit.core.errors import CheckpointError, InputError
from tests.support.errors import refused
from tests.support.probe_runs import WORDS, write_task

ROWS = [{"text": "a fine evening"}, {"text": "never again"}]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "hub"

    class Api:
        """The calls of `huggingface_hub.HfApi` that are used, on folders."""

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            (root / repo_id / ".gitattributes").write_text("*.safetensors filter=lfs")
            (root / repo_id / ".private").write_text(str(private))

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: str) -> Any:
            for path in (root / repo_id).iterdir():
                if fnmatch(path.name, delete_patterns) and not path.name.startswith("."):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
            return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")

        def snapshot_download(self, repo_id: str, *, revision: str | None) -> str:
            if not (root / repo_id).exists():
                response = SimpleNamespace(headers={}, request=None)
                raise HfHubHTTPError(f"404: no repository {repo_id} at {revision}", response=response)  # type: ignore[arg-type]
            return str(root / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return root


def predictor(tmp_path: Path, demos: Any = None, calibration: Any = None) -> pk.Predictor:
    align = [pk.Verbalizer(WORDS), *([calibration] if calibration else [])]
    prompt = pk.Prompt("sentiment/review", demos=demos or pk.demos.Zero())
    return pk.Predictor(pk.load("fake"), prompt, align).fit(write_task(tmp_path / "task"), cache=False)


def test_a_published_predictor_is_loaded_by_its_name(hub: Path, tmp_path: Path) -> None:
    probe = predictor(tmp_path, calibration=pk.probes.LinearProbe(per_class=4))
    assert probe.push_to_hub("user/name") == "https://huggingface.co/user/name/commit/1"
    loaded = pk.Predictor.load("hf://user/name")
    assert loaded.predict(ROWS).probabilities.tobytes() == probe.predict(ROWS).probabilities.tobytes()
    assert (hub / "user" / "name" / ".private").read_text() == "True"


def test_rows_are_left_out_unless_asked_for(hub: Path, tmp_path: Path) -> None:
    few = predictor(tmp_path, demos=pk.demos.Balanced(k=4))
    few.push_to_hub("user/name")
    published = hub / "user" / "name"
    assert not (published / "demonstrations.jsonl").exists()
    content = b"".join(path.read_bytes() for path in published.iterdir() if path.is_file())
    texts = {row.texts["text"] for row in few.manipulate.rows["pool"]}  # type: ignore[attr-defined]
    assert texts
    assert not any(text.encode() in content for text in texts)
    assert "demonstrations=FILE" in (published / "README.md").read_text()
    with refused(CheckpointError, "withheld-rows", rows=4):
        pk.Predictor.load("hf://user/name")
    own = few.save(tmp_path / "own") / "demonstrations.jsonl"
    loaded = pk.Predictor.load("hf://user/name", demonstrations=own)
    assert loaded.predict(ROWS).probabilities.tobytes() == few.predict(ROWS).probabilities.tobytes()
    own.write_text(own.read_text().replace("train", "other"))
    with refused(CheckpointError, "changed-since-saved", file="demonstrations.jsonl"):
        pk.Predictor.load("hf://user/name", demonstrations=own)


def test_rows_are_published_if_asked_for(hub: Path, tmp_path: Path) -> None:
    few = predictor(tmp_path, demos=pk.demos.Balanced(k=4))
    few.push_to_hub("user/name", rows=True, private=False)
    assert pk.Predictor.load("hf://user/name@main").predict(ROWS).predictions == few.predict(ROWS).predictions
    few.push_to_hub("user/name")  # replaces all files
    assert not (hub / "user" / "name" / "demonstrations.jsonl").exists()


def test_words_that_were_drawn_from_rows_are_not_published_by_default(hub: Path, tmp_path: Path) -> None:
    retrieving = predictor(tmp_path, demos=pk.demos.BM25(k=2), calibration=pk.calibrate.Domain(bags=2))
    with refused(InputError, "contains-words", calibration="domain:bags=2"):
        retrieving.push_to_hub("user/name")
    retrieving.push_to_hub("user/name", rows=True)
    assert pk.Predictor.load("hf://user/name").predict(ROWS).predictions == retrieving.predict(ROWS).predictions


def test_errors_of_the_hub_are_reported(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused(CheckpointError, "cannot-download", name="hf://user/none"):
        pk.Predictor.load("hf://user/none")

    def offline(self: object, *args: object, **options: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", offline)
    with refused(CheckpointError, "cannot-publish", name="user/name"):
        predictor(tmp_path).push_to_hub("user/name")
