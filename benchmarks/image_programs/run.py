"""Compares learned programs for images, each trained together with a label map, with the same maps without a program.

A cell is a program that is trained with a map on a number of labeled rows of each label. It is written to results.json as soon
as it is finished, and a later call continues with the cells that are missing.

    python benchmarks/image_programs/run.py --data DIR
    python benchmarks/image_programs/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.studies.measures import interval

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from image_controls import (
    CONTROLS,
    controls,
    drawn,
    fitted,
    one_pass,
    option_parser,
    predictor_of,
    resampled,
    shown,
    versions,
    with_map,
)
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
SIZE = 96
"""The height and width of the images that the classifier reads."""
PER_CLASS = (20, 60)
PROGRAMS = {"watermark": pk.Watermark, "mask": pk.SampleMask, "border": pk.Border, "affine": pk.Affine, "filter": pk.Filter}
MAPS = ("blm+", "full", "blm", "iterative")
LEARNING_RATES = {"watermark": 0.05, "mask": 0.02, "border": 0.3, "affine": 0.005, "filter": 0.005}
"""Chosen on dev rows of a seed that is not evaluated."""
TRAINING = {"steps": 120, "batch_size": 16, "dev": 200, "eval_every": 30, "patience": None}
Cell = tuple[int, int, str, str]
"""The seed, the number of labeled rows per label, the program, and the map that it is trained with."""


def main() -> None:
    parser = option_parser(__doc__, HERE)
    parser.add_argument("--seeds", default=3, type=int, help="number of draws of the labeled rows")
    options = parser.parse_args()
    path = options.results / "results.json"
    if not options.readme:
        measure(pk.task("fashion_mnist", data=options.data), path, options)
    results = json.loads(path.read_text("utf-8"))
    sections = {"trained": trained_table(results), "controls": controls_table(results)}
    print("\n\n".join(sections.values()), flush=True)
    update_readme(options.results / "README.md", sections)


def measure(task: pk.Task, path: Path, options: argparse.Namespace) -> None:
    """Measures the missing cells, and writes the results after each one."""
    results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    model = pk.load("vision:demo", size=SIZE)
    if not results:
        results = {
            **{"task": task.name, "model": f"vision:demo, {SIZE} px", "rows": options.limit, "training": TRAINING},
            **{"learning_rates": LEARNING_RATES, "versions": versions(), "cells": {}},
            "without_a_program": without_a_program(task, model, options),
        }
        write(path, results)
    for cell in cells(options.seeds):
        if key(cell) not in results["cells"]:
            results["cells"][key(cell)] = measure_cell(cell, task, model, options)
            write(path, results)


def cells(seeds: int) -> Iterator[Cell]:
    """Yields the cells in the order of their measurement."""
    for seed in range(seeds):
        for per_class in PER_CLASS:
            for mapping in MAPS:
                for program in PROGRAMS:
                    yield seed, per_class, program, mapping


def key(cell: Cell) -> str:
    return " ".join(map(str, cell))


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Replaces the file, so that an interruption leaves the old one or the new one."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def measure_cell(cell: Cell, task: pk.Task, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Trains a program together with a map, and evaluates it with every map."""
    seed, per_class, program, mapping = cell
    start = time.process_time()
    untrained = predictor_of(model, pk.Classes(task.labels), [PROGRAMS[program]()])
    predictor = with_map(untrained, drawn(mapping, per_class, seed))
    rate = LEARNING_RATES[program]
    trained = pk.train(
        predictor, task, per_class=per_class, seed=seed, learning_rate=rate, out=options.out, cache=False, **TRAINING
    )
    seconds = time.process_time() - start
    predictors = [with_map(trained.predictor, drawn(each, per_class, seed)) for each in MAPS]
    run = pk.evaluate(predictors, task, limit=options.limit, out=options.out, cache=False)
    found = {
        "step": trained.best.step,
        "dev_before": trained.dev_evaluations[0].value,
        "dev": trained.best.value,
        "correct": {each: packed(result.correct) for each, result in zip(MAPS, run.results, strict=True)},
        "seconds": round(seconds, 1),
    }
    accuracy = ", ".join(f"{each} {result.correct.mean():.3f}" for each, result in zip(MAPS, run.results, strict=True))
    print(f"{key(cell)}: {accuracy}; {seconds:.0f} s of training", flush=True)
    return found


