"""Compares aligners learned from 16 labeled rows per class with the manual verbalizer and with other baselines.

For each task there is one pass without demonstrations and one with 8. Every aligner is fitted on the outputs of the pass, once
for each seed, which selects the labeled rows. An interrupted run resumes; a finished one is read from disk.

    python benchmarks/alignment_learned/run.py --data DIR --encoder encoder:FOLDER [trec] [sst2] [banking77]
    python benchmarks/alignment_learned/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS, reader_for
from promptkit.align.probes.linear import fit_probe
from promptkit.classical.majority import majority
from promptkit.classical.tfidf import text_regression
from promptkit.collect.requirements import fit_part, select_fit_rows
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.registry import build
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.metrics.intervals import mean_of, resamples
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.studies.measures import interval
from promptkit.tasks.sampling import by_hash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
TASKS = ("trec", "sst2", "banking77")
LEARNED = (  # alpha=1000: all tokens
    *("random-map", "semantic", "frequency", "blm", "blm:lap=0", "blm:over=logprobs", "blm+"),
    *("blm+:lap=0:alpha=1000", "blm+:lap=0:alpha=1000:manual=0.02", "automatic"),
    *("knn", "soft-verbalizer", "linear:on=words", "linear:on=tokens"),
    *(f"{name}{layer}" for name in ("prototypical", "hidden", "linear") for layer in (":layer=-1", ":layer=0.6", "")),
)
MANUAL = "manual verbalizer"
Correct = Mapping[str, Sequence[Any]]
"""Name -> for each seed, whether each row is correct, shape (N,)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--data", type=Path, help="folder with trec/, sst2/ and banking77/")
    parser.add_argument("--encoder", help="model of the sentence embeddings: encoder:FOLDER")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--limit", default=300, type=int, help="number of evaluated rows")
    parser.add_argument("--per-class", default=16, type=int, help="labeled rows per class")
    parser.add_argument("--seeds", default=3, type=int, help="number of samples of the labeled rows")
    parser.add_argument("--shots", nargs="+", default=[0, 8], type=int, help="numbers of demonstrations, one pass each")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results_TASK.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    for name in options.names:
        path = options.results / f"results_{name}.json"
        if not options.readme:
            start = time.perf_counter()
            results = on_task(pk.task(name, data=options.data), pk.load(options.model), options)
            results["seconds"] = round(time.perf_counter() - start, 1)
            path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        results = json.loads(path.read_text("utf-8"))
        print(f"{name}: {results['seconds']:.0f} s\n\n{table(results)}\n", flush=True)
        update_readme(options.results / "README.md", {name: table(results)})


