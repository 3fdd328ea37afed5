"""Evaluates steering vectors extracted from demonstrations on prompts without demonstrations, by layer and kind of vector.

The vectors are extracted from rows of the pool and evaluated on other rows: greedy answers, exact match. An interrupted study
resumes.

    python benchmarks/function_vectors/run.py --data DIR [country-capital]
    python benchmarks/function_vectors/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
TASKS = ("country-capital",)
TEMPLATE, SHOTS, MAX_TOKENS = "question/answer", 10, 8
FUNCTION, TWICE, DIFFERENCE, TASK = "function vector", "function vector, twice", "mean difference", "task vector"
STRENGTHS = {FUNCTION: 1.0, TWICE: 2.0}
HEADS = (1, 2, 3, 5, 10)
METRIC = "exact_match"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help="tasks of function_vectors/")
    parser.add_argument("--data", type=Path, help="folder with function_vectors/")
    parser.add_argument("--limit", default=100, type=int, help="number of evaluated rows")
    parser.add_argument("--rows", default=50, type=int, help="rows for the mean outputs of heads")
    parser.add_argument("--patched", default=25, type=int, help="rows for the effects of heads")
    parser.add_argument("--state-rows", default=16, type=int, help="rows for the mean states of each layer")
    parser.add_argument("--layers", nargs="+", default=[2, 6, 8, 9, 10, 11, 12, 13, 14], type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of the results, plots and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    for name in options.names:
        path = options.results / f"results_{name}.json"
        if not options.readme:
            results = run_study(name, options)
            path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            plot(results).savefig(options.results / f"{name}.svg", bbox_inches="tight")
        update_readme(options.results / "README.md", {name: tables(json.loads(path.read_text("utf-8")))})


def run_study(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Evaluates every kind of vector at every layer, and the prompts without a vector."""
    task, model = pk.task(f"function_vectors/{name}", data=options.data), pk.load("demo")
    with_demos = predictor(model, pk.demos.RandomEach(k=SHOTS))
    result, seconds = head_effects(with_demos, task, options)

    def build(steering: str, layer: int) -> pk.Predictor:
        if steering in STRENGTHS:
            return predictor(model, pk.demos.Zero(), result.steering_vector(layer=layer, strength=STRENGTHS[steering]))
        how: Any = {DIFFERENCE: "difference", TASK: "replace"}[steering]
        return predictor(
            model, pk.demos.Zero(), pk.extract_steering_vector(with_demos, task, layer=layer, how=how, rows=options.state_rows)
        )

    def build_of_heads(heads: int, up_to: int) -> pk.Predictor:
        return predictor(model, pk.demos.Zero(), result.steering_vector(layer=best, heads=heads, up_to=up_to))

    common: dict[str, Any] = {"out": options.out, "limit": options.limit}
    reference_runs = {
        "no demonstrations": pk.evaluate(predictor(model, pk.demos.Zero()), task, **common),
        f"{SHOTS} demonstrations": pk.evaluate(with_demos, task, **common),
    }
    with RunsBar() as progress:
        study = pk.study(
            build, task, steering=[*STRENGTHS, DIFFERENCE, TASK], layer=options.layers, progress=progress, **common
        )
    by_layer: Any = study.table(rows=("steering", "layer"), columns=None).to_json()
    best = max((line for line in by_layer if line["steering"] == FUNCTION), key=lambda line: line[METRIC]["value"])["layer"]
    with RunsBar() as progress:
        heads = pk.study(build_of_heads, task, heads=HEADS, up_to=[len(result.effects), best + 2], progress=progress, **common)
    return {
        "task": name,
        "shots": SHOTS,
        "items": study.n,
        "ends": {end: run.results[0].metrics[METRIC] for end, run in reference_runs.items()},
        "by_layer": by_layer,
        "by_heads": heads.table(rows=("up_to", "heads"), columns=None).to_json(),
        "best_layer": best,
        "best_heads": result.best(10),
        "effects": np.round(result.effects, 5).tolist(),
        "rows": {"means": options.rows, "effects": options.patched, "states": options.state_rows},
        "seconds": {"heads": round(seconds)},
        "versions": {package: version(package) for package in ("torch", "transformers")} | {"promptkit": pk.__version__},
    }


