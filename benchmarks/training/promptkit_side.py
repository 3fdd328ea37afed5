"""Trains a soft prompt or a prefix, and writes the initial parameters and batches for PEFT."""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

import promptkit as pk
from promptkit.core.arrays import Array, as_array
from promptkit.core.manipulation import BindContext, Learnable
from promptkit.manipulate.learned import peft
from promptkit.manipulate.learned.layers import UNITS
from promptkit.training.config import TrainingConfig
from promptkit.training.rows import TrainingRows


class PlainPrefix(pk.Prefix):
    """A prefix whose parameters are the keys and values themselves, as in PEFT, without a scale for each layer."""

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the initial keys and values with all scales set to 1."""
        initial = super().initial_parameters(bind_context)
        return {**self.with_parameters(initial, {}).parameters, UNITS: as_array(np.ones(initial[UNITS].shape))}


def manipulation_of(kind: str, length: int) -> Learnable:
    """Returns the manipulation to train, at the same position as in PEFT."""
    return PlainPrefix(length) if kind == "prefix" else pk.SoftPrompt(length, place="start")


def prompt(task: pk.Task) -> pk.Prompt:
    """Returns the prompt with the label as generated text, which gives a loss over the vocabulary as in Trainer."""
    return pk.Prompt(task.spec.template, instruction="Decide whether each review is negative or positive.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", required=True, choices=("soft", "prefix"))
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--steps", required=True, type=int)
    parser.add_argument("--batch-size", required=True, type=int)
    parser.add_argument("--length", required=True, type=int)
    parser.add_argument("--learning-rate", required=True, type=float)
    parser.add_argument("--folder", required=True, type=Path, help="output folder")
    options = parser.parse_args()
    task, model = pk.task("sst2", data=options.data), pk.load("demo")
    manipulation = manipulation_of(options.kind, options.length)
    predictor = pk.Predictor(model, [prompt(task), manipulation], pk.extract.FirstLine)
    settings = {
        "steps": options.steps,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "schedule": "constant",
        "warmup": 0.0,
        "dev": options.batch_size,
        "eval_every": options.steps,
    }
    initial = manipulation.with_parameters(manipulation.initial_parameters(predictor.bind_context(task, cache=None)), {})
    peft.write(initial, options.folder / "initial")
    write_batches(predictor, task, TrainingConfig(**settings), options.folder / "batches.json")
    ends: list[float] = []
    fit = pk.train(
        predictor, task, cache=False, out=options.folder, progress=lambda *_: ends.append(time.perf_counter()), **settings
    )
    seconds = [end - begin for begin, end in pairwise(ends[:-1])]  # the last step is followed by an evaluation on dev
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (options.folder / "promptkit.json").write_text(json.dumps({"losses": fit.losses, "seconds": seconds, "peak_gib": peak}))


def write_batches(predictor: pk.Predictor, task: pk.Task, config: TrainingConfig, path: Path) -> None:
    """Writes, for each row of each step, the ids of the prompt without learned vectors and of the correct label."""
    rows = TrainingRows.from_task(task, None, config.resolved(discrete=False)).pool
    words = pk.Verbalizer(task.spec.labels)
    bound = pk.Predictor(predictor.model, prompt(task), words).bind(task)
    batches = []
    for step in range(config.steps):
        batch = [rows[index] for index in config.batch(tuple(row.id for row in rows), step)]
        prompts = bound.encode(batch)
        batches.append(
            [
                {"ids": rendered.input.ids, "answer": rendered.continuations[task.labels.index(row.label)]}
                for row, rendered in zip(batch, prompts, strict=True)
            ]
        )
    path.write_text(json.dumps(batches))


if __name__ == "__main__":
    main()
