"""Compares selectors and orders of demonstrations; writes `results_NAME.json` and the tables of README.md.

Each study is a YAML file in this folder, run as `promptkit study` runs it. An interrupted study resumes; a finished one is read
from its runs.

    python benchmarks/demonstrations/run.py --data DIR [trec] [banking77] [sst2_orders]
    python benchmarks/demonstrations/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import promptkit as pk
from promptkit.config.study import StudyConfig
from promptkit.studies.progress import RunsBar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
STUDIES = ("trec", "banking77", "sst2_orders")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=STUDIES, help=f"some of {', '.join(STUDIES)}")
    parser.add_argument("--data", type=Path, help="folder with trec/, banking77/ and sst2/")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    for name in options.names:
        if not options.readme:
            run_study(name, options)
        results = json.loads((HERE / f"results_{name}.json").read_text("utf-8"))
        table = orders_table if name == "sst2_orders" else selectors_table
        update_readme(HERE / "README.md", {name: [*table(results), "", footer(results)]})


def run_study(name: str, options: argparse.Namespace) -> None:
    """Runs one study and writes its results."""
    spec = StudyConfig.from_yaml(HERE / f"{name}.yaml").model_copy(update={"data": options.data})
    with RunsBar() as progress:
        study = spec.run(out=options.out, progress=progress)
    values = orders(study) if name == "sst2_orders" else selectors(study, spec.compute_baselines(study))
    versions = {package: version(package) for package in ("torch", "transformers")} | {"promptkit": pk.__version__}
    info = {"study": spec.description, "items": study.n, "seconds": round(study.seconds), "versions": versions}
    (HERE / f"results_{name}.json").write_text(json.dumps(info | values, indent=1) + "\n", "utf-8")


def selectors(study: pk.Study, baseline_results: Any) -> dict[str, Any]:
    """Returns the accuracy of each selector at each k, and its gain over random demonstrations."""
    with_demos = study.where(shots=[k for k in study.dimensions["shots"] if k])
    return {
        "without_demonstrations": study.where(shots=0, demos="random", seed=0).table(rows="demos", columns=None).to_json(),
        "random": with_demos.where(demos="random").table(rows=("demos", "shots"), columns=None).to_json(),
        "random_by_seed": [
            {**cell.values, "accuracy": float(cell.result.correct.mean())} for cell in with_demos.where(demos="random").cells
        ],
        "compared": with_demos.compare(on="demos", to="random", by="shots").to_json(),
        "baselines": baseline_results.to_json(),
    }


def orders(study: pk.Study) -> dict[str, Any]:
    """Returns the accuracies of random orders for each set of demonstrations, and of searched orders relative to them."""
    sets = []
    for seed in study.dimensions["seed"]:
        accuracy = {str(cell.values["order"]): float(cell.result.correct.mean()) for cell in study.where(seed=seed).cells}
        shuffled = [value for order, value in accuracy.items() if order.startswith("shuffled")]
        low, mean, high = min(shuffled), fmean(shuffled), max(shuffled)
        searched = {order.partition(":")[0]: value for order, value in accuracy.items() if not order.startswith("shuffled")}
        recovered = {order: (value - mean) / (high - mean) for order, value in searched.items()}
        spread = {"worst": low, "mean": mean, "best": high, "standard_deviation": stdev(shuffled)}
        sets.append({"seed": seed, "orders": len(shuffled), **spread, "searched": searched, "recovered": recovered})
    return {"sets": sets}


def footer(results: Mapping[str, Any]) -> str:
    return f"{results['items']} items, Gemma 3 270M in float32 on a CPU. {format_versions(results['versions'])}."


def selectors_table(results: Mapping[str, Any]) -> Iterable[str]:
    compared = results["compared"]
    shots = sorted({line["shots"] for line in compared})
    random = {line["shots"]: line["accuracy"] for line in results["random"]}
    yield "| demonstrations | " + " | ".join(f"k={k} | gain over random" for k in shots) + " |"
    yield "|---|" + "---:|---:|" * len(shots)
    yield "| random | " + " | ".join(f"{format_interval(random[k])} | " for k in shots) + " |"
    for demos in dict.fromkeys(line["demos"] for line in compared):
        entries = {line["shots"]: line for line in compared if line["demos"] == demos}
        cells = (
            f"{format_interval(entries[k]['accuracy'])} | {format_interval(entries[k]['difference from random'], sign='+')}"
            for k in shots
        )
        yield f"| {demos} | " + " | ".join(cells) + " |"
    (none,) = results["without_demonstrations"]
    yield ""
    yield f"Without demonstrations: {format_interval(none['accuracy'])}."
    for k in shots:
        accuracies = [line["accuracy"] for line in results["random_by_seed"] if line["shots"] == k]
        yield f"Random by seed, k={k}: {', '.join(f'{value:.2f}' for value in accuracies)}."
    yield ""
    yield "| baseline without a model | k | accuracy |"
    yield "|---|---:|---:|"
    for baseline in results["baselines"]:
        yield f"| {baseline['name']} | {baseline['k'] or 'the pool'} | {format_interval(baseline['accuracy'])} |"


def orders_table(results: Mapping[str, Any]) -> Iterable[str]:
    searched = tuple(results["sets"][0]["searched"])
    yield "| demonstrations | worst | mean | best | standard deviation | " + " | ".join(searched) + " |"
    yield "|---|" + "---:|" * (4 + len(searched))
    for one in results["sets"]:
        spread = (f"{one[name]:.3f}" for name in ("worst", "mean", "best", "standard_deviation"))
        accuracies = (f"{one['searched'][name]:.3f} ({one['recovered'][name]:+.0%})" for name in searched)
        yield f"| seed {one['seed']} | {' | '.join(spread)} | {' | '.join(accuracies)} |"
    shares = (f"{name} {fmean(one['recovered'][name] for one in results['sets']):+.0%}" for name in searched)
    yield ""
    yield f"Mean share of the gap between the mean and the best order that each search closes: {', '.join(shares)}."


if __name__ == "__main__":
    main()
