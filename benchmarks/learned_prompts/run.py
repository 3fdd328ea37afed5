"""Compares learned manipulations trained on 16 labeled rows per class with each other and with fixed prompts.

Each seed samples other rows, the same for every manipulation, and other demonstrations. An interrupted study resumes; a
finished one is read from disk. `--whole` trains on the entire pool instead.

    python benchmarks/learned_prompts/run.py [sst2] [trec] --data DIR
    python benchmarks/learned_prompts/run.py trec --data DIR --steps 100 --only soft prefix steering loreft
    python benchmarks/learned_prompts/run.py sst2 --data DIR --whole --steps 60 --seeds 1 --limit 0 --only soft prefix
    python benchmarks/learned_prompts/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
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
from promptkit.training.result import TrainingResult

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
ZERO, SHOTS, CALIBRATED = "zero-shot", "16-shot", "16-shot, batch-calibrated"
FIXED = (ZERO, SHOTS, CALIBRATED)
TEXTS = {
    "sst2": "Classify the sentiment of this review as negative or positive.",
    "trec": "Classify this question by the kind of answer that it asks for.",
}
"""Initial texts of soft prompts and prefixes."""
LENGTH = 10
STEPS = 30
"""Default number of training steps."""
EVALUATIONS = 6
"""Number of evaluations on dev in a training run."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A learned manipulation and its training settings."""

    manipulation: Any
    optimizer: Any = None
    share: float = 1.0
    """Fraction of the study's steps; smaller for methods that evaluate many candidates per step."""


