"""What is learned from 16 labeled rows of each class, every kind beside prompts that learn nothing: accuracy, numbers, time.

Every seed draws other rows, the same for every kind, and other demonstrations. A study that is stopped goes on where it was,
and a finished one is read. `--whole` trains on all of the pool instead.

    python benchmarks/learned_prompts/run.py [sst2] [trec] --data DIR
    python benchmarks/learned_prompts/run.py trec --data DIR --steps 100 --only soft prefix shift loreft
    python benchmarks/learned_prompts/run.py sst2 --data DIR --whole --steps 60 --seeds 1 --limit 0 --only soft prefix
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.metrics.intervals import mean_of, resamples
from promptkit.studies.measures import interval

HERE = Path(__file__).resolve().parent
ZERO, SHOTS, CALIBRATED = "zero-shot", "16-shot", "16-shot, batch-calibrated"
FIXED = (ZERO, SHOTS, CALIBRATED)
TEXTS = {
    "sst2": "Classify the sentiment of this review as negative or positive.",
    "trec": "Classify this question by the kind of answer that it asks for.",
}
"""What soft prompts and prefixes begin as."""
LENGTH = 10
STEPS = 30
"""Of a training, unless more are asked for."""
LOOKS = 6
"""How often a training looks at dev."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A kind as it is trained: at its own learning rate, in so many of the study's steps."""

    what: Any
    optimizer: Any = None
    share: float = 1.0
    """Of the steps: those that try many candidates make fewer."""


