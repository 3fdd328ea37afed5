"""The program that each process of tests/training/test_distributed.py runs: trainings of the tiny model."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.distributed import processes
from promptkit.training.gradients import GradientLosses

CONFIG: dict[str, Any] = {"steps": 6, "batch_size": 5, "eval_every": 2, "dev": 9}
FEW = {"spsa": {"dev": 1}, "hotflip": {"batch_size": 1}}
"""Settings with fewer rows than processes, so that one process has no rows."""
KINDS: dict[str, Any] = {
    "spsa": lambda: pk.SoftPrompt(3),
    "adamw": lambda: pk.SoftPrompt(3, reparameterize="mlp", width=5),
    "hotflip": lambda: pk.TriggerTokens(2),
}


def trained(folder: Path, out: Path, optimizer: str, **more: Any) -> Any:
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    predictor = pk.Predictor(pk.load(str(folder / "model")), [pk.Prompt("sentiment/review"), KINDS[optimizer]()], words)
    config = {**CONFIG, **FEW.get(optimizer, {}), "optimizer": optimizer, **more}
    return pk.train(predictor, pk.task(folder / "task.yaml"), out=out / optimizer, cache=False, **config)


def main(folder: Path, out: Path) -> None:
    def kill(done: int, total: int, metrics: str) -> None:
        if done == 5 and "KILLED" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)

    fits = [trained(folder, out, optimizer, progress=kill if optimizer == "adamw" else None) for optimizer in KINDS]
    results = str([(fit.resumed, fit.losses, fit.learned, fit.path) for fit in fits])
    processes().check_same(results)
    rank = processes().rank
    report_error(lambda: trained(folder, out, "adamw", steps=7 + rank))
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(GradientLosses, "weights_hash", lambda self: os.urandom(4).hex())
        report_error(lambda: trained(folder, out, "adamw", steps=1))


def report_error(action: Any) -> None:
    try:
        action()
    except pk.PromptkitError as error:
        sys.stderr.write(f"process {processes().rank}: {type(error).__name__} {error.code}: {error}\n")


if __name__ == "__main__":
    from promptkit.cli.main import main as command

    main(Path(sys.argv[1]), Path(sys.argv[2]))
    os.chdir(sys.argv[1])
    sys.argv = ["promptkit", "train", "task.yaml", "--model", "model", "--steps", "2", "--dev", "8", "--json"]
    command()