def kinds(task: str, seed: int) -> dict[str, Setup]:
    """Returns the manipulations by their name on the command line."""
    text = TEXTS.get(task, "vocabulary")
    return {
        "soft": Setup(manipulation=pk.SoftPrompt(LENGTH, init=text, seed=seed)),
        "prefix": Setup(manipulation=pk.Prefix(LENGTH, init=text, seed=seed)),
        "steering": Setup(manipulation=pk.SteeringVector()),
        "loreft": Setup(manipulation=pk.LoReFT(seed=seed)),
        "trigger-tokens": Setup(manipulation=pk.TriggerTokens(seed=seed), share=1 / 3),
        "soft, spsa": Setup(manipulation=pk.SoftPrompt(LENGTH, init=text, seed=seed), optimizer=pk.Spsa()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=("sst2", "trec"), help="tasks")
    parser.add_argument("--data", type=Path, help="folder with sst2/ and trec/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the model, such as dtype=bfloat16")
    parser.add_argument("--only", nargs="+", default=[*kinds("", 0)], help="the manipulations to train")
    parser.add_argument("--limit", default=200, type=int, help="number of evaluated rows; 0 for all")
    parser.add_argument("--per-class", default=16, type=int, help="labeled rows per class")
    parser.add_argument("--dev", default=32, type=int, help="labeled rows for choosing the step")
    parser.add_argument("--whole", action="store_true", help="train on the entire pool, with 128 dev rows")
    parser.add_argument("--steps", default=STEPS, type=int)
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results_NAME.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    if options.readme:
        for path in sorted(options.results.glob("results_*.json")):
            name = path.stem.removeprefix("results_")
            update_readme(options.results / "README.md", {name: table(json.loads(path.read_text("utf-8")))})
        return
    model = pk.load(options.model, **dict(setting.split("=", 1) for setting in options.set))
    for task in options.names:
        name = f"{task}_whole" if options.whole else task if options.steps == STEPS else f"{task}_{options.steps}_steps"
        path = options.results / f"results_{name}.json"
        path.write_text(json.dumps(on_task(pk.task(task, data=options.data), model, options), indent=1) + "\n", "utf-8")
        results = json.loads(path.read_text("utf-8"))
        print(f"{name}\n\n{table(results)}\n", flush=True)
        update_readme(options.results / "README.md", {name: table(results)})


def on_task(task: pk.Task, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates each manipulation at each seed, one seed after another."""
    runs: dict[str, list[pk.Run]] = {}
    fits: dict[str, list[TrainingResult]] = {}
    for seed in range(options.seeds):
        for name, predictor in fixed_prompts(task, model, seed).items():
            runs.setdefault(name, []).append(evaluate(predictor, task, options))
        for name in options.only:
            fit = train(kinds(task.name, seed)[name], task, model, options, seed)
            fits.setdefault(name, []).append(fit)
            runs.setdefault(name, []).append(evaluate(fit.predictor, task, options))
            print(f"{task.name}, seed {seed}, {name}: {np.mean(runs[name][-1].results[0].correct):.3f}", flush=True)
    values = metrics({name: [run.results[0].correct for run in by_seed] for name, by_seed in runs.items()})
    first = runs[ZERO][0]
    return {
        "task": task.name,
        "rows": len(first.ids),
        "labels": len(first.labels),
        "labeled": dict(next(iter(fits.values()))[0].rows),
        "seeds": options.seeds,
        "model": first.model,
        "kinds": {name: {**values[name], **cost(fits.get(name, ()))} for name in runs},
        "versions": {package: version(package) for package in ("torch", "transformers")} | {"promptkit": pk.__version__},
    }


def fixed_prompts(task: pk.Task, model: Any, seed: int) -> dict[str, pk.Predictor]:
    """Returns the predictors with prompts that are not trained."""
    plain, reader = pk.Prompt(task.spec.template), reader_for(task)
    with_demos = pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=16, seed=seed))
    return {
        ZERO: pk.Predictor(model, plain, [reader]),
        SHOTS: pk.Predictor(model, with_demos, [reader]),
        CALIBRATED: pk.Predictor(model, with_demos, [reader, pk.calibrate.Batch()]),
    }


def train(setup: Setup, task: pk.Task, model: Any, options: argparse.Namespace, seed: int) -> TrainingResult:
    """Trains a manipulation, or reads the result of a finished training run."""
    predictor = pk.Predictor(model, [pk.Prompt(task.spec.template), setup.manipulation], [reader_for(task)])
    rows = {"per_class": None, "dev": 128} if options.whole else {"per_class": options.per_class, "dev": options.dev}
    steps, eval_every = (max(1, round(setup.share * count)) for count in (options.steps, options.steps // EVALUATIONS))
    return pk.train(
        predictor, task, **rows, optimizer=setup.optimizer, steps=steps, eval_every=eval_every, seed=seed, out=options.out
    )


def evaluate(predictor: pk.Predictor, task: pk.Task, options: argparse.Namespace) -> pk.Run:
    return pk.evaluate([predictor], task, limit=options.limit or None, out=options.out)


def metrics(correct: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Returns accuracy and gain over the zero-shot prompt, paired by row, with intervals over rows and seeds."""
    weights = resamples(len(correct[ZERO][0]))
    values = {name: np.array([mean_of(rows_of_seed)(weights) for rows_of_seed in by_seed]) for name, by_seed in correct.items()}
    rows = weights.shape[1]
    return {
        name: {
            "accuracy": asdict(interval(value, rows, (0.0, 1.0))),
            "gain": asdict(interval(value - values[ZERO], rows, (-1.0, 1.0))),
            "by_seed": [round(float(seed), 4) for seed in value[:, 0]],
        }
        for name, value in values.items()
    }


def cost(fits: Sequence[TrainingResult]) -> dict[str, Any]:
    """Returns the number of parameters, steps, computed rows (mean over seeds) and seconds (median over seeds)."""
    if not fits:
        return {}
    return {
        "trainable": fits[0].trainable,
        "steps": [len(fit.losses) for fit in fits],
        "best_step": [fit.best.step for fit in fits],
        "rows_computed": round(float(np.mean([sum(fit.rows_computed.values()) for fit in fits]))),
        "seconds": round(float(np.median([fit.seconds for fit in fits])), 1),
        "dev": [[asdict(evaluation) for evaluation in fit.dev_evaluations] for fit in fits],
    }


def table(results: Mapping[str, Any]) -> str:
    """Returns one line for each manipulation, sorted by accuracy."""
    lines = [
        "| manipulation | accuracy | gain over zero-shot | parameters | rows computed | seconds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, values in sorted(results["kinds"].items(), key=lambda pair: pair[1]["accuracy"]["value"]):
        gain = "" if name == ZERO else format_interval(values["gain"], sign="+")
        costs = [values.get("trainable", ""), values.get("rows_computed", ""), values.get("seconds", "")]
        title = name if name in FIXED else f"`{name}`"
        lines.append(f"| {title} | {format_interval(values['accuracy'])} | {gain} | {' | '.join(map(str, costs))} |")
    rows = results["labeled"]
    setting = f"{results['rows']} test rows, {results['labels']} labels; trained on {rows['pool']} rows, {rows['dev']} of dev"
    versions = format_versions(results["versions"])
    return "\n".join([*lines, "", f"{setting}, {results['seeds']} seeds; `{results['model']}`. {versions}."])


if __name__ == "__main__":
    main()
