"""Compares promptkit with PEFT and Trainer on training a soft prompt and a prefix: time per step, memory and losses.

Both start with the same parameters, read the same rows in the same order, and take the same steps of AdamW. Each runs in a
separate process. promptkit, which takes less time, runs before and after PEFT, and its slower pass counts.

    pip install peft && python benchmarks/training/run.py --data DIR
    python benchmarks/training/run.py --readme    # only writes the table of results.json into README.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
RATES = {"soft": 0.1, "prefix": 0.01}
"""Kind of manipulation -> its learning rate."""
NAMES = {"soft": "soft prompt, {length} vectors", "prefix": "prefix, {length} positions in every layer"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with sst2/")
    parser.add_argument("--steps", default=9, type=int)
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--length", default=20, type=int, help="number of learned vectors, or positions of the prefix")
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    path = options.results / "results.json"
    if not options.readme:
        path.write_text(json.dumps(run_all(options), indent=1) + "\n", "utf-8")
    lines = table(json.loads(path.read_text("utf-8")))
    print("\n".join(lines))
    update_readme(options.results / "README.md", {"results": lines})


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Compares both kinds of manipulation."""
    sizes = {name: getattr(options, name) for name in ("steps", "batch_size", "length")}
    words = [word for name, value in sizes.items() for word in (f"--{name.replace('_', '-')}", value)]
    code = "from promptkit.models.files.source import resolve; print(resolve('demo').location)"
    model = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {
        "workload": sizes,
        **{kind: compare(kind, rate, ["--data", options.data.resolve(), *words], model) for kind, rate in RATES.items()},
        "threads": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("promptkit", "peft", "transformers", "torch")},
    }


def compare(kind: str, rate: float, words: Sequence[object], model: str) -> dict[str, Any]:
    """Trains with both tools, each in a separate process, and with promptkit twice."""
    passes = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in (Path(scratch, "before"), Path(scratch, "after")):
            folder.mkdir()
            passes.append(run_side("promptkit", ["--kind", kind, *words, "--learning-rate", rate], folder))
            if len(passes) == 1:
                theirs = run_side("peft", ["--model", model, "--learning-rate", rate], folder)
    ours = max(passes, key=lambda one: one["step_seconds"])
    return {
        "learning_rate": rate,
        "promptkit": ours | {"step_seconds_of_both_passes": [one["step_seconds"] for one in passes]},
        "peft": theirs,
        "speed_ratio": round(theirs["step_seconds"] / ours["step_seconds"], 2),
        "memory_ratio": round(theirs["peak_gib"] / ours["peak_gib"], 2),
        "largest_difference_of_losses": max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True)),
    }


def run_side(name: str, words: Sequence[object], folder: Path) -> dict[str, Any]:
    """Runs one tool and returns the median time of its steps except the first, its peak memory and the losses."""
    command = [sys.executable, HERE / f"{name}_side.py", *words, "--folder", folder]
    subprocess.run([str(word) for word in command], check=True)
    report = json.loads((folder / f"{name}.json").read_text())
    return {
        "step_seconds": round(median(report["seconds"]), 3),
        "steps_timed": len(report["seconds"]),
        "peak_gib": round(report["peak_gib"], 2),
        "losses": [round(loss, 6) for loss in report["losses"]],
    }


def table(results: dict[str, Any]) -> list[str]:
    """Returns one row for each manipulation, then the losses."""
    sizes, trainings = results["workload"], {kind: results[kind] for kind in RATES}
    passes = "; ".join(
        " and ".join(map(str, training["promptkit"]["step_seconds_of_both_passes"])) for training in trainings.values()
    )
    return [
        "| | seconds per step | PEFT and Trainer | ratio | peak memory, GiB | PEFT and Trainer | ratio | losses differ by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(row(NAMES[kind].format(**sizes), training) for kind, training in trainings.items()),
        "",
        *(line for kind, training in trainings.items() for line in (losses(kind, training), "")),
        f"SST-2, batch {sizes['batch_size']}, {results['threads']} threads; the median of "
        f"{trainings['soft']['promptkit']['steps_timed']} steps, in the slower of two passes ({passes} s). "
        f"{format_versions(results['versions'])}.",
    ]


def row(name: str, training: dict[str, Any]) -> str:
    """Returns time and memory with both tools, and the largest difference of a step's loss."""
    ours, theirs = training["promptkit"], training["peft"]
    time = f"{ours['step_seconds']:.2f} | {theirs['step_seconds']:.2f} | {training['speed_ratio']:.1f}x"
    memory = f"{ours['peak_gib']:.2f} | {theirs['peak_gib']:.2f} | {training['memory_ratio']:.1f}x"
    return f"| {name} | {time} | {memory} | {training['largest_difference_of_losses']:.0e} |"


def losses(kind: str, training: dict[str, Any]) -> str:
    """Returns the loss of each step with both tools."""
    ours, theirs = (", ".join(f"{loss:.4f}" for loss in training[side]["losses"]) for side in ("promptkit", "peft"))
    name = NAMES[kind].partition(",")[0]
    return f"Loss of each step of the {name}: promptkit {ours}; PEFT {theirs}."


if __name__ == "__main__":
    main()
