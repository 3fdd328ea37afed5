"""Studies of which demonstrations help, and in what order: the tables of README.md, and `results_NAME.json`.

Each study is a file beside this one, run as `promptkit study` runs it. What was computed is never computed again: a study
that is stopped goes on where it was, and a finished one is read from its runs.

    python benchmarks/demonstrations/run.py --data DIR [trec] [banking77] [sst2_orders]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import promptkit as pk
from promptkit.config.study import baselines, read_study, run
from promptkit.studies.progress import RunsBar

HERE = Path(__file__).resolve().parent
STUDIES = ("trec", "banking77", "sst2_orders")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=STUDIES, help=f"of {', '.join(STUDIES)}")
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds trec/, banking77/ and sst2/")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    told = parser.parse_args()
    for name in told.names:
        spec = read_study(HERE / f"{name}.yaml").model_copy(update={"data": str(told.data)})
        with RunsBar() as progress:
            study = run(spec, out=told.out, progress=progress)
        figures = orders(study) if name == "sst2_orders" else selectors(study, baselines(spec, study))
        versions = {each: version(each) for each in ("torch", "transformers")} | {"promptkit": pk.__version__}
        told_of = {"study": spec.description, "items": study.n, "seconds": round(study.seconds), "versions": versions}
        (HERE / f"results_{name}.json").write_text(json.dumps(told_of | figures, indent=1) + "\n", "utf-8")
        renew_readme(name)


def selectors(study: pk.Study, without: Any) -> dict[str, Any]:
    """Each selector at each k: its accuracy, and what it gains over demonstrations drawn by chance."""
    shown = study.where(shots=[k for k in study.dimensions["shots"] if k])
    return {
        "without_demonstrations": study.where(shots=0, demos="random", seed=0).table(rows="demos", columns=None).to_json(),
        "random": shown.where(demos="random").table(rows=("demos", "shots"), columns=None).to_json(),
        "random_by_seed": [
            {**cell.values, "accuracy": float(cell.result.correct.mean())} for cell in shown.where(demos="random").cells
        ],
        "compared": shown.compare(on="demos", to="random", by="shots").to_json(),
        "baselines": without.to_json(),
    }


def orders(study: pk.Study) -> dict[str, Any]:
    """For each set of demonstrations the accuracy of the orders by chance, and where the searched ones stand among them."""
    sets = []
    for seed in study.dimensions["seed"]:
        accuracy = {str(cell.values["order"]): float(cell.result.correct.mean()) for cell in study.where(seed=seed).cells}
        by_chance = [value for order, value in accuracy.items() if order.startswith("shuffled")]
        low, mean, high = min(by_chance), fmean(by_chance), max(by_chance)
        searched = {order.partition(":")[0]: value for order, value in accuracy.items() if not order.startswith("shuffled")}
        recovered = {order: (value - mean) / (high - mean) for order, value in searched.items()}
        spread = {"worst": low, "mean": mean, "best": high, "standard_deviation": stdev(by_chance)}
        sets.append({"seed": seed, "orders": len(by_chance), **spread, "searched": searched, "recovered": recovered})
    return {"sets": sets}


def renew_readme(name: str) -> None:
    """Put the tables of one study between its markers."""
    results = json.loads((HERE / f"results_{name}.json").read_text("utf-8"))
    lines = orders_table(results) if name == "sst2_orders" else selectors_table(results)
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    path = HERE / "README.md"
    before, _, rest = path.read_text("utf-8").partition(begin)
    made = ", ".join(f"{package} {number}" for package, number in results["versions"].items())
    text = "\n".join([*lines, "", f"{results['items']} items, Gemma 3 270M in float32 on a CPU. {made}."])
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", "utf-8")


def selectors_table(results: Mapping[str, Any]) -> Iterable[str]:
    compared = results["compared"]
    shots = sorted({line["shots"] for line in compared})
    by_chance = {line["shots"]: line["accuracy"] for line in results["random"]}
    yield "| demonstrations | " + " | ".join(f"k={k} | less random" for k in shots) + " |"
    yield "|---|" + "---:|---:|" * len(shots)
    yield "| random | " + " | ".join(f"{interval(by_chance[k])} | " for k in shots) + " |"
    for demos in dict.fromkeys(line["demos"] for line in compared):
        own = {line["shots"]: line for line in compared if line["demos"] == demos}
        figures = (f"{interval(own[k]['accuracy'])} | {interval(own[k]['difference to random'], '+')}" for k in shots)
        yield f"| {demos} | " + " | ".join(figures) + " |"
    (none,) = results["without_demonstrations"]
    yield ""
    yield f"Without demonstrations: {interval(none['accuracy'])}."
    for k in shots:
        own = [line["accuracy"] for line in results["random_by_seed"] if line["shots"] == k]
        yield f"Random by seed, k={k}: {', '.join(f'{value:.2f}' for value in own)}."
    yield ""
    yield "| without a model | k | accuracy |"
    yield "|---|---:|---:|"
    for control in results["baselines"]:
        yield f"| {control['name']} | {control['k'] or 'the pool'} | {interval(control['accuracy'])} |"


def orders_table(results: Mapping[str, Any]) -> Iterable[str]:
    searched = tuple(results["sets"][0]["searched"])
    yield "| demonstrations | worst | mean | best | standard deviation | " + " | ".join(searched) + " |"
    yield "|---|" + "---:|" * (4 + len(searched))
    for each in results["sets"]:
        spread = (f"{each[name]:.3f}" for name in ("worst", "mean", "best", "standard_deviation"))
        found = (f"{each['searched'][name]:.3f} ({each['recovered'][name]:+.0%})" for name in searched)
        yield f"| seed {each['seed']} | {' | '.join(spread)} | {' | '.join(found)} |"
    shares = (f"{name} {fmean(each['recovered'][name] for each in results['sets']):+.0%}" for name in searched)
    yield ""
    yield f"Recovered of the way from the mean order to the best, on average: {', '.join(shares)}."


def interval(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.2f} to {figure['high']:{sign}.2f})"


if __name__ == "__main__":
    main()
