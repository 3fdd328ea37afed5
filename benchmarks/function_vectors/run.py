"""A study of function vectors: what a shift told by demonstrations gives a prompt without any, by layer and by kind of shift.

Told by rows of the pool, evaluated on rows that are in no part of it: greedy answers, exact match. What was computed is never
computed again: a study that is stopped goes on where it was.

    python benchmarks/function_vectors/run.py --data DIR [country-capital]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.display.plots import Series, lines
from promptkit.metrics.intervals import Estimate
from promptkit.studies.progress import RunsBar

HERE = Path(__file__).resolve().parent
TASKS = ("country-capital",)
TEMPLATE, SHOTS, ANSWER = "question/answer", 10, {"max_tokens": 8}
FUNCTION, TWICE, DIFFERENCE, TASK = "function vector", "function vector, twice", "mean difference", "task vector"
STRENGTHS = {FUNCTION: 1.0, TWICE: 2.0}
HEADS = (1, 2, 3, 5, 10)
METRIC = "exact_match"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help="tasks of function_vectors/")
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds function_vectors/")
    parser.add_argument("--limit", default=100, type=int, help="rows that are evaluated")
    parser.add_argument("--rows", default=50, type=int, help="rows that heads' mean outputs are over")
    parser.add_argument("--patched", default=25, type=int, help="rows that heads' effects are over")
    parser.add_argument("--state-rows", default=16, type=int, help="rows that mean states are over, anew for each layer")
    parser.add_argument("--layers", nargs="+", default=[2, 6, 8, 9, 10, 11, 12, 13, 14], type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results, plots and of README.md")
    told = parser.parse_args()
    for name in told.names:
        results = studied(name, told)
        (told.results / f"results_{name}.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        plotted(results).savefig(told.results / f"{name}.svg", bbox_inches="tight")
    renew_readme(told.results)


def studied(name: str, told: argparse.Namespace) -> dict[str, Any]:
    """Every shift at every layer, beside the prompt alone and the prompt with demonstrations."""
    task, model = pk.task(f"function_vectors/{name}", data=told.data), pk.load("demo")
    shown = predictor(model, pk.demos.random_each(k=SHOTS))
    found, seconds = effects(shown, task, told)

    def build(shift: str, layer: int) -> pk.Predictor:
        if shift in STRENGTHS:
            return predictor(model, pk.demos.zero(), found.shift(layer=layer, strength=STRENGTHS[shift]))
        how: Any = {DIFFERENCE: "difference", TASK: "replace"}[shift]
        return predictor(
            model, pk.demos.zero(), pk.extract_steering_vector(shown, task, layer=layer, how=how, rows=told.state_rows)
        )

    def of_heads(heads: int, up_to: int) -> pk.Predictor:
        return predictor(model, pk.demos.zero(), found.shift(layer=best, heads=heads, up_to=up_to))

    common: dict[str, Any] = {"out": told.out, "limit": told.limit}
    ends = {
        "no demonstrations": pk.evaluate(predictor(model, pk.demos.zero()), task, **common),
        f"{SHOTS} demonstrations": pk.evaluate(shown, task, **common),
    }
    with RunsBar() as progress:
        study = pk.study(build, task, shift=[*STRENGTHS, DIFFERENCE, TASK], layer=told.layers, progress=progress, **common)
    by_layer = study.table(rows=("steering", "layer"), columns=None).to_json()
    best = max((line for line in by_layer if line["steering"] == FUNCTION), key=lambda line: line[METRIC]["value"])["layer"]
    with RunsBar() as progress:
        heads = pk.study(of_heads, task, heads=HEADS, up_to=[len(found.effects), best + 2], progress=progress, **common)
    return {
        "task": name,
        "shots": SHOTS,
        "items": study.n,
        "ends": {end: run.results[0].metrics[METRIC] for end, run in ends.items()},
        "by_layer": by_layer,
        "by_heads": heads.table(rows=("up_to", "heads"), columns=None).to_json(),
        "best_layer": best,
        "best_heads": found.best(10),
        "effects": np.round(found.effects, 5).tolist(),
        "rows": {"means": told.rows, "effects": told.patched, "states": told.state_rows},
        "seconds": {"heads": round(seconds)},
        "versions": {each: version(each) for each in ("torch", "transformers")} | {"promptkit": pk.__version__},
    }


def predictor(model: Any, demos: Any, *behind: Any) -> pk.Predictor:
    return pk.Predictor(model, [pk.Prompt(TEMPLATE, demos=demos), *behind], pk.extract.first_line(**ANSWER))


def effects(shown: pk.Predictor, task: pk.Task, told: argparse.Namespace) -> tuple[pk.HeadEffects, float]:
    """What the heads are worth, kept beside the runs, and how long it took."""
    path = told.out / f"heads-{task.name.replace('/', '-')}-{told.rows}-{told.patched}.npz"
    if not path.is_file():
        began = time.perf_counter()
        found = pk.head_effects(shown, task, rows=told.rows, patched=told.patched)
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = time.perf_counter() - began
        np.savez(path, effects=found.effects, added=found.added, base=json.dumps(dict(found.base)), seconds=seconds)
    with np.load(path) as kept:
        base = json.loads(str(kept["base"]))
        return pk.HeadEffects(effects=kept["effects"], added=kept["added"], base=base), float(kept["seconds"])


# ---- the tables and the plot -------------------------------------------------------------------------------


def plotted(results: Mapping[str, Any]) -> Any:
    """Exact match by layer, a line a shift; in gray what the prompt gives alone and with demonstrations."""
    layers = layers_of(results)
    series = [
        Series(name=shift, points=tuple(Estimate(**figures(results)[shift, layer]) for layer in layers))
        for shift in shifts_of(results)
    ]
    for name, end in results["ends"].items():
        series.append(Series(name=name, points=(Estimate(**end),) * len(layers), is_baseline=True))
    return lines(
        series,
        ticks=[str(layer) for layer in layers],
        x="layer",
        y="exact match",
        legend="",
        title=f"{results['task']}, {results['items']} unseen rows, Gemma 3 270M",
        caption="95% intervals.",
    )


def figures(results: Mapping[str, Any]) -> dict[tuple[str, int], Any]:
    return {(line["steering"], line["layer"]): line[METRIC] for line in results["by_layer"]}


def layers_of(results: Mapping[str, Any]) -> list[int]:
    return sorted({line["layer"] for line in results["by_layer"]})


def shifts_of(results: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(line["steering"] for line in results["by_layer"]))


def renew_readme(folder: Path) -> None:
    """Put the tables of the results that there are between their markers."""
    path = folder / "README.md"
    if not path.is_file():
        return
    text = path.read_text("utf-8")
    for file in sorted(folder.glob("results_*.json")):
        results = json.loads(file.read_text("utf-8"))
        begin, end = (f"<!-- {word} {results['task']} -->" for word in ("begin", "end"))
        before, found, rest = text.partition(begin)
        if found:
            text = "\n".join([f"{before}{begin}\n", *tables(results), f"\n{end}{rest.partition(end)[2]}"])
    path.write_text(text, "utf-8")


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """By layer and shift; by how many heads; which heads."""
    shifts, values = shifts_of(results), figures(results)
    yield from header("layer", shifts)
    for layer in layers_of(results):
        yield f"| {layer} | " + " | ".join(shown_as(values[shift, layer]) for shift in shifts) + " |"
    yield "\n" + "; ".join(f"{name}: {shown_as(end)}" for name, end in results["ends"].items()) + "."
    of_heads = {(line["up_to"], line["heads"]): line[METRIC] for line in results["by_heads"]}
    counts = list(dict.fromkeys(heads for _, heads in of_heads))
    yield f"\nThe function vector of the n heads of greatest effect, behind layer {results['best_layer']}:\n"
    yield from header("heads", [str(heads) for heads in counts])
    for up_to in dict.fromkeys(up_to for up_to, _ in of_heads):
        told = "all layers" if up_to == len(results["effects"]) else f"layers up to {up_to}"
        yield f"| of {told} | " + " | ".join(shown_as(of_heads[up_to, heads]) for heads in counts) + " |"
    effect = results["effects"]
    told = (f"{layer}.{head} ({effect[layer - 1][head - 1]:+.3f})" for layer, head in results["best_heads"])
    yield f"\nHeads as layer.head, and how much likelier each makes the right answer: {', '.join(told)}."
    made = ", ".join(f"{package} {number}" for package, number in results["versions"].items())
    seconds = results["seconds"]["heads"]
    yield f"\n{results['items']} rows, Gemma 3 270M in float32 on a CPU; {seconds} s to tell the heads. {made}."


def header(first: str, columns: Sequence[str]) -> Iterator[str]:
    yield f"| {first} | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)


def shown_as(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.2f} to {figure['high']:.2f})"


if __name__ == "__main__":
    main()