def predictor(model: Any, demos: Any, *modifiers: Any) -> pk.Predictor:
    return pk.Predictor(model, [pk.Prompt(TEMPLATE, demos=demos), *modifiers], pk.extract.FirstLine(max_tokens=MAX_TOKENS))


def head_effects(with_demos: pk.Predictor, task: pk.Task, options: argparse.Namespace) -> tuple[pk.HeadEffects, float]:
    """Returns the effects of attention heads, stored with the runs, and the seconds that they took."""
    path = options.out / f"heads-{task.name.replace('/', '-')}-{options.rows}-{options.patched}.npz"
    if not path.is_file():
        start = time.perf_counter()
        result = pk.head_effects(with_demos, task, rows=options.rows, patched=options.patched)
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = time.perf_counter() - start
        np.savez(path, effects=result.effects, added=result.added, base=json.dumps(dict(result.base)), seconds=seconds)
    with np.load(path) as stored:
        base = json.loads(str(stored["base"]))
        return pk.HeadEffects(effects=stored["effects"], added=stored["added"], base=base), float(stored["seconds"])


# ---- the tables and the plot -------------------------------------------------------------------------------


def plot(results: Mapping[str, Any]) -> Any:
    """Plots exact match by layer, one line for each kind of vector; in gray the prompts without a vector."""
    layers = layers_of(results)
    series = [
        Series(name=kind, points=tuple(Estimate(**values_of(results)[kind, layer]) for layer in layers))
        for kind in kinds_of(results)
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


def values_of(results: Mapping[str, Any]) -> dict[tuple[str, int], Any]:
    return {(line["steering"], line["layer"]): line[METRIC] for line in results["by_layer"]}


def layers_of(results: Mapping[str, Any]) -> list[int]:
    return sorted({line["layer"] for line in results["by_layer"]})


def kinds_of(results: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(line["steering"] for line in results["by_layer"]))


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """Yields the tables by layer and kind of vector and by number of heads, and the list of heads."""
    kinds, values = kinds_of(results), values_of(results)
    yield from header("layer", kinds)
    for layer in layers_of(results):
        yield f"| {layer} | " + " | ".join(format_interval(values[kind, layer]) for kind in kinds) + " |"
    yield "\n" + "; ".join(f"{name}: {format_interval(end)}" for name, end in results["ends"].items()) + "."
    of_heads = {(line["up_to"], line["heads"]): line[METRIC] for line in results["by_heads"]}
    counts = list(dict.fromkeys(heads for _, heads in of_heads))
    yield f"\nThe function vector of the n heads with the largest effect, added after layer {results['best_layer']}:\n"
    yield from header("heads", [str(heads) for heads in counts])
    for up_to in dict.fromkeys(up_to for up_to, _ in of_heads):
        layers = "all layers" if up_to == len(results["effects"]) else f"layers up to {up_to}"
        yield f"| of {layers} | " + " | ".join(format_interval(of_heads[up_to, heads]) for heads in counts) + " |"
    effect = results["effects"]
    best = (f"{layer}.{head} ({effect[layer - 1][head - 1]:+.3f})" for layer, head in results["best_heads"])
    yield f"\nHeads as layer.head, with the increase of the correct answer's probability: {', '.join(best)}."
    versions = format_versions(results["versions"])
    seconds = results["seconds"]["heads"]
    yield f"\n{results['items']} rows, Gemma 3 270M in float32 on a CPU; {seconds} s for the effects of heads. {versions}."


def header(first: str, columns: Sequence[str]) -> Iterator[str]:
    yield f"| {first} | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)


if __name__ == "__main__":
    main()
