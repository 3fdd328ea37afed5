"""promptkit's part: trains a soft prompt or a prefix, and writes down what PEFT must begin with and see."""

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
    """A prefix that is trained in the numbers that the model reads, as PEFT trains it, and not in the units of each layer."""

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Every unit is 1."""
        begun = super().initial_parameters(bind_context)
        return {**self.with_parameters(begun, {}).parameters, UNITS: as_array(np.ones(begun[UNITS].shape))}


def made(kind: str, length: int) -> Learnable:
    """What is trained, placed as PEFT places it."""
    return PlainPrefix(length) if kind == "prefix" else pk.SoftPrompt(length, place="start")


def prompt(task: pk.Task) -> pk.Prompt:
    """The label is a text that is to be written, as Trainer knows it: its loss is over the vocabulary."""
    return pk.Prompt(task.spec.template, instruction="Decide whether each review is negative or positive.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", required=True, choices=("soft", "prefix"))
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--steps", required=True, type=int)
    parser.add_argument("--batch-size", required=True, type=int)
    parser.add_argument("--length", required=True, type=int)
    parser.add_argument("--learning-rate", required=True, type=float)
    parser.add_argument("--folder", required=True, type=Path, help="where everything is written")
    told = parser.parse_args()
    task, model = pk.task("sst2", data=told.data), pk.load("demo")
    change = made(told.kind, told.length)
    predictor = pk.Predictor(model, [prompt(task), change], pk.extract.first_line)
    numbers = {
        "steps": told.steps,
        "batch_size": told.batch_size,
        "learning_rate": told.learning_rate,
        "schedule": "constant",
        "warmup": 0.0,
        "dev": told.batch_size,
        "eval_every": told.steps,
    }
    begun = change.with_parameters(change.initial_parameters(predictor.bind_context(task, cache=None)), {})
    peft.write(begun, told.folder / "begun")
    write_batches(predictor, task, TrainingConfig(**numbers), told.folder / "batches.json")
    ends: list[float] = []
    fit = pk.train(
        predictor, task, cache=False, out=told.folder, progress=lambda *_: ends.append(time.perf_counter()), **numbers
    )
    seconds = [end - begin for begin, end in pairwise(ends[:-1])]  # the last one is followed by a look at dev
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (told.folder / "promptkit.json").write_text(json.dumps({"losses": fit.losses, "seconds": seconds, "peak_gib": peak}))


def write_batches(predictor: pk.Predictor, task: pk.Task, recipe: TrainingConfig, path: Path) -> None:
    """Of each step each row: the prompt's ids without what is learned, and those of the right label."""
    rows = TrainingRows.from_task(task, None, recipe.resolved(discrete=False)).pool
    words = pk.Verbalizer(task.spec.labels)
    bound = pk.Predictor(predictor.model, prompt(task), words).bind(task)
    batches = []
    for step in range(recipe.steps):
        chosen = [rows[index] for index in recipe.batch(tuple(row.id for row in rows), step)]
        shown = bound.apply(chosen)
        batches.append(
            [
                {"ids": rendered.input.ids, "answer": rendered.continuations[task.labels.index(row.label)]}
                for row, rendered in zip(chosen, shown, strict=True)
            ]
        )
    path.write_text(json.dumps(batches))


if __name__ == "__main__":
    main()
