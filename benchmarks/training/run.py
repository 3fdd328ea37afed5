"""Training a soft prompt by promptkit and by PEFT with transformers' Trainer: seconds a step, memory, and whether losses agree.

Both begin with the same vectors, see the same rows in the same order, and take the same steps of AdamW. Each runs in a process
of its own; promptkit, whose part is short, runs before and after PEFT, and its slower pass is the one that counts.

    pip install peft && python benchmarks/training/run.py --data DIR
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

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds sst2/")
    parser.add_argument("--steps", default=9, type=int)
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--length", default=20, type=int, help="learned vectors")
    parser.add_argument("--learning-rate", default=0.1, type=float)
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results.json and of README.md")
    told = parser.parse_args()
    sizes = {name: getattr(told, name) for name in ("steps", "batch_size", "length", "learning_rate")}
    words = [word for name, value in sizes.items() for word in (f"--{name.replace('_', '-')}", value)]
    question = "from promptkit.models.source import resolve; print(resolve('demo').location)"
    model = subprocess.run([sys.executable, "-c", question], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch:
        passes = []
        for folder in (Path(scratch, "before"), Path(scratch, "after")):
            folder.mkdir()
            ours = side("promptkit", ["--data", told.data.resolve(), *words], folder)
            passes.append(ours)
            if len(passes) == 1:
                theirs = side("peft", ["--model", model, "--learning-rate", told.learning_rate], folder)
    ours = max(passes, key=lambda each: each["step_seconds"])
    results = {
        "workload": sizes,
        "promptkit": ours | {"step_seconds_of_both_passes": [each["step_seconds"] for each in passes]},
        "peft": theirs,
        "speed_ratio": round(theirs["step_seconds"] / ours["step_seconds"], 2),
        "memory_ratio": round(theirs["peak_gib"] / ours["peak_gib"], 2),
        "largest_difference_of_losses": max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True)),
        "threads": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("promptkit", "peft", "transformers", "torch")},
    }
    (told.results / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print("\n".join(table(results)))
    renew_readme(told.results / "README.md", results)


def side(name: str, words: Sequence[object], folder: Path) -> dict[str, Any]:
    """One part, run to its end: the median seconds of its steps but the first, its peak memory, and the losses."""
    command = [sys.executable, HERE / f"{name}_side.py", *words, "--folder", folder]
    subprocess.run([str(word) for word in command], check=True)
    told = json.loads((folder / f"{name}.json").read_text())
    return {
        "step_seconds": round(median(told["seconds"]), 3),
        "steps_timed": len(told["seconds"]),
        "peak_gib": round(told["peak_gib"], 2),
        "losses": [round(loss, 6) for loss in told["losses"]],
    }


def table(results: dict[str, Any]) -> list[str]:
    """A line a figure."""
    ours, theirs, sizes = results["promptkit"], results["peft"], results["workload"]
    passes = " and ".join(map(str, ours["step_seconds_of_both_passes"]))
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    curves = " | ".join(f"{loss:.4f}" for loss in ours["losses"]), " | ".join(f"{loss:.4f}" for loss in theirs["losses"])
    return [
        "| | promptkit | PEFT and Trainer | ratio |",
        "|---|---:|---:|---:|",
        f"| seconds a step | {ours['step_seconds']:.2f} | {theirs['step_seconds']:.2f} | {results['speed_ratio']:.1f}x |",
        f"| peak memory, GiB | {ours['peak_gib']:.2f} | {theirs['peak_gib']:.2f} | {results['memory_ratio']:.1f}x |",
        "",
        f"The loss of each step, by promptkit: {curves[0]}; by PEFT: {curves[1]}; the largest difference is "
        f"{results['largest_difference_of_losses']:.0e}.",
        "",
        f"SST-2, {sizes['length']} vectors, batch {sizes['batch_size']}, {results['threads']} threads; the median of "
        f"{ours['steps_timed']} steps, of two passes the slower ({passes} s). "
        f"{versions}.",
    ]


def renew_readme(path: Path, results: dict[str, Any]) -> None:
    """Put the table between its markers."""
    if path.is_file():
        before, _, rest = path.read_text("utf-8").partition("<!-- begin -->")
        after = rest.partition("<!-- end -->")[2]
        path.write_text("\n".join([f"{before}<!-- begin -->\n", *table(results), f"\n<!-- end -->{after}"]), "utf-8")


if __name__ == "__main__":
    main()
