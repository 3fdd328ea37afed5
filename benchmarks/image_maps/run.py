"""Compares label maps of a frozen image classifier with few labeled rows, beside classifiers that do not use the maps.

The classifier reads every image once; a network with random weights and each fixed program need a separate pass.
Everything is then fitted on the outputs of those runs: for each number of labeled rows per label, on several draws of them. An
interrupted run resumes.

    python benchmarks/image_maps/run.py --data DIR
    python benchmarks/image_maps/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.studies.measures import interval

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from image_controls import (
    CONTROLS,
    Correct,
    aligned,
    best_control,
    controls,
    drawn,
    fitted,
    one_pass,
    option_parser,
    predictor_of,
    resampled,
    shown,
    versions,
)
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
SIZES = (1, 2, 3, 5, 10, 20, 50)
"""Numbers of labeled rows per label."""
MAPS = (
    *("random-map", "frequency", "iterative", "blm", "blm+", "blm+:alpha=1"),
    *("full", "full:towards=semantic", "full:towards=verbalizer"),
)
NO_LABELS = {"semantic": 1, "full:towards=semantic": 0, "full:towards=verbalizer": 0}
"""Maps that do not use labels, with the least `per_class` that they take. The hand-written map, `classes`, is the fourth."""
PROGRAMS = {"invert": pk.Invert(), "place:share=0.6": pk.Place(share=0.6)}
"""Programs that are not learned; each is evaluated with the map `full`."""


def main() -> None:
    parser = option_parser(__doc__, HERE)
    parser.add_argument("--size", default=224, type=int, help="height and width of the images that the classifier reads")
    parser.add_argument("--draws", default=5, type=int, help="number of draws of the labeled rows")
    options = parser.parse_args()
    path = options.results / "results.json"
    if not options.readme:
        results = on_task(pk.task("fashion_mnist", data=options.data), options)
        path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    results = json.loads(path.read_text("utf-8"))
    sections = {"accuracy": accuracy_table(results), "gain": gain_table(results)}
    print("\n\n".join(sections.values()), flush=True)
    update_readme(options.results / "README.md", sections)


def on_task(task: pk.Task, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the accuracy of every map and control, and the gain of each map over the best control."""
    model, reader = pk.load("vision:demo", size=options.size), reader_for(task)
    passes = {"per_class": max(SIZES), "draws": options.draws, "limit": options.limit, "out": options.out}
    run = one_pass(predictor_of(model, reader), task, ["linear:layer=-1", "full:towards=semantic"], **passes)
    correct = fitted(run, MAPS, SIZES, options.draws)
    spellings = {name: drawn(name, least, 0) for name, least in NO_LABELS.items()}
    rows = aligned(run, [*spellings.values()])
    correct |= {(name, 0): [rows[spelled]] for name, spelled in {"classes": "classes", **spellings}.items()}
    for name, program in PROGRAMS.items():
        program_run = one_pass(predictor_of(model, reader, [program]), task, ["full"], **passes)
        found = fitted(program_run, ["full"], SIZES, options.draws)
        correct |= {(f"`{name}`, `full`", size): draws for (_, size), draws in found.items()}
    del passes["per_class"]
    correct |= controls(task, model, run, SIZES, image_size=options.size, **passes)
    return {
        "task": task.name,
        "model": f"vision:demo, {options.size} px",
        "rows": len(rows["classes"]),
        "draws": options.draws,
        **metrics(correct),
        "versions": versions(),
    }


def metrics(correct: Correct) -> dict[str, Any]:
    """Returns the accuracy of everything, and its difference from the best control with as many labeled rows."""
    rows = len(next(iter(correct.values()))[0])
    values = {key: resampled(draws) for key, draws in correct.items()}
    accuracy: dict[str, dict[int, Any]] = {}
    gain: dict[str, dict[int, Any]] = {}
    best = {size: best_control(values, size) for size in SIZES}
    for (name, size), value in sorted(values.items(), key=lambda item: item[0][1]):
        by_draw = [round(float(each), 4) for each in value[:, 0]]
        accuracy.setdefault(name, {})[size] = asdict(interval(value, rows, (0.0, 1.0))) | {"by_draw": by_draw}
        if size and name not in CONTROLS:
            difference = interval(value - values[best[size], size], rows, (-1.0, 1.0))
            gain.setdefault(name, {})[size] = asdict(difference)
    return {"accuracy": accuracy, "gain": gain, "best_control": best}


def accuracy_table(results: Mapping[str, Any]) -> str:
    """Returns one line for each map and control, with the mean accuracy over draws."""
    accuracy = results["accuracy"]
    order = ["classes", "semantic", *MAPS, *(f"`{name}`, `full`" for name in PROGRAMS), *CONTROLS]
    columns = [str(size) for size in (0, *SIZES)]
    lines = _header(columns)
    for name in order:
        cells = [f"{accuracy[name][size]['value']:.3f}" if size in accuracy[name] else "" for size in columns]
        lines.append(f"| {shown(name)} | {' | '.join(cells)} |")
    setting = f"{results['rows']} test rows, means over {results['draws']} draws; `{results['model']}`"
    return "\n".join([*lines, "", f"{setting}. {format_versions(results['versions'])}."])


def gain_table(results: Mapping[str, Any]) -> str:
    """Returns the differences from the best control with their intervals."""
    columns = [str(size) for size in SIZES]
    best = {size: (name, results["accuracy"][name][size]["value"]) for size, name in results["best_control"].items()}
    lines = [
        *_header(columns),
        f"| best control | {' | '.join(f'{shown(name)} {value:.3f}' for name, value in best.values())} |",
    ]
    for name, gain in results["gain"].items():
        lines.append(f"| {shown(name)} | {' | '.join(format_interval(gain[size], sign='+') for size in columns)} |")
    return "\n".join([*lines, "", "95% intervals over rows and draws, paired by row and draw."])


def _header(columns: list[str]) -> list[str]:
    return [f"| labeled rows per label | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]


if __name__ == "__main__":
    main()
