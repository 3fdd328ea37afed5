"""Read-outs learned from 16 labeled rows a class, beside the manual verbalizer and what needs no language model.

Each task is a pass without demonstrations and one with 8: every read-out, at each of the seeds that choose the labeled rows,
is fitted on what that pass has read. A run that is stopped goes on where it was; a finished one is read.

    python benchmarks/alignment_learned/run.py --data DIR --encoder encoder:FOLDER [trec] [sst2] [banking77]
"""

from __future__ import annotations

import argparse
import json
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
from promptkit.core.alignment import Needs, PerClass
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.registry import build
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.evaluation.fit_rows import select_fit_rows
from promptkit.metrics.intervals import mean_of, resamples
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.studies.baseline_models import majority, regression
from promptkit.studies.measures import interval
from promptkit.tasks.sampling import by_hash

HERE = Path(__file__).resolve().parent
TASKS = ("trec", "sst2", "banking77")
READ_OUTS = (  # alpha=1000 is all tokens
    *("random-map", "semantic", "frequency", "blm", "blm:lap=0", "blm:over=logprobs", "blm+"),
    *("blm+:lap=0:alpha=1000", "blm+:lap=0:alpha=1000:manual=0.02", "automatic"),
    *("knn", "soft", "linear:on=words", "linear:on=tokens"),
    *(f"{name}{layer}" for name in ("prototypical", "hidden", "linear") for layer in (":layer=-1", ":layer=0.6", "")),
)
MANUAL = "manual verbalizer"
Correct = Mapping[str, Sequence[Any]]
"""Name -> for each seed, whether each row is right, shape (N,)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help=f"of {', '.join(TASKS)}")
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds trec/, sst2/ and banking77/")
    parser.add_argument("--encoder", help="whose sentence embeddings: encoder:FOLDER")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--limit", default=300, type=int, help="rows that are evaluated")
    parser.add_argument("--per-class", default=16, type=int, help="labeled rows of each label")
    parser.add_argument("--seeds", default=3, type=int, help="draws of the labeled rows")
    parser.add_argument("--shots", nargs="+", default=[0, 8], type=int, help="demonstrations, a pass each")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results_TASK.json and of README.md")
    told = parser.parse_args()
    model = pk.load(told.model)
    for name in told.names:
        began = time.perf_counter()
        results = on_task(pk.task(name, data=told.data), model, told)
        results["seconds"] = round(time.perf_counter() - began, 1)
        (told.results / f"results_{name}.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        results = json.loads((told.results / f"results_{name}.json").read_text("utf-8"))
        print(f"{name}: {results['seconds']:.0f} s\n\n{table(results)}\n", flush=True)
        renew_readme(told.results / "README.md", name, results)


def on_task(task: pk.Task, model: Any, told: argparse.Namespace) -> dict[str, Any]:
    """Every read-out and control: its accuracy over rows and seeds, and what it gains over the manual verbalizer."""
    runs = {shots: one_pass(task, model, told, shots) for shots in told.shots}
    run = runs[told.shots[0]]
    without = baselines(task, told, run.ids, run.gold)
    versions = {each: version(each) for each in ("torch", "transformers", "scikit-learn")} | {"promptkit": pk.__version__}
    return {
        "task": task.name,
        "rows": len(run.ids),
        "labels": len(run.labels),
        "per_class": told.per_class,
        "seeds": told.seeds,
        "model": run.model,
        "without_a_language_model": [*without],
        "shots": {shots: figures({**right(each, told.seeds), **without}) for shots, each in runs.items()},
        "versions": versions,
    }


def one_pass(task: pk.Task, model: Any, told: argparse.Namespace, shots: int) -> pk.Run:
    """The manual verbalizer, and each read-out at each seed."""
    first, prompt = reader_for(task), pk.Prompt(task.spec.template, demos=pk.demos.balanced(k=shots))
    chosen = [f"{name}:per_class={told.per_class}:seed={seed}" for name in READ_OUTS for seed in range(told.seeds)]
    aligned = [[first], *([first, build("calibration", CALIBRATIONS, spelling)] for spelling in chosen)]
    return pk.evaluate([pk.Predictor(model, prompt, each) for each in aligned], task, limit=told.limit, out=told.out)


def right(run: pk.Run, seeds: int) -> Correct:
    """Of the manual verbalizer, which is the same whatever the seed, and of each read-out."""
    plain, *learned = (result.correct for result in run.results)
    return {MANUAL: [plain] * seeds} | {name: learned[i * seeds : (i + 1) * seeds] for i, name in enumerate(READ_OUTS)}


def figures(correct: Correct) -> dict[str, Any]:
    """Intervals are over rows and seeds."""
    weights = resamples(len(correct[MANUAL][0]))
    values = {name: np.array([mean_of(each)(weights) for each in by_seed]) for name, by_seed in correct.items()}
    rows = weights.shape[1]
    return {
        name: {
            "accuracy": asdict(interval(each, rows, (0.0, 1.0))),
            "gain": asdict(interval(each - values[MANUAL], rows, (-1.0, 1.0))),
            "by_seed": [round(float(seed), 4) for seed in each[:, 0]],
        }
        for name, each in values.items()
    }


# ---- without a language model ----------------------------------------------------------------------------


def baselines(task: pk.Task, told: argparse.Namespace, ids: Sequence[str], gold: Sequence[str]) -> Correct:
    """Fitted on the very rows that the read-outs are fitted on."""
    rows = {row.id: row for row in task.rows(task.spec.split)}
    items = [Example(id=row, inputs=rows[row].inputs) for row in ids]
    fit, evaluated = by_hash(task.part("fit"), None), task.rows(task.spec.split)
    drawn = [select_fit_rows(Needs(labeled=(PerClass(told.per_class, s),)), fit, evaluated) for s in range(told.seeds)]
    said: dict[str, list[Sequence[str]]] = {
        "majority of the pool": [[majority(task.pool(), task.labels)] * len(items)] * told.seeds,
        "TF-IDF + logistic regression": [regression(labeled, items) for labeled in drawn],
    }
    if told.encoder:
        encoder = CachedModel(pk.load(told.encoder), ScoreCache())
        vectors = embedded(encoder, items)
        said["sentence embeddings + logistic regression"] = [
            probed(task.labels, labeled, embedded(encoder, labeled), vectors) for labeled in drawn
        ]
    return {name: [np.array([*map(str.__eq__, each, gold)], float) for each in by_seed] for name, by_seed in said.items()}


def embedded(ask: CachedModel, rows: Sequence[Example]) -> Any:
    """The encoder's vectors of rows' texts, shape (rows, width)."""
    tokenizer, longest = ask.card.tokenizer, ask.card.context_length
    texts = [tokenizer.bos + tokenizer.encode("\n".join(row.inputs.values())).ids for row in rows]
    verb = Read(hidden_layer=-1, mean_from=len(tokenizer.bos))
    outputs = ask([Request(input=TextInput(ids=ids[:longest]), verb=verb) for ids in texts])
    return np.array(
        [output.hidden.numpy() for output in outputs if isinstance(output, ReadOutput) and output.hidden is not None], float
    )


def probed(labels: Sequence[str], rows: Sequence[LabeledExample], vectors: Any, queries: Any) -> list[str]:
    """The probe that `linear` is of hidden states, of sentence embeddings."""
    gold = np.array([labels.index(row.label) for row in rows])
    return [labels[best] for best in fit_probe(vectors, gold, len(labels))(queries).argmax(1)]


# ---- the tables --------------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """A line a read-out or control, by its accuracy in the last pass."""
    passes, without = results["shots"], results["without_a_language_model"]
    last = [*passes.values()][-1]
    heads = [f"{shots} shots | gain" for shots in passes]
    lines = [f"| read-out | {' | '.join(heads)} |", "|---" + "|---:" * 2 * len(passes) + "|"]
    for name in sorted(last, key=lambda each: last[each]["accuracy"]["value"]):
        shown = f"*{name}*" if name in without else MANUAL if name == MANUAL else f"`{name}`"
        cells = [cell for found in passes.values() for cell in cells_of(found[name], gained=name != MANUAL)]
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    told = f"{results['rows']} test rows, {results['labels']} labels, {results['per_class']} labeled rows of each"
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return "\n".join([*lines, "", f"{told}, {results['seeds']} draws of them; `{results['model']}`. {versions}."])


def cells_of(found: Mapping[str, Any], *, gained: bool) -> tuple[str, str]:
    return estimate(found["accuracy"]), estimate(found["gain"], "+") if gained else ""


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
