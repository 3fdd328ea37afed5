"""Several processes train as one does: equal shares, sums over all, one that writes; whatever was killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import launched
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import save

from promptkit.manipulate.arrays import as_numpy
from promptkit.processes import Processes, processes

TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.8}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("processes")
    save(path / "model", "gemma3")
    rows = [{"text": f"{'a long evening' * (1 + i % 3)} {i}", "label": ("yes", "no")[i % 2]} for i in range(80)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.yaml").write_text(TASK)
    return path


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 4))
def test_shares_are_everything_once_and_of_like_sizes(sizes: list[int], count: int) -> None:
    shares = [Processes(rank=rank, count=count).share(sizes) for rank in range(count)]
    assert sorted(index for share in shares for index in share) == [*range(len(sizes))]
    loads = [sum(sizes[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_a_process_that_was_started_alone_imports_no_accelerate() -> None:
    assert processes() == Processes(rank=0, count=1)
    code = "import promptkit.training, promptkit.models.hf as hf, sys; hf.device_of('auto'); print('accelerate' in sys.modules)"
    alone = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "LOCAL_RANK")}
    found = subprocess.run([sys.executable, "-c", code], env=alone, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"]


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
        assert "The processes of this training do not begin alike" in each
        assert "The weights of the frozen model have changed" in each
    for optimizer in launched.KINDS:
        both, alone = (launched.trained(folder, out, optimizer) for out in (tmp_path, tmp_path / "alone"))
        assert (both.resumed, alone.resumed) == (6, 0)
        assert both.path.name == alone.path.name
        assert both.losses == pytest.approx(alone.losses, abs=1e-5)
        assert (both.evaluations, both.ended) == (alone.evaluations, alone.ended)
        for one, other in zip(both.learned, alone.learned, strict=True):
            for name, array in one.parameters.items():
                assert as_numpy(array) == pytest.approx(as_numpy(other.parameters[name]), abs=1e-5), (optimizer, name)
