"""Runs with probes and label maps on a made-up task, and what they read from the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.collect.fit_data import StoredAnswers
from promptkit.collect.read_outputs import ReadOutputs, from_bytes
from promptkit.core.registry import build
from promptkit.evaluation.evaluate import evaluate
from tests.support import runs

WORDS = {"no": "bad", "yes": "good"}


FEW = "per_class=4"

LEARNED = [
    *(f"{name}:{FEW}" for name in ("knn", "hidden", "prototypical", "soft-verbalizer", "linear")),
    *(f"{name}:{FEW}:tokens=20" for name in ("linear:on=tokens", "automatic", "random-map", "frequency", "iterative")),
    *(f"{name}:{FEW}:tokens=20" for name in ("blm", "blm+", "semantic", "blm+:manual=0.5")),
    *(f"{name}:{FEW}" for name in ("linear:on=words", "blm:sources=words", "semantic:sources=words", "hidden:layer=0")),
]


def write_task(folder: Path, *, flipped: bool = False, other_fit: bool = False) -> pk.Task:
    """Every fifth test row is also a train row. `flipped` changes the labels of test, `other_fit` those of train."""
    train = [{"text": f"train{i}", "label": "yes" if (i % 2) ^ other_fit else "no"} for i in range(120)]
    test = [
        {"text": f"{'train' if i % 5 == 0 else 'test'}{i}", "label": "yes" if (i % 3 == 0) ^ flipped else "no"}
        for i in range(40)
    ]
    folder.mkdir(exist_ok=True, parents=True)
    for split, rows in (("train", train), ("test", test)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"text": "text"}, "label": "label"}
    spec = {"description": "d", "template": "sentiment/review", "labels": WORDS, "sources": [source]}
    (folder / "task.yaml").write_text(json.dumps(spec))
    return pk.task(folder / "task.yaml")


def predictors(model: Any, spellings: list[str]) -> list[pk.Predictor]:
    prompt, words = pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS)
    return [pk.Predictor(model, prompt, [words, build("calibration", CALIBRATIONS, item)]) for item in spellings]


def run(task: pk.Task, out: Path, spellings: list[str], *, model: Any = None, **options: Any) -> pk.Run:
    model = model or pk.load("fake", batch_tokens=600)
    return evaluate(predictors(model, spellings), task, limit=12, out=out, cache=False, **options)


def contents(run: pk.Run) -> dict[str, bytes]:
    """Returns the contents of the files of a finished run with probes."""
    return {**runs.contents(run), "outputs.safetensors": (run.path / "outputs.safetensors").read_bytes()}


def read_outputs(run: pk.Run) -> ReadOutputs:
    return from_bytes((run.path / "outputs.safetensors").read_bytes())[0]


def stored(run: pk.Run, spellings: list[str]) -> StoredAnswers:
    """Returns the answers of a finished run as needs see them."""
    samples, support = (
        [json.loads(line) for line in (run.path / f"{file}.jsonl").read_text().splitlines()] for file in ("samples", "support")
    )
    chains = [predictor.chain for predictor in predictors(pk.load("fake"), spellings)]
    return StoredAnswers(chains, samples, support, read_outputs(run))


def results(run: pk.Run) -> dict[str, Any]:
    return {result.align: result.logprobs for result in run.results}
