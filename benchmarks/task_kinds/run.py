"""Evaluates the multi-label, ordinal and numeric tasks with a model, beside their baselines.

pip install vaderSentiment
python benchmarks/task_kinds/run.py --data DIR          # DIR has trec/ and bbh/; a run is resumed
python benchmarks/task_kinds/run.py --readme            # only writes the tables of results.json into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promptkit as pk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme
from task_kinds.rows import write_rows

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "question_types": {"shots": 8, "calibrate": ["label-batch", "label-threshold:rows=256"]},
    "word_levels": {"shots": 16, "calibrate": ["batch", "vector:rows=256"]},
    "word_ratings": {"shots": 20, "calibrate": ["batch", "vector:rows=256"]},
    "bbh/object_counting": {"shots": 8},
}
"""Task -> the options of its evaluation."""
COLUMNS: Mapping[str, Sequence[str]] = {
    "question_types": ("subset_accuracy", "micro_f1", "macro_f1", "jaccard"),
    "word_levels": ("accuracy", "mae", "quadratic_kappa", "spearman"),
    "word_ratings": ("mae", "spearman", "accuracy"),
    "bbh/object_counting": ("exact_match", "mae", "spearman"),
}
"""Task -> the metrics of its table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with trec/ and bbh/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--readme", action="store_true", help="only write the tables of results.json into README.md")
    options = parser.parse_args()
    if not options.readme:
        RESULTS.write_text(json.dumps(run_all(options), indent=1, ensure_ascii=False) + "\n", "utf-8")
    results = json.loads(RESULTS.read_text("utf-8"))
    versions = f"{results['model']}; {format_versions(results['versions'])}"
    update_readme(
        HERE / "README.md", {**{name: table(name, each) for name, each in results["tasks"].items()}, "versions": versions}
    )


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluates every task."""
    rows = options.out / "rows"
    write_rows(options.data, rows)
    tasks = {}
    for name, settings in CONFIGURATIONS.items():
        data = options.data if name.startswith("bbh/") else rows
        run = pk.EvalConfig(task=name, model=options.model, data=data, **settings).run(out=options.out)
        print(run, flush=True)
        tasks[name] = {"settings": settings, "n": len(run.ids), **_results(run)}
    versions = {package: version(package) for package in ("torch", "transformers", "scikit-learn")}
    return {"model": options.model, "tasks": tasks, "versions": versions | {"promptkit": pk.__version__}}


def _results(run: Any) -> dict[str, Any]:
    """Returns the figures of a run and of its baselines."""
    report = run.to_json()
    return {"branches": report["results"], "baselines": report["baselines"]}


def table(name: str, results: Mapping[str, Any]) -> list[str]:
    """Returns a Markdown table with a line for each branch and each baseline."""
    branches = [*results["branches"], *({"align": each["name"], **each} for each in results["baselines"]["results"])]
    columns = [metric for metric in COLUMNS[name] if metric in branches[0]["metrics"]]
    lines = [f"| {name}, {results['n']} rows | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    for branch in branches:
        cells = [format_interval(branch["metrics"][metric]) if metric in branch["metrics"] else "" for metric in columns]
        lines.append(f"| {branch['align']} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
