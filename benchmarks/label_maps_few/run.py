"""Compares label maps on a language model with few labeled rows: the full map towards the verbalizer, and other aligners.

Each task is evaluated once, without demonstrations. Everything is then fitted on the outputs of that run: for each number of
labeled rows per label, on several draws of them. An interrupted run resumes.

    python benchmarks/label_maps_few/run.py --data DIR --encoder encoder:FOLDER [trec] [sst2] [ag_news] [banking77]
    python benchmarks/label_maps_few/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS, reader_for
from promptkit.align.probes.linear import fit_probe
from promptkit.analysis.realign import align
from promptkit.classical.tfidf import text_regression
from promptkit.collect.requirements import fit_part, select_fit_rows
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.registry import build, spelling
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.core.seeding import hash_rank
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.runs.finished import read_rows
from promptkit.tasks.sampling import by_hash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
TASKS = ("sst2", "trec", "ag_news", "banking77")
SIZES = (1, 2, 4, 8, 16)
"""Numbers of labeled rows per label."""
TRAIN_ROWS_PER_LABEL = {"banking77": 100}
"""Task -> train rows to keep of each label, since scoring 77 labels takes long. A fifth of them is the fit part."""
TRAIN_ROWS_FROM_TEST = {"ag_news": 4000}
"""The mirror of AG News has 64 different train rows, so some test rows become its train split."""
HIDDEN_STATES_ARE_READ = ("sst2", "trec")
"""Tasks for which hidden states and embeddings of names are read too."""
MAPS = (
    *("full:towards=verbalizer", "full:towards=verbalizer:shares=labeled", "full"),
    *("linear:on=tokens", "linear", "blm+", "full:towards=semantic", "semantic"),
)
ZERO = ("full:towards=verbalizer", "full:towards=semantic")
"""Maps that can be used without labeled rows."""
TFIDF, ENCODER = "TF-IDF + logistic regression", "sentence embeddings + logistic regression"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--data", type=Path, help="folder with sst2/, trec/, ag_news/ and banking77/")
    parser.add_argument("--encoder", help="model of the sentence embeddings: encoder:FOLDER")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--limit", default=250, type=int, help="number of evaluated rows")
    parser.add_argument("--draws", default=5, type=int, help="number of draws of the labeled rows")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--runs", action="store_true", help="fit on the newest finished runs in --out; no model is loaded")
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results_TASK.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    for name in () if options.readme else options.names:
        task = pk.task(name, data=mirror(name, options.data, options.out / "data"))
        run = newest_run(options.out, name) if options.runs else one_pass(task, options)
        results = on_task(task, run, options)
        (options.results / f"results_{name}.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(f"{name}\n\n{table(results)}\n", flush=True)
    files = {name: options.results / f"results_{name}.json" for name in TASKS}
    tables = {name: table(json.loads(file.read_text("utf-8"))) for name, file in files.items() if file.is_file()}
    update_readme(options.results / "README.md", tables)


# ---- the runs ----------------------------------------------------------------------------------------------


def mirror(name: str, data: Path, out: Path) -> Path:
    """Returns the folder of the task's rows: `data`, or a folder in `out` with a changed train split."""
    if name not in TRAIN_ROWS_PER_LABEL and name not in TRAIN_ROWS_FROM_TEST:
        return data
    train, test = ((data / name / f"{split}.jsonl").read_text("utf-8").splitlines() for split in ("train", "test"))
    if name in TRAIN_ROWS_FROM_TEST:
        test = sorted(test, key=lambda line: hash_rank(0, "label_maps_few", line))
        train, test = test[: TRAIN_ROWS_FROM_TEST[name]], test[TRAIN_ROWS_FROM_TEST[name] :]
    else:
        train = first_of_each_label(train, TRAIN_ROWS_PER_LABEL[name])
    (out / name).mkdir(parents=True, exist_ok=True)
    for split, lines in (("train", train), ("test", test)):
        (out / name / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return out


def first_of_each_label(lines: Sequence[str], most: int) -> list[str]:
    """Returns at most `most` rows of each label, by hash."""
    counts: Counter[int] = Counter()
    kept = []
    for line in sorted(lines, key=lambda line: hash_rank(0, "label_maps_few", line)):
        label = json.loads(line)["label"]
        counts[label] += 1
        if counts[label] <= most:
            kept.append(line)
    return kept


def one_pass(task: pk.Task, options: argparse.Namespace) -> Path:
    """Evaluates the task with everything that the maps need, and returns the folder of the run."""
    model, first, prompt = pk.load(options.model), reader_for(task), pk.Prompt(task.spec.template)
    names = ["linear:on=tokens", *(["linear", "semantic"] if task.name in HIDDEN_STATES_ARE_READ else [])]
    learned = [drawn(name, size, draw) for size in SIZES for draw in range(options.draws) for name in names]
    chains = [[first, build("calibration", CALIBRATIONS, each)] for each in [*learned, "batch", affine(task, max(SIZES))]]
    predictors = [pk.Predictor(model, prompt, chain) for chain in chains]
    return Path(pk.evaluate(predictors, task, limit=options.limit, out=options.out).path)


def newest_run(out: Path, name: str) -> Path:
    finished = [file.parent for file in out.glob(f"{name}-*/summary.json")]
    return max(finished, key=lambda folder: (folder / "summary.json").stat().st_mtime)


def drawn(name: str, size: int, draw: int) -> str:
    return spelling(build("calibration", CALIBRATIONS, f"{name}:per_class={size}:seed={draw}"))


def affine(task: pk.Task, size: int) -> str:
    """Returns `affine` on `size` rows per label in total, which are not drawn evenly from the labels."""
    return spelling(build("calibration", CALIBRATIONS, f"affine:rows={size * len(task.labels)}"))


# ---- accuracy ----------------------------------------------------------------------------------------------


def on_task(task: pk.Task, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the accuracy of each aligner and control: name -> number of labeled rows per label -> accuracy of each draw."""
    grid = [(size, draw) for size in SIZES for draw in range(options.draws)]
    spellings = {(name, size, draw): drawn(name, size, draw) for name in MAPS for size, draw in grid}
    spellings |= {(name, 0, 0): drawn(name, 0, 0) for name in ZERO}
    spellings |= {("affine", size, 0): affine(task, size) for size in SIZES}
    aligned = align(run, ",".join(["batch", *dict.fromkeys(spellings.values())]))
    accuracy = {result.align: float(result.correct.mean()) for result in aligned.results}
    by_size: dict[str, dict[int, list[float]]] = {
        "verbalizer": {0: [accuracy["verbalizer"]]},
        "batch": {0: [accuracy["batch"]]},
    }
    for (name, size, _), spelled in sorted(spellings.items(), key=lambda pair: pair[0][1:]):
        if spelled in accuracy:
            by_size.setdefault(name, {}).setdefault(size, []).append(accuracy[spelled])
    ids = [record["id"] for record in read_rows(run, frozenset({"id"}))[1]]
    versions = {package: version(package) for package in ("torch", "transformers", "scikit-learn")} | {
        "promptkit": pk.__version__
    }
    return {
        "task": task.name,
        "rows": len(ids),
        "gold": dict(Counter(aligned.gold)),
        "draws": options.draws,
        "model": aligned.model,
        "accuracy": by_size | controls(task, options, ids, aligned.gold),
        "versions": versions,
    }


def controls(
    task: pk.Task, options: argparse.Namespace, ids: Sequence[str], gold: Sequence[str]
) -> dict[str, dict[int, list[float]]]:
    """Evaluates classifiers without a language model that are fitted on the same rows as the maps."""
    rows = {row.id: row for row in task.rows(task.spec.split)}
    items = [Example(id=row, inputs=rows[row].inputs) for row in ids]
    part = fit_part(by_hash(task.part("fit"), None), task.rows(task.spec.split))
    grid = [(size, draw) for size in SIZES for draw in range(options.draws)]
    samples = {(size, draw): select_fit_rows((LabeledRows(size, draw),), part) for size, draw in grid}
    encoder = CachedModel(pk.load(options.encoder), ScoreCache()) if options.encoder else None
    texts = {row.id: row for row in [*items, *(row for sample in samples.values() for row in sample)]}
    vectors = {} if encoder is None else {row.id: vector for row, vector in embedded(encoder, [*texts.values()])}
    accuracy: dict[str, dict[int, list[float]]] = {TFIDF: {}} | ({ENCODER: {}} if encoder else {})
    for (size, _), labeled in samples.items():
        predictions = {TFIDF: text_regression(labeled, items)}
        if encoder:
            predictions[ENCODER] = predict_by_probe(task.labels, labeled, items, vectors)
        for name, labels in predictions.items():
            accuracy[name].setdefault(size, []).append(float(np.mean([*map(str.__eq__, labels, gold)])))
    return accuracy


def embedded(encoder: CachedModel, rows: Sequence[Example]) -> list[tuple[Example, Any]]:
    """Returns each row with the encoder's vector of its text."""
    tokenizer, longest = encoder.card.tokenizer, encoder.card.context_length
    texts = [tokenizer.bos + tokenizer.encode("\n".join(map(str, row.inputs.values()))).ids for row in rows]
    verb = Read(hidden_layer=-1, mean_from=len(tokenizer.bos))
    outputs = encoder([Request(input=TextInput(ids=ids[:longest]), verb=verb) for ids in texts])
    vectors = [output.hidden.numpy().astype(float) for output in outputs if isinstance(output, ReadOutput) and output.hidden]
    return [*zip(rows, vectors, strict=True)]


def predict_by_probe(
    labels: Sequence[str], labeled: Sequence[LabeledExample], items: Sequence[Example], vectors: Mapping[str, Any]
) -> list[str]:
    """Fits the probe that `linear` uses on sentence embeddings and returns its predictions."""
    features, queries = (np.array([vectors[row.id] for row in rows]) for rows in (labeled, items))
    probe = fit_probe(features, np.array([labels.index(row.label) for row in labeled]), len(labels))
    return [labels[best] for best in probe(queries).argmax(1)]


# ---- the tables --------------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """Returns one line for each aligner or control, with the mean accuracy over draws."""
    accuracy = {name: {int(size): draws for size, draws in row.items()} for name, row in results["accuracy"].items()}
    columns = sorted({size for row in accuracy.values() for size in row})
    lines = [f"| labeled rows per label | {' | '.join(map(str, columns))} |", "|---" + "|---:" * len(columns) + "|"]
    for name, row in accuracy.items():
        shown = f"*{name}*" if name in (TFIDF, ENCODER) else f"`{name}`"
        cells = [f"{np.mean(row[size]):.3f}" if size in row else "" for size in columns]
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    gold, total = results["gold"], sum(results["gold"].values())
    most = max(gold.values()) / total
    setting = f"{results['rows']} test rows with {len(gold)} different labels; {most:.0%} have the most frequent one"
    versions = format_versions(results["versions"])
    return "\n".join([*lines, "", f"{setting}. Means over {results['draws']} draws; `{results['model']}`. {versions}."])


if __name__ == "__main__":
    main()
