"""Checks at load are kept by the content of a model: an unchanged model is not checked again, a changed one is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import promptkit as pk
from promptkit.core.errors import ModelError
from promptkit.core.paths import CHECKS
from promptkit.models.hf import backends, verify
from tests.models.hf.test_sizes import llama, save_model
from tests.support.errors import refused


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of one test."""
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("promptkit.core.paths.CHECKS", CHECKS)
    return tmp_path / "cache"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the checks that ran."""
    ran: list[str] = []

    def counted(name: str, check: Callable[..., object]) -> Callable[..., object]:
        def run(*given: object, **keywords: object) -> object:
            ran.append(name)
            return check(*given, **keywords)

        return run

    monkeypatch.setattr(backends, "check_probe", counted("causal", backends.check_probe))
    monkeypatch.setattr(verify, "_why_not_packed", counted("packed", verify._why_not_packed))
    return ran


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, llama())
    return folder


def test_an_unchanged_model_is_checked_once(folder: Path, runs: list[str]) -> None:
    first = pk.load(folder)
    first.load()
    assert runs == ["causal", "packed"]
    again = pk.load(folder)
    again.load()
    assert runs == ["causal", "packed"]
    assert type(again._forward) is type(first._forward)  # type: ignore[attr-defined]


def test_the_checks_of_a_copy_are_known(folder: Path, runs: list[str], tmp_path: Path) -> None:
    pk.load(folder).load()
    folder.rename(tmp_path / "moved")
    pk.load(tmp_path / "moved").load()
    assert runs == ["causal", "packed"]


def test_other_weights_are_checked(folder: Path, runs: list[str]) -> None:
    pk.load(folder).load()
    other = llama()
    with torch.no_grad():
        other.model.embed_tokens.weight[1] += 1
    other.save_pretrained(folder)
    pk.load(folder).load()
    assert runs == ["causal", "packed"] * 2


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"batch_tokens": 8}])
def test_other_settings_are_checked(folder: Path, runs: list[str], settings: dict[str, object]) -> None:
    pk.load(folder).load()
    pk.load(folder, **settings).load()
    assert runs == ["causal", "packed"] * 2


def test_another_program_is_checked(folder: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pk.load(folder).load()
    monkeypatch.setattr("promptkit.models.hf.checked._program", lambda: "another")
    pk.load(folder).load()
    assert runs == ["causal", "packed"] * 2


def test_a_reason_is_kept(folder: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_difference", lambda *given: "it differs" if given[0] != given[1] else "")
    with monkeypatch.context() as patch:
        patch.setattr(verify, "_wrong_windows", lambda *given: "it is odd")
        first = pk.load(folder)
        first.load()
    again = pk.load(folder)
    again.load()
    assert [*again.notes()] == [*first.notes()] == ["no shared prefixes: it is odd"]
    assert runs.count("packed") == 1


def test_a_failure_is_not_kept(folder: Path, runs: list[str]) -> None:
    broken = llama()
    with torch.no_grad():
        broken.model.norm.weight[:] = torch.nan
    broken.save_pretrained(folder)
    for _ in range(2):
        with refused(ModelError, "not-finite"):
            pk.load(folder).load()
    assert runs == ["causal"] * 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"of": 1}', '{"of": null, "results": {"packed": 3}}'])
def test_damaged_results_are_replaced(folder: Path, runs: list[str], cache: Path, content: str) -> None:
    pk.load(folder).load()
    (file,) = (cache / CHECKS).iterdir()
    stored = file.read_bytes()
    file.write_text(content)
    pk.load(folder).load()
    assert runs == ["causal", "packed"] * 2
    assert file.read_bytes() == stored


def test_results_that_cannot_be_written_are_computed_again(folder: Path, runs: list[str], cache: Path) -> None:
    cache.write_text("not a folder")
    for _ in range(2):
        pk.load(folder).load()
    assert runs == ["causal", "packed"] * 2
