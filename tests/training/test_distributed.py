"""Several processes train as one does: equal shares, sums over all, one that writes; whatever was killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.distributed import Processes, processes
from promptkit.core.errors import TrainingError
from tests.support import launched
from tests.support.errors import refused
from tests.support.tiny import save, save_reviews


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("processes")
    save(path / "model", "gemma3")
    save_reviews(path, 80, text=lambda i: f"{'a long evening' * (1 + i % 3)} {i}")
    return path


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 4))
def test_shares_are_everything_once_and_of_like_sizes(sizes: list[int], count: int) -> None:
    shares = [Processes(rank=rank, count=count).share(sizes) for rank in range(count)]
    assert sorted(index for share in shares for index in share) == [*range(len(sizes))]
    loads = [sum(sizes[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_a_process_that_was_started_alone_imports_no_accelerate() -> None:
    assert processes() == Processes(rank=0, count=1)
    code = (
        "import promptkit.training.trainer, promptkit.models.hf.engine as hf, sys; "
        "hf.device_of('auto'); print('accelerate' in sys.modules)"
    )
    alone = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "LOCAL_RANK")}
    found = subprocess.run([sys.executable, "-c", code], env=alone, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"]


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """As the second of two processes is told by whatever started it."""
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    return processes()


def test_an_engine_that_divides_its_own_work_is_not_divided(second: Processes, folder: Path, tmp_path: Path) -> None:
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    predictor = pk.Predictor(pk.load("fake"), [pk.Prompt("sentiment/review"), pk.SoftPrompt(3)], words)
    with refused(pk.Unsupported, "several-processes", model="fake"):
        pk.train(predictor, pk.task(folder / "task.yaml"), out=tmp_path, optimizer="spsa")


def test_who_is_left_says_that_another_has_ended(second: Processes, monkeypatch: Any) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("Connection closed by peer\nmore")

    monkeypatch.setattr("accelerate.utils.reduce", closed)
    monkeypatch.setattr("promptkit.core.distributed._state", lambda count: SimpleNamespace(device="cpu"))
    with refused(TrainingError, "process-ended", reason="Connection closed by peer"):
        second.total(np.zeros(1))


def test_processes_that_accelerate_does_not_join_are_told(monkeypatch: Any) -> None:
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(num_processes=1, device="mps"))
    with refused(TrainingError, "processes-not-joined", count=3, device="mps"):
        Processes(rank=0, count=3).device  # noqa: B018 - raises


def test_what_accelerate_is_told_of_precision_is_not_taken_in_silence(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    told: list[str] = []
    monkeypatch.setattr("promptkit.training.trainer._log.warning", lambda text, *given: told.append(text % given))
    launched.trained(folder, tmp_path, "adamw", steps=1, dev=1)
    assert told == ["accelerate was told mixed precision fp16; this training has its own: mixed_precision='no'."]


def start(*command: str, **told: str) -> subprocess.Popen[str]:
    environment = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **told}
    return subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_come_to_what_one_does_and_one_of_them_writes(folder: Path, tmp_path: Path) -> None:
    """Killed in their midst, and continued."""
    what = (launched.__file__, str(folder), str(tmp_path))
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")
    cut = start(*launcher, *what, KILLED="1")
    assert "SIGKILL" in cut.communicate(timeout=300)[1]
    assert cut.returncode != 0
    assert not [*(tmp_path / "adamw").rglob("parameters.safetensors")]
    assert [*(tmp_path / "spsa").rglob("parameters.safetensors")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [start(*what, RANK=str(rank), LOCAL_RANK=str(rank), **master) for rank in (0, 1)]
    (printed, said), (silent, other) = (each.communicate(timeout=300) for each in ranks)
    assert [each.returncode for each in ranks] == [0, 0], said + other
    told = json.loads(printed)
    assert (told["steps"], told["rows"]["dev"], silent) == (2, 8, "")
    for each in (said, other):
        assert "TrainingError processes-differ" in each
        assert "TrainingError frozen-weights-changed" in each
    for optimizer in launched.KINDS:
        both, alone = (launched.trained(folder, out, optimizer) for out in (tmp_path, tmp_path / "alone"))
        assert (both.resumed, alone.resumed) == (6, 0)
        assert both.path.name == alone.path.name
        assert both.losses == pytest.approx(alone.losses, abs=1e-5)
        assert (both.evaluations, both.ended) == (alone.evaluations, alone.ended)
        for one, other in zip(both.learned, alone.learned, strict=True):
            for name, array in one.parameters.items():
                assert array.numpy() == pytest.approx(other.parameters[name].numpy(), abs=1e-5), (optimizer, name)