def kinds(task: str, seed: int) -> dict[str, Trained]:
    """What is learned, by the name that the command line has for it."""
    text = TEXTS.get(task, "vocabulary")
    return {
        "soft": Trained(what=pk.SoftPrompt(LENGTH, init=text, seed=seed)),
        "prefix": Trained(what=pk.Prefix(LENGTH, init=text, seed=seed)),
        "steering": Trained(what=pk.SteeringVector()),
        "loreft": Trained(what=pk.LoReFT(seed=seed)),
        "tokens": Trained(what=pk.TriggerTokens(seed=seed), share=1 / 3),
        "soft, spsa": Trained(what=pk.SoftPrompt(LENGTH, init=text, seed=seed), optimizer=pk.Spsa()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=("sst2", "trec"), help="tasks")
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds sst2/ and trec/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--set", nargs="*", default=[], help="options of the model, as dtype=bfloat16")
    parser.add_argument("--only", nargs="+", default=[*kinds("", 0)], help="the kinds that are trained")
    parser.add_argument("--limit", default=200, type=int, help="rows that are evaluated; 0 for all")
    parser.add_argument("--per-class", default=16, type=int, help="labeled rows of each label")
    parser.add_argument("--dev", default=32, type=int, help="labeled rows that choose the step")
    parser.add_argument("--whole", action="store_true", help="all rows of the pool, and 128 of dev")
    parser.add_argument("--steps", default=STEPS, type=int)
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results_NAME.json and of README.md")
    told = parser.parse_args()
    model = pk.load(told.model, **dict(each.split("=", 1) for each in told.set))
    for task in told.names:
        name = f"{task}_whole" if told.whole else task if told.steps == STEPS else f"{task}_{told.steps}_steps"
        path = told.results / f"results_{name}.json"
        path.write_text(json.dumps(on_task(pk.task(task, data=told.data), model, told), indent=1) + "\n", "utf-8")
        results = json.loads(path.read_text("utf-8"))
        print(f"{name}\n\n{table(results)}\n", flush=True)
        renew_readme(told.results / "README.md", name, results)


def on_task(task: pk.Task, model: Any, told: argparse.Namespace) -> dict[str, Any]:
    """Each kind at each seed; one seed is finished before the next begins."""
    runs: dict[str, list[pk.Run]] = {}
    fits: dict[str, list[pk.Fit]] = {}
    for seed in range(told.seeds):
        for name, predictor in fixed(task, model, seed).items():
            runs.setdefault(name, []).append(evaluated(predictor, task, told))
        for name in told.only:
            fit = trained(kinds(task.name, seed)[name], task, model, told, seed)
            fits.setdefault(name, []).append(fit)
            runs.setdefault(name, []).append(evaluated(fit.predictor, task, told))
            print(f"{task.name}, seed {seed}, {name}: {np.mean(runs[name][-1].results[0].correct):.3f}", flush=True)
    found = figures({name: [run.results[0].correct for run in each] for name, each in runs.items()})
    first = runs[ZERO][0]
    return {
        "task": task.name,
        "rows": len(first.ids),
        "labels": len(first.labels),
        "labeled": dict(next(iter(fits.values()))[0].rows),
        "seeds": told.seeds,
        "model": first.model,
        "kinds": {name: {**found[name], **cost(fits.get(name, ()))} for name in runs},
        "versions": {each: version(each) for each in ("torch", "transformers")} | {"promptkit": pk.__version__},
    }


def fixed(task: pk.Task, model: Any, seed: int) -> dict[str, pk.Predictor]:
    """What learns nothing."""
    plain, read = pk.Prompt(task.spec.template), reader_for(task)
    shown = pk.Prompt(task.spec.template, demos=pk.demos.balanced(k=16, seed=seed))
    return {
        ZERO: pk.Predictor(model, plain, [read]),
        SHOTS: pk.Predictor(model, shown, [read]),
        CALIBRATED: pk.Predictor(model, shown, [read, pk.calibrate.Batch()]),
    }


def trained(kind: Trained, task: pk.Task, model: Any, told: argparse.Namespace, seed: int) -> pk.Fit:
    """A training, or what it has come to."""
    predictor = pk.Predictor(model, [pk.Prompt(task.spec.template), kind.what], [reader_for(task)])
    rows = {"per_class": None, "dev": 128} if told.whole else {"per_class": told.per_class, "dev": told.dev}
    steps, eval_every = (max(1, round(kind.share * each)) for each in (told.steps, told.steps // LOOKS))
    return pk.train(
        predictor, task, **rows, optimizer=kind.optimizer, steps=steps, eval_every=eval_every, seed=seed, out=told.out
    )


def evaluated(predictor: pk.Predictor, task: pk.Task, told: argparse.Namespace) -> pk.Run:
    return pk.evaluate([predictor], task, limit=told.limit or None, out=told.out)


def figures(correct: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Accuracy, and what is gained over the zero-shot prompt, paired by row: over rows and seeds."""
    weights = resamples(len(correct[ZERO][0]))
    values = {name: np.array([mean_of(each)(weights) for each in by_seed]) for name, by_seed in correct.items()}
    rows = weights.shape[1]
    return {
        name: {
            "accuracy": asdict(interval(each, rows, (0.0, 1.0))),
            "gain": asdict(interval(each - values[ZERO], rows, (-1.0, 1.0))),
            "by_seed": [round(float(seed), 4) for seed in each[:, 0]],
        }
        for name, each in values.items()
    }


def cost(fits: Sequence[pk.Fit]) -> dict[str, Any]:
    """Numbers that are trained, steps, rows that the model has computed (mean of all seeds), and the median seed's seconds."""
    if not fits:
        return {}
    return {
        "trainable": fits[0].trainable,
        "steps": [len(fit.losses) for fit in fits],
        "chosen": [fit.chosen.step for fit in fits],
        "rows_computed": round(float(np.mean([sum(fit.evaluations.values()) for fit in fits]))),
        "seconds": round(float(np.median([fit.seconds for fit in fits])), 1),
        "dev": [[asdict(look) for look in fit.looks] for fit in fits],
    }


def table(results: Mapping[str, Any]) -> str:
    """A line a kind, by accuracy."""
    lines = ["| kind | accuracy | over zero-shot | numbers | rows computed | seconds |", "|---|---:|---:|---:|---:|---:|"]
    for name, found in sorted(results["kinds"].items(), key=lambda pair: pair[1]["accuracy"]["value"]):
        gain = "" if name == ZERO else estimate(found["gain"], "+")
        costs = [found.get("trainable", ""), found.get("rows_computed", ""), found.get("seconds", "")]
        shown = name if name in FIXED else f"`{name}`"
        lines.append(f"| {shown} | {estimate(found['accuracy'])} | {gain} | {' | '.join(map(str, costs))} |")
    rows = results["labeled"]
    told = f"{results['rows']} test rows, {results['labels']} labels; trained on {rows['pool']} rows, {rows['dev']} of dev"
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return "\n".join([*lines, "", f"{told}, {results['seeds']} seeds; `{results['model']}`. {versions}."])


def estimate(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.2f} to {figure['high']:{sign}.2f})"


def renew_readme(path: Path, name: str, results: Mapping[str, Any]) -> None:
    """Put the table of one task between its markers."""
    if not path.is_file():
        return
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, _, rest = path.read_text("utf-8").partition(begin)
    path.write_text(f"{before}{begin}\n\n{table(results)}\n\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
