"""Instructions that a model found for itself against the best of those that people wrote, on rows that neither was chosen by.

Four tasks of instruction induction (Honovich et al. 2022), whose annotations are the people's instructions. Both are chosen
on the same dev rows in the same way, and compared row by row on the test split. What is done already is not done again.

    python benchmarks/instruction_search/run.py --data DIR
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.align.chain import reader_for

HERE = Path(__file__).resolve().parent
TASKS = ("singular_to_plural", "first_word_letter", "larger_animal", "sentiment")
DEV, CANDIDATES = 48, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds instruction_induction/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--method", default="ape", choices=("ape", "opro"))
    parser.add_argument("--shots", default=2, type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    told = parser.parse_args()
    model = pk.load(told.model)
    setting = {"model": told.model, "method": told.method, "shots": told.shots, "dev": DEV, "candidates": CANDIDATES}
    tasks = {}
    for name in TASKS:
        tasks[name] = on_task(name, model, told)
        print(f"{name}: {tasks[name]['seconds']:.0f} s", flush=True)
    versions = {each: version(each) for each in ("torch", "transformers")} | {"promptkit": pk.__version__}
    results = {**setting, "tasks": tasks, "versions": versions}
    (HERE / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    renew_readme(results)


def on_task(name: str, model: Any, told: argparse.Namespace) -> dict[str, object]:
    """Both searches, and the comparison of what they found with the prompt that has no instruction."""
    began = time.perf_counter()
    folder = f"instruction_induction/{name}"
    task = pk.task(folder, data=told.data)
    people = json.loads((told.data / folder / "annotations.json").read_text("utf-8"))["annotations"]
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.random(k=told.shots))
    none = pk.Predictor(model, prompt, reader_for(task))
    keywords: dict[str, Any] = {"dev": DEV, "out": told.out}
    written = pk.search(none, task, method="list", instructions=people, **keywords)
    found = pk.search(none, task, method=told.method, candidates=CANDIDATES, **keywords)
    against = pk.compare(task, people=written.predictor, none=none, found=found.predictor, out=told.out)
    return {
        "rows": against.n,
        "people": {"tried": len(set(people)), **said(written)},
        "found": {"tried": sum(origin == told.method for origin in found.origins.values()), **said(found)},
        "held_out": {each.name: asdict(each.accuracy) for each in against.branches},
        "difference_to_people": {each.name: {**asdict(each.difference), "p": each.p} for each in against.branches[1:]},
        "seconds": round(time.perf_counter() - began, 1),
    }


def said(found: pk.SearchResult) -> dict[str, object]:
    """What a search chose, and how it fared where it was chosen."""
    choice = found.instruction
    return {"instruction": choice, "from": found.origins[choice], "dev": found.on_dev.value, "optimism": asdict(found.optimism)}


def renew_readme(results: Mapping[str, Any]) -> None:
    """Put the table of the results between the markers of README.md."""
    path = HERE / "README.md"
    before, _, rest = path.read_text("utf-8").partition("<!-- begin results.json -->")
    after = re.split("<!-- end results.json -->", rest)[-1]
    path.write_text(f"{before}<!-- begin results.json -->\n\n{table(results)}\n\n<!-- end results.json -->{after}", "utf-8")


def table(results: Mapping[str, Any]) -> str:
    """A line a task, then the instructions themselves."""
    lines = [
        "| task | no instruction | people's | found | found less people's | p | optimism |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, task in results["tasks"].items():
        held_out, difference = task["held_out"], task["difference_to_people"]["found"]
        shown = [interval(held_out[each]) for each in ("none", "people", "found")]
        gain, optimism = interval(difference, "+"), interval(task["found"]["optimism"], "+")
        lines.append(f"| {name} | {' | '.join(shown)} | {gain} | {difference['p']:.2g} | {optimism} |")
    lines.append("")
    for name, task in results["tasks"].items():
        quoted = [f"{who} `{task[who]['instruction'] or '(none)'}` (of {task[who]['tried']})" for who in ("people", "found")]
        lines.append(f"- {name}: {', '.join(quoted)}")
    seconds = sum(task["seconds"] for task in results["tasks"].values())
    told = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    settings = f"`{results['model']}`, {results['method']}, {results['shots']} shots, {results['candidates']} proposals"
    lines += ["", f"{settings}, {results['dev']} dev rows, 100 test rows; {seconds:.0f} s. {told}."]
    return "\n".join(lines)


def interval(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.2f} ({figure['low']:{sign}.2f} to {figure['high']:{sign}.2f})"


if __name__ == "__main__":
    main()
