"""Compares instructions proposed by a model with the best human-written instructions on held-out rows.

The four tasks are from instruction induction (Honovich et al. 2022), whose annotations are the human instructions. Both kinds
are selected on the same dev rows by the same method, and compared row by row on the test split. An interrupted run resumes.

    python benchmarks/instruction_search/run.py --data DIR
    python benchmarks/instruction_search/run.py --readme    # only writes the table of results.json into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.metrics.intervals import difference, wilson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
TASKS = ("singular_to_plural", "first_word_letter", "larger_animal", "sentiment")
DEV, CANDIDATES = 48, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with instruction_induction/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--method", default="ape", choices=("ape", "opro"))
    parser.add_argument("--shots", default=2, type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    if not options.readme:
        RESULTS.write_text(json.dumps(run_all(options), indent=1, ensure_ascii=False) + "\n", "utf-8")
    update_readme(HERE / "README.md", {"results": table(json.loads(RESULTS.read_text("utf-8")))})


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Searches and compares on every task."""
    model = pk.load(options.model)
    setting = {"model": options.model, "method": options.method, "shots": options.shots, "dev": DEV, "candidates": CANDIDATES}
    tasks = {}
    for name in TASKS:
        tasks[name] = on_task(name, model, options)
        print(f"{name}: {tasks[name]['seconds']:.0f} s", flush=True)
    versions = {package: version(package) for package in ("torch", "transformers")} | {"promptkit": pk.__version__}
    return {**setting, "tasks": tasks, "versions": versions}


def on_task(name: str, model: Any, options: argparse.Namespace) -> dict[str, object]:
    """Runs both searches and compares their instructions with the prompt without an instruction."""
    start = time.perf_counter()
    folder = f"instruction_induction/{name}"
    task = pk.task(folder, data=options.data)
    people = json.loads((options.data / folder / "annotations.json").read_text("utf-8"))["annotations"]
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.Random(k=options.shots))
    none = pk.Predictor(model, prompt, reader_for(task))
    keywords: dict[str, Any] = {"dev": DEV, "out": options.out}
    written = pk.search(none, task, method="list", instructions=people, **keywords)
    found = pk.search(none, task, method=options.method, candidates=CANDIDATES, **keywords)
    comparison = pk.compare(task, people=written.predictor, none=none, found=found.predictor, out=options.out)
    return {
        "rows": comparison.n,
        "people": {"tried": len(set(people)), **summary(written)},
        "found": {"tried": sum(origin == options.method for origin in found.origins.values()), **summary(found)},
        "held_out": {branch.name: asdict(branch.accuracy) for branch in comparison.branches},
        "difference_to_people": {
            branch.name: {**asdict(branch.difference), "p": branch.p}
            for branch in comparison.branches[1:]
            if branch.difference is not None
        },
        "seconds": round(time.perf_counter() - start, 1),
    }


def summary(found: pk.SearchResult) -> dict[str, object]:
    """Returns the chosen instruction and its scores on the dev rows."""
    choice, last = found.instruction, found.rungs[-1]
    dev = wilson(round(found.corrected.own * last.rows), last.rows)
    return {
        "instruction": choice,
        "from": found.origins[choice],
        "dev": dev.value,
        "optimism": asdict(difference(dev, found.held_out)),
    }


def table(results: Mapping[str, Any]) -> str:
    """Returns one line for each task, then the instructions."""
    lines = [
        "| task | no instruction | human | found | gain over human | p | optimism |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, task in results["tasks"].items():
        held_out, difference = task["held_out"], task["difference_to_people"]["found"]
        accuracies = [format_interval(held_out[source], digits=2) for source in ("none", "people", "found")]
        gain = format_interval(difference, sign="+", digits=2)
        optimism = format_interval(task["found"]["optimism"], sign="+", digits=2)
        lines.append(f"| {name} | {' | '.join(accuracies)} | {gain} | {difference['p']:.2g} | {optimism} |")
    lines.append("")
    for name, task in results["tasks"].items():
        quoted = [
            f"{title} `{task[key]['instruction'] or '(none)'}` (of {task[key]['tried']})"
            for title, key in (("human", "people"), ("found", "found"))
        ]
        lines.append(f"- {name}: {', '.join(quoted)}")
    seconds = sum(task["seconds"] for task in results["tasks"].values())
    versions = format_versions(results["versions"])
    settings = f"`{results['model']}`, {results['method']}, {results['shots']} shots, {results['candidates']} proposals"
    lines += ["", f"{settings}, {results['dev']} dev rows, 100 test rows; {seconds:.0f} s. {versions}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
