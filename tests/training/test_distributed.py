"""Training in several processes: balanced shares, sums over processes, one writer, and the result of a single process."""

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
def test_shares_are_disjoint_complete_and_balanced(sizes: list[int], count: int) -> None:
    shares = [Processes(rank=rank, count=count).share(sizes) for rank in range(count)]
    assert sorted(index for share in shares for index in share) == [*range(len(sizes))]
    loads = [sum(sizes[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_a_single_process_does_not_import_accelerate() -> None:
    assert processes() == Processes(rank=0, count=1)
    code = (
        "import promptkit.training.trainer, promptkit.models.hf.engine as hf, sys; "
        "hf.device_of('auto'); print('accelerate' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "LOCAL_RANK")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """The environment of the second of two processes."""
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    return processes()


def test_an_engine_that_parallelizes_itself_is_refused_in_several_processes(
    second: Processes, folder: Path, tmp_path: Path
) -> None:
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    predictor = pk.Predictor(pk.load("fake"), [pk.Prompt("sentiment/review"), pk.SoftPrompt(3)], words)
    with refused(pk.Unsupported, "several-processes", model="fake"):
        pk.train(predictor, pk.task(folder / "task.yaml"), out=tmp_path, optimizer="spsa")


def test_a_closed_connection_is_reported_as_an_ended_process(second: Processes, monkeypatch: Any) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("Connection closed by peer\nmore")

    monkeypatch.setattr("accelerate.utils.reduce", closed)
    monkeypatch.setattr("promptkit.core.distributed._state", lambda count: SimpleNamespace(device="cpu"))
    with refused(TrainingError, "process-ended", reason="Connection closed by peer"):
        second.total(np.zeros(1))


def test_processes_that_accelerate_does_not_connect_are_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(num_processes=1, device="mps"))
    with refused(TrainingError, "processes-not-joined", count=3, device="mps"):
        Processes(rank=0, count=3).device  # noqa: B018 - raises


def test_a_precision_set_for_accelerate_is_ignored_with_a_warning(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    warnings: list[tuple[str, ...]] = []
    monkeypatch.setattr("promptkit.training.trainer._log.warning", lambda text, *values: warnings.append(values))
    launched.trained(folder, tmp_path, "adamw", steps=1, dev=1)
    assert warnings == [("fp16", "no")]


def start(*command: str, **variables: str) -> subprocess.Popen[str]:
    environment = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_killed_and_resumed_processes_learn_the_same_as_one(folder: Path, tmp_path: Path) -> None:
    """The processes are killed during training and resumed; only the first one writes and prints."""
    arguments = (launched.__file__, str(folder), str(tmp_path))
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")
    cut = start(*launcher, *arguments, KILLED="1")
    assert "SIGKILL" in cut.communicate(timeout=300)[1]
    assert cut.returncode != 0
    assert not [*(tmp_path / "adamw").rglob("parameters.safetensors")]
    assert [*(tmp_path / "spsa").rglob("parameters.safetensors")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [start(*arguments, RANK=str(rank), LOCAL_RANK=str(rank), **master) for rank in (0, 1)]
    (printed, first_log), (silent, second_log) = (process.communicate(timeout=300) for process in ranks)
    assert [process.returncode for process in ranks] == [0, 0], first_log + second_log
    output = json.loads(printed)
    assert (output["steps"], output["rows"]["dev"], silent) == (2, 8, "")
    for log in (first_log, second_log):
        assert "TrainingError processes-differ" in log
        assert "TrainingError frozen-weights-changed" in log
    for optimizer in launched.KINDS:
        two, one = (launched.trained(folder, out, optimizer) for out in (tmp_path, tmp_path / "alone"))
        assert (two.resumed, one.resumed) == (6, 0)
        assert two.path.name == one.path.name
        assert two.losses == pytest.approx(one.losses, abs=1e-5)
        assert (two.rows_computed, two.stop_reason) == (one.rows_computed, one.stop_reason)
        for learned, expected in zip(two.learned, one.learned, strict=True):
            for name, array in learned.parameters.items():
                assert array.numpy() == pytest.approx(expected.parameters[name].numpy(), abs=1e-5), (optimizer, name)
