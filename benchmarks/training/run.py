"""Training a soft prompt and a prefix by promptkit and by PEFT with Trainer: seconds a step, memory, and whether losses agree.

Both begin with the same numbers, see the same rows in the same order, and take the same steps of AdamW. Each runs in a process
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
RATES = {"soft": 0.1, "prefix": 0.01}
"""What is trained, and its learning rate."""
NAMES = {"soft": "soft prompt, {length} vectors", "prefix": "prefix, {length} positions in every layer"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds sst2/")
    parser.add_argument("--steps", default=9, type=int)
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--length", default=20, type=int, help="learned vectors, or positions of the prefix")
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results.json and of README.md")
    told = parser.parse_args()
    sizes = {name: getattr(told, name) for name in ("steps", "batch_size", "length")}
    words = [word for name, value in sizes.items() for word in (f"--{name.replace('_', '-')}", value)]
    question = "from promptkit.models.files.source import resolve; print(resolve('demo').location)"
    model = subprocess.run([sys.executable, "-c", question], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    results = {
        "workload": sizes,
        **{kind: compared(kind, rate, ["--data", told.data.resolve(), *words], model) for kind, rate in RATES.items()},
        "threads": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("promptkit", "peft", "transformers", "torch")},
    }
    (told.results / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print("\n".join(table(results)))
    renew_readme(told.results / "README.md", results)


def compared(kind: str, rate: float, words: Sequence[object], model: str) -> dict[str, Any]:
    """Both parts of one training, each in a process of its own, and promptkit's twice."""
    passes = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in (Path(scratch, "before"), Path(scratch, "after")):
            folder.mkdir()
            passes.append(side("promptkit", ["--kind", kind, *words, "--learning-rate", rate], folder))
            if len(passes) == 1:
                theirs = side("peft", ["--model", model, "--learning-rate", rate], folder)
    ours = max(passes, key=lambda each: each["step_seconds"])
    return {
        "learning_rate": rate,
        "promptkit": ours | {"step_seconds_of_both_passes": [each["step_seconds"] for each in passes]},
        "peft": theirs,
        "speed_ratio": round(theirs["step_seconds"] / ours["step_seconds"], 2),
        "memory_ratio": round(theirs["peak_gib"] / ours["peak_gib"], 2),
        "largest_difference_of_losses": max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True)),
    }


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
    """A row for each that is trained, and below it the losses."""
    sizes, told = results["workload"], {kind: results[kind] for kind in RATES}
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    passes = "; ".join(" and ".join(map(str, each["promptkit"]["step_seconds_of_both_passes"])) for each in told.values())
    return [
        "| | seconds a step | PEFT and Trainer | ratio | peak memory, GiB | PEFT and Trainer | ratio | losses differ by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(row(NAMES[kind].format(**sizes), each) for kind, each in told.items()),
        "",
        *(line for kind, each in told.items() for line in (curves(kind, each), "")),
        f"SST-2, batch {sizes['batch_size']}, {results['threads']} threads; the median of "
        f"{told['soft']['promptkit']['steps_timed']} steps, of two passes the slower ({passes} s). "
        f"{versions}.",
    ]


def row(name: str, told: dict[str, Any]) -> str:
    """What one training took, by either; of the losses of each step the largest difference."""
    ours, theirs = told["promptkit"], told["peft"]
    time = f"{ours['step_seconds']:.2f} | {theirs['step_seconds']:.2f} | {told['speed_ratio']:.1f}x"
    memory = f"{ours['peak_gib']:.2f} | {theirs['peak_gib']:.2f} | {told['memory_ratio']:.1f}x"
    return f"| {name} | {time} | {memory} | {told['largest_difference_of_losses']:.0e} |"


def curves(kind: str, told: dict[str, Any]) -> str:
    """The loss of each step, by either."""
    ours, theirs = (", ".join(f"{loss:.4f}" for loss in told[side]["losses"]) for side in ("promptkit", "peft"))
    name = NAMES[kind].partition(",")[0]
    return f"The loss of each step of the {name}: by promptkit {ours}; by PEFT {theirs}."


def renew_readme(path: Path, results: dict[str, Any]) -> None:
    """Put the table between its markers."""
    if path.is_file():
        before, _, rest = path.read_text("utf-8").partition("<!-- begin -->")
        after = rest.partition("<!-- end -->")[2]
        path.write_text("\n".join([f"{before}<!-- begin -->\n", *table(results), f"\n<!-- end -->{after}"]), "utf-8")


if __name__ == "__main__":
    main()