def on_task(task: pk.Task, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the accuracy of every aligner and baseline over rows and seeds, and its gain over the manual verbalizer."""
    runs = {shots: one_pass(task, model, options, shots) for shots in options.shots}
    run = runs[options.shots[0]]
    baseline_results = baselines(task, options, run.ids, run.gold)
    versions = {package: version(package) for package in ("torch", "transformers", "scikit-learn")} | {
        "promptkit": pk.__version__
    }
    return {
        "task": task.name,
        "rows": len(run.ids),
        "labels": len(run.labels),
        "per_class": options.per_class,
        "seeds": options.seeds,
        "model": run.model,
        "without_a_language_model": [*baseline_results],
        "shots": {shots: metrics({**correct_rows(run, options.seeds), **baseline_results}) for shots, run in runs.items()},
        "versions": versions,
    }


def one_pass(task: pk.Task, model: Any, options: argparse.Namespace, shots: int) -> pk.Run:
    """Evaluates the manual verbalizer and each aligner at each seed."""
    first, prompt = reader_for(task), pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=shots))
    spellings = [f"{name}:per_class={options.per_class}:seed={seed}" for name in LEARNED for seed in range(options.seeds)]
    chains = [[first], *([first, build("calibration", CALIBRATIONS, spelling)] for spelling in spellings)]
    return pk.evaluate([pk.Predictor(model, prompt, chain) for chain in chains], task, limit=options.limit, out=options.out)


def correct_rows(run: pk.Run, seeds: int) -> Correct:
    """Returns the correct rows of the manual verbalizer, the same for each seed, and of each aligner."""
    plain, *learned = (result.correct for result in run.results)
    return {MANUAL: [plain] * seeds} | {name: learned[i * seeds : (i + 1) * seeds] for i, name in enumerate(LEARNED)}


def metrics(correct: Correct) -> dict[str, Any]:
    """Returns accuracy and gain with intervals over rows and seeds."""
    weights = resamples(len(correct[MANUAL][0]))
    values = {name: np.array([mean_of(rows_of_seed)(weights) for rows_of_seed in by_seed]) for name, by_seed in correct.items()}
    rows = weights.shape[1]
    return {
        name: {
            "accuracy": asdict(interval(value, rows, (0.0, 1.0))),
            "gain": asdict(interval(value - values[MANUAL], rows, (-1.0, 1.0))),
            "by_seed": [round(float(seed), 4) for seed in value[:, 0]],
        }
        for name, value in values.items()
    }


# ---- without a language model ----------------------------------------------------------------------------


def baselines(task: pk.Task, options: argparse.Namespace, ids: Sequence[str], gold: Sequence[str]) -> Correct:
    """Evaluates baselines that are fitted on the same rows as the aligners."""
    rows = {row.id: row for row in task.rows(task.spec.split)}
    items = [Example(id=row, inputs=rows[row].inputs) for row in ids]
    part = fit_part(by_hash(task.part("fit"), None), task.rows(task.spec.split))
    samples = [select_fit_rows((LabeledRows(options.per_class, s),), part) for s in range(options.seeds)]
    predictions: dict[str, list[Sequence[str]]] = {
        "majority of the pool": [[majority(task.pool(), task.labels)] * len(items)] * options.seeds,
        "TF-IDF + logistic regression": [text_regression(labeled, items) for labeled in samples],
    }
    if options.encoder:
        encoder = CachedModel(pk.load(options.encoder), ScoreCache())
        vectors = embed(encoder, items)
        predictions["sentence embeddings + logistic regression"] = [
            predict_by_probe(task.labels, labeled, embed(encoder, labeled), vectors) for labeled in samples
        ]
    return {
        name: [np.array([*map(str.__eq__, item, gold)], float) for item in by_seed] for name, by_seed in predictions.items()
    }


def embed(encoder: CachedModel, rows: Sequence[Example]) -> Any:
    """Returns the encoder's vectors of the rows' texts, shape (rows, width)."""
    tokenizer, longest = encoder.card.tokenizer, encoder.card.context_length
    texts = [tokenizer.bos + tokenizer.encode("\n".join(row.inputs.values())).ids for row in rows]
    verb = Read(hidden_layer=-1, mean_from=len(tokenizer.bos))
    outputs = encoder([Request(input=TextInput(ids=ids[:longest]), verb=verb) for ids in texts])
    return np.array(
        [output.hidden.numpy() for output in outputs if isinstance(output, ReadOutput) and output.hidden is not None], float
    )


def predict_by_probe(labels: Sequence[str], rows: Sequence[LabeledExample], vectors: Any, queries: Any) -> list[str]:
    """Fits the probe that `linear` uses on sentence embeddings and returns its predictions."""
    gold = np.array([labels.index(row.label) for row in rows])
    return [labels[best] for best in fit_probe(vectors, gold, len(labels))(queries).argmax(1)]


# ---- the tables --------------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """Returns one line for each aligner or baseline, sorted by accuracy in the last pass."""
    passes, baseline_names = results["shots"], results["without_a_language_model"]
    last = [*passes.values()][-1]
    heads = [f"{shots} shots | gain" for shots in passes]
    lines = [f"| aligner | {' | '.join(heads)} |", "|---" + "|---:" * 2 * len(passes) + "|"]
    for name in sorted(last, key=lambda name: last[name]["accuracy"]["value"]):
        cell = f"*{name}*" if name in baseline_names else MANUAL if name == MANUAL else f"`{name}`"
        cells = [cell for result in passes.values() for cell in cells_of(result[name], with_gain=name != MANUAL)]
        lines.append(f"| {cell} | {' | '.join(cells)} |")
    setting = f"{results['rows']} test rows, {results['labels']} labels, {results['per_class']} labeled rows of each"
    versions = format_versions(results["versions"])
    return "\n".join([*lines, "", f"{setting}, {results['seeds']} samples of them; `{results['model']}`. {versions}."])


def cells_of(result: Mapping[str, Any], *, with_gain: bool) -> tuple[str, str]:
    return format_interval(result["accuracy"]), format_interval(result["gain"], sign="+") if with_gain else ""


if __name__ == "__main__":
    main()
