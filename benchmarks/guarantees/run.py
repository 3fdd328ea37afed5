"""Measures whether certified error rates, label sets and notes on drift are true; writes results.json and README.md.

For each of 200 random splits of a task, statements are made from the labeled rows and compared with the new rows.

    python benchmarks/guarantees/run.py --data DIR
    python benchmarks/guarantees/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.predictor.decide.abstain import answers
from promptkit.predictor.decide.drift import Drift
from promptkit.predictor.decide.label_sets import conformal
from promptkit.predictor.decide.risk import certify
from promptkit.predictor.out_of_fold import OutOfFold

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
TASKS = {"sst2": 600, "ag_news": 600, "trec": 500}
"""The number of rows that the language model predicts."""
RISKS, LEVELS, FOLDS, SPLITS = (0.05, 0.1, 0.2), (0.8, 0.9, 0.95), 5, 200
LABELED, NEW = 200, 1000
"""Labeled rows of a split, and new rows of a cross-fitted classifier; all other rows of the language model are new."""

Split = tuple[OutOfFold, OutOfFold]
"""The labeled rows and the new rows of a split."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with sst2/, ag_news/ and trec/")
    parser.add_argument("--splits", default=SPLITS, type=int, help="number of random splits")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    file = options.results / "results.json"
    if not options.readme:
        figures = [
            {"task": name, "rows": kind, **measured(splits(name, options), options.splits)}
            for kind, splits in (("held out", held_out), ("cross-fitted", cross_fitted))
            for name in TASKS
        ]
        versions = {"promptkit": pk.__version__}
        versions |= {package: version(package) for package in ("torch", "transformers", "scikit-learn", "scipy")}
        file.write_text(
            json.dumps({"versions": versions, "splits": options.splits, "tasks": figures}, indent=1) + "\n", "utf-8"
        )
    results = json.loads(file.read_text("utf-8"))
    sections = {name: list(table(results["tasks"])) for name, table in TABLES.items()}
    update_readme(options.results / "README.md", {**sections, "versions": format_versions(results["versions"])})


def held_out(name: str, options: argparse.Namespace) -> Iterator[Split]:
    """Yields splits of rows that a probe of the language model predicts; it was fitted on none of them."""
    task = pk.task(name, data=options.data)
    predictor = pk.Predictor(
        pk.load("demo"), pk.Prompt(task.spec.template), [pk.Verbalizer(task.spec.labels), pk.probes.LinearProbe()]
    )
    run = pk.evaluate(predictor, task, limit=TASKS[name], out=options.out)
    rows = OutOfFold.of_metric_input(run.results[-1].metric_input, run.labels)
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(len(rows))
        yield take(rows, order[:LABELED]), take(rows, order[LABELED:])


def cross_fitted(name: str, options: argparse.Namespace) -> Iterator[Split]:
    """Yields splits whose labeled rows TF-IDF with logistic regression predicts out of fold, and is then fitted on."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    task = pk.task(name, data=options.data)
    rows = [*task.rows("train"), *task.rows("test")]
    texts = np.array(["\n".join(row.texts.values()) for row in rows])
    gold = np.array([task.labels.index(row.label) for row in rows])
    generator = np.random.default_rng(0)
    classifier = make_pipeline(TfidfVectorizer(token_pattern=r"\w+"), LogisticRegression(C=10, max_iter=1000))
    while True:
        order = generator.permutation(len(rows))[: LABELED + NEW]
        old, new = order[:LABELED], order[LABELED:]
        if len(set(gold[old])) < len(task.labels):
            continue  # a label without any labeled row
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        out_of_fold = cross_val_predict(classifier, texts[old], gold[old], cv=folds, method="predict_proba")
        final = classifier.fit(texts[old], gold[old]).predict_proba(texts[new])
        yield tuple(
            OutOfFold(labels=task.labels, gold=gold[index], probabilities=probabilities, folds=FOLDS)
            for index, probabilities in ((old, out_of_fold), (new, final))
        )


def take(rows: OutOfFold, index: np.ndarray) -> OutOfFold:
    return OutOfFold(labels=rows.labels, gold=rows.gold[index], probabilities=rows.probabilities[index])


def measured(splits: Iterator[Split], count: int) -> dict[str, Any]:
    """Returns the figures of the first `count` splits."""
    chosen = [next(splits) for _ in range(count)]
    labeled, new = chosen[0]
    return {
        "labeled": len(labeled),
        "new": len(new),
        "accuracy": fmean(float(rows.correct.mean()) for _, rows in chosen),
        "risks": [risk_figures(chosen, risk) for risk in RISKS],
        "sets": [set_figures(chosen, level) for level in LEVELS],
        "drift": sum(bool(drift(*split)) for split in chosen) / count,
    }


def risk_figures(splits: list[Split], risk: float) -> dict[str, float]:
    """Returns how often a risk was certified, and how often the error rate of the answers to new rows was above it."""
    rates, coverages = [], []
    for labeled, new in splits:
        try:
            threshold = certify(labeled, risk).threshold
        except InputError:
            continue
        answered = answers(new.probabilities, threshold)
        coverages.append(float(answered.mean()))
        rates.append(float((answered & ~new.correct).sum() / max(1, answered.sum())))
    return {
        "risk": risk,
        "certified": len(rates) / len(splits),
        "answered": fmean(coverages) if rates else 0.0,
        "error_rate": fmean(rates) if rates else 0.0,
        "exceeded": sum(rate > risk for rate in rates) / len(splits),
    }


def set_figures(splits: list[Split], level: float) -> dict[str, float]:
    """Returns how often sets contain the right label, and how many labels they have."""
    members = [(new, conformal(labeled, level).members(new.probabilities)) for labeled, new in splits]
    return {
        "level": level,
        "contained": fmean(float(sets[np.arange(len(new)), new.gold].mean()) for new, sets in members),
        "labels": fmean(float(sets.sum(1).mean()) for _, sets in members),
    }


def drift(labeled: OutOfFold, new: OutOfFold) -> tuple[str, ...]:
    comparison = Drift(labeled)
    comparison.add(new.probabilities)
    return comparison.notes()


def risk_table(tasks: list[dict[str, Any]]) -> Iterator[str]:
    yield "| task | labeled rows | accuracy | risk | certified | answered | wrong | above the risk |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for task in tasks:
        for figures in task["risks"]:
            shares = " | ".join(f"{figures[name]:.1%}" for name in ("certified", "answered", "error_rate", "exceeded"))
            rows = f"{task['labeled']} {task['rows']}"
            yield f"| {task['task']} | {rows} | {task['accuracy']:.3f} | {figures['risk']:.0%} | {shares} |"


def set_table(tasks: list[dict[str, Any]]) -> Iterator[str]:
    yield "| task | labeled rows | level | contained | labels in a set |"
    yield "|---|---|---:|---:|---:|"
    for task in tasks:
        for figures in task["sets"]:
            yield (
                f"| {task['task']} | {task['labeled']} {task['rows']} | {figures['level']:.0%} | {figures['contained']:.1%} | "
                f"{figures['labels']:.2f} |"
            )


def drift_table(tasks: list[dict[str, Any]]) -> Iterator[str]:
    yield "| task | labeled rows | new rows | splits with a note |"
    yield "|---|---|---:|---:|"
    for task in tasks:
        yield f"| {task['task']} | {task['labeled']} {task['rows']} | {task['new']} | {task['drift']:.1%} |"


TABLES: dict[str, Callable[[list[dict[str, Any]]], Iterator[str]]] = {
    "risk": risk_table,
    "sets": set_table,
    "drift": drift_table,
}

if __name__ == "__main__":
    main()
