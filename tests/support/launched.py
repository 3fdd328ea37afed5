"""Trains a tiny model in every process started by tests/training/test_distributed.py."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.distributed import processes
from promptkit.training.gradients import GradientLosses

SETTINGS: dict[str, Any] = {"steps": 6, "batch_size": 5, "eval_every": 2, "dev": 9}
SMALL = {"spsa": {"dev": 1}, "hotflip": {"batch_size": 1}}
"""Settings that leave one process without work."""
KINDS: dict[str, Any] = {
    "spsa": lambda: pk.SoftPrompt(3),
    "adamw": lambda: pk.SoftPrompt(3, reparameterize="mlp", width=5),
    "hotflip": lambda: pk.TriggerTokens(2),
}


def trained(folder: Path, out: Path, optimizer: str, **options: Any) -> Any:
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    predictor = pk.Predictor(pk.load(str(folder / "model")), [pk.Prompt("sentiment/review"), KINDS[optimizer]()], words)
    settings = {**SETTINGS, **SMALL.get(optimizer, {}), "optimizer": optimizer, **options}
    return pk.train(predictor, pk.task(folder / "task.yaml"), out=out / optimizer, cache=False, **settings)


def main(folder: Path, out: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done == 5 and "KILLED" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)

    fits = [trained(folder, out, optimizer, progress=kill if optimizer == "adamw" else None) for optimizer in KINDS]
    results = str([(fit.resumed, fit.losses, fit.learned, fit.path) for fit in fits])
    processes().check_same(results)
    rank = processes().rank
    print_error(lambda: trained(folder, out, "adamw", steps=7 + rank))
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(GradientLosses, "weights_hash", lambda self: os.urandom(4).hex())
        print_error(lambda: trained(folder, out, "adamw", steps=1))


def print_error(invalid_training: Callable[[], object]) -> None:
    try:
        invalid_training()
    except pk.PromptkitError as error:
        sys.stderr.write(f"process {processes().rank}: {type(error).__name__} {error.code}: {error}\n")


if __name__ == "__main__":
    from promptkit.cli.main import main as command

    main(Path(sys.argv[1]), Path(sys.argv[2]))
    os.chdir(sys.argv[1])
    sys.argv = ["promptkit", "train", "task.yaml", "--model", "model", "--steps", "2", "--dev", "8", "--json"]
    command()