def without_a_program(task: pk.Task, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Returns for each map and control, with `PER_CLASS` and twice as many labeled rows, which rows are correct."""
    sizes = sorted({factor * size for size in PER_CLASS for factor in (1, 2)})
    passes = {"draws": options.seeds, "limit": options.limit, "out": options.out}
    predictor = predictor_of(model, pk.Classes(task.labels))
    run = one_pass(predictor, task, ["linear:layer=-1", "full"], per_class=max(sizes), **passes)
    correct = fitted(run, MAPS, sizes, options.seeds) | controls(task, model, run, sizes, image_size=SIZE, **passes)
    return {f"{size} {name}": [packed(rows) for rows in draws] for (name, size), draws in correct.items()}


def packed(correct: Any) -> str:
    """Returns one digit for each row: 1 if it is correct."""
    return "".join(map(str, np.asarray(correct, int)))


def unpacked(digits: str) -> Any:
    return np.array([*digits], float)


# ---- the tables --------------------------------------------------------------------------------------------


def trained_table(results: Mapping[str, Any]) -> str:
    """Returns one line for each program, the number of labeled rows and the map that it is trained and evaluated with."""
    plain = {name: [unpacked(rows) for rows in draws] for name, draws in results["without_a_program"].items()}
    lines = [
        "| rows per label | trained and evaluated with | program | accuracy | without a program | difference | seeds |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    for per_class in PER_CLASS:
        for mapping in MAPS:
            for program in PROGRAMS:
                base = dict(enumerate(plain[f"{per_class} {mapping}"]))
                found = {seed: results["cells"].get(key((seed, per_class, program, mapping))) for seed in base}
                correct = {seed: unpacked(cell["correct"][mapping]) for seed, cell in found.items() if cell}
                if correct:
                    cells = _compared([*correct.values()], [base[seed] for seed in correct])
                    lines.append(f"| {per_class} | `{mapping}` | `{program}` | {cells} | {len(correct)} |")
    done, rates = len(results["cells"]), ", ".join(f"{name} {rate}" for name, rate in results["learning_rates"].items())
    training = results["training"]
    setting = f"{results['rows']} test rows; `{results['model']}`; {training['steps']} steps of {training['batch_size']} rows"
    measured = f"{done} cells; intervals are over rows, and over seeds where there are several"
    caption = f"{setting}; peak learning rates: {rates}. {measured}. {format_versions(results['versions'])}."
    return "\n".join([*lines, "", caption])


def _compared(first: list[Any], second: list[Any]) -> str:
    """Returns the cells of two accuracies and their difference, with its interval over rows and seeds."""
    values, others = resampled(first), resampled(second)
    difference = asdict(interval(values - others, len(first[0]), (-1.0, 1.0)))
    return f"{values[:, 0].mean():.3f} | {others[:, 0].mean():.3f} | {format_interval(difference, sign='+')}"


def controls_table(results: Mapping[str, Any]) -> str:
    """Returns one line for each map and control without a program."""
    plain = results["without_a_program"]
    sizes = sorted({int(name.partition(" ")[0]) for name in plain} - {0})
    lines = [f"| labeled rows per label | {' | '.join(map(str, sizes))} |", "|---" + "|---:" * len(sizes) + "|"]
    for name in (*MAPS, *CONTROLS):
        rows = [plain.get(f"{size} {name}", plain.get(f"0 {name}", [])) for size in sizes]
        means = [f"{np.mean([unpacked(digits).mean() for digits in draws]):.3f}" for draws in rows]
        lines.append(f"| {shown(name)} | {' | '.join(means)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
