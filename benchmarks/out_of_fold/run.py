"""Measures whether the accuracy on new rows is in the interval of the out-of-fold estimate; writes results.json and README.md.

python benchmarks/out_of_fold/run.py --data DIR
python benchmarks/out_of_fold/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import promptkit as pk
from promptkit.classical.baseline import Rows, predicted
from promptkit.classical.tfidf import TfidfRegression
from promptkit.core.examples import LabeledExample
from promptkit.core.seeding import hash_rank
from promptkit.metrics.intervals import Estimate, mean_share, wilson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
LABELED, NEW, FOLDS = 100, 1000, 5
NO_MODEL = "TF-IDF, no model"
"""The setting that evaluates the baseline of every run."""
ROWS = 1400
"""The number of different rows of a task that labeled and new rows are drawn from, to limit the model's work."""

Predictors = Callable[[pk.Task], pk.Predictor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A way to predict, and the tasks on which it is measured."""

    name: str
    tasks: tuple[str, ...]
    draws: int
    """Number of random draws of the labeled and the new rows."""
    predictor: Predictors | None
    """Returns the predictor; None for TF-IDF with logistic regression, the baseline of every run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with sst2/, ag_news/, trec/, rte/ and function_vectors/")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--draws", type=int, help="number of draws, if it differs from that of the setting")
    parser.add_argument("--new", type=int, default=NEW, help="number of new rows")
    parser.add_argument("--only", help="a setting, if not all are measured")
    parser.add_argument("--tasks", nargs="+", help="the tasks, if not all of the setting are measured")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    file = options.results / "results.json"
    if not options.readme:
        measure_all(file, options)
    results = json.loads(file.read_text("utf-8"))
    update_readme(
        options.results / "README.md",
        {"results": table(results["draws"]), "versions": f"{results['model']}. {format_versions(results['versions'])}."},
    )


# ---- the predictors ----------------------------------------------------------------------------------------


def settings(model: str) -> tuple[Setting, ...]:
    loaded = pk.load(model)
    labels = ("sst2", "ag_news", "trec", "rte")
    labels_balanced = ("sst2", "ag_news", "rte")  # 100 rows of trec contain too few with the label ABBR
    texts = ("function_vectors/antonym", "function_vectors/english-french")

    def probe(task: pk.Task) -> pk.Predictor:
        return pk.Predictor(loaded, pk.Prompt(task.spec.template), [verbalizer(task), pk.probes.LinearProbe()])

    def shots(task: pk.Task) -> pk.Predictor:
        prompt = pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=8))
        return pk.Predictor(loaded, prompt, verbalizer(task))

    def written(task: pk.Task) -> pk.Predictor:
        prompt = pk.Prompt(task.spec.template, demos=pk.demos.Random(k=5))
        return pk.Predictor(loaded, prompt, pk.extract.FirstLine(max_tokens=16))

    return (
        Setting(name=NO_MODEL, tasks=labels, draws=40, predictor=None),
        Setting(name="0 shots, `linear`", tasks=labels, draws=20, predictor=probe),
        Setting(name="8 shots", tasks=labels_balanced, draws=5, predictor=shots),
        Setting(name="5 shots", tasks=texts, draws=5, predictor=written),
    )


def verbalizer(task: pk.Task) -> pk.Verbalizer:
    return pk.Verbalizer({label: label for label in task.labels})


# ---- the measurement ---------------------------------------------------------------------------------------


def measure_all(file: Path, options: argparse.Namespace) -> None:
    """Adds the draws that the results do not have yet with this number of new rows."""
    packages = ("torch", "transformers", "scikit-learn")
    versions = {"promptkit": pk.__version__} | {package: version(package) for package in packages}
    known = json.loads(file.read_text("utf-8"))["draws"] if file.is_file() else []
    draws = {(each["setting"], each["task"], each["draw"]): each for each in known}
    for draw, setting, name in grid(options):
        key = (setting.name, name, draw)
        if key not in draws or draws[key]["rows"] != options.new:
            measured = measure(setting, name, draw, options)
            draws[key] = {"setting": setting.name, "task": name, "draw": draw, "rows": options.new, **measured}
            contents = {"model": options.model, "versions": versions, "draws": [draws[each] for each in sorted(draws)]}
            file.write_text(json.dumps(contents, indent=1) + "\n", "utf-8")


def grid(options: argparse.Namespace) -> Iterator[tuple[int, Setting, str]]:
    """Yields each draw of each setting and task, the first draw of all of them first."""
    chosen = [setting for setting in settings(options.model) if options.only in (None, setting.name)]
    for draw in range(options.draws or max(setting.draws for setting in chosen)):
        for setting in chosen:
            if draw < (options.draws or setting.draws):
                yield from ((draw, setting, name) for name in setting.tasks if name in (options.tasks or setting.tasks))


def measure(setting: Setting, name: str, draw: int, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the correct rows of each fold of one draw of labeled rows, and the accuracy on the new rows."""
    rows, new_rows = drawn(name, draw, options)
    assert len(new_rows) == options.new
    labeled = as_task(name, rows, options.data)
    if setting.predictor is None:
        parts = [labeled.fold(number, FOLDS) for number in range(1, FOLDS + 1)]
        divided = [([*part.pool(), *part.part("fit")], part.rows(part.spec.split)) for part in parts]
        return {"folds": [tfidf(*each) for each in divided], "new": tfidf(rows, new_rows)[0] / options.new}
    new = as_task(name, new_rows, options.data, train=rows)
    predictor = setting.predictor(labeled)
    run = pk.evaluate(predictor, labeled, folds=FOLDS, out=options.out)
    tested = pk.evaluate(predictor.fit(labeled), new, out=options.out)
    folds = correct_by_fold(run)
    for key, value in asdict(out_of_fold(folds)).items():
        assert isclose(value, main_figure(run)[key], abs_tol=1e-5)
    return {"folds": folds, "new": main_figure(tested)["value"]}


def tfidf(train: Rows, rows: Rows) -> tuple[int, int]:
    """Returns the number of rows that the regression on TF-IDF predicts correctly, and of all rows."""
    scores = TfidfRegression().predict(train, [row.unlabeled() for row in rows], ())
    return sum(predicted(each) == row.label for each, row in zip(scores, rows, strict=True)), len(rows)


def main_figure(run: pk.Run) -> dict[str, float]:
    """Returns the main metric of the last alignment, with its interval."""
    return dict(run.results[-1].metrics[run.main_metric.name])


def correct_by_fold(run: pk.Run) -> list[tuple[int, int]]:
    """Returns the number of correct rows and of all rows of each fold."""
    rows = run.results[-1].metric_input
    assert rows.folds is not None
    of_fold = [rows.correct[rows.folds == number] for number in range(1, FOLDS + 1)]
    return [(int(each.sum()), len(each)) for each in of_fold]


def out_of_fold(folds: Sequence[Sequence[int]]) -> Estimate:
    """Returns the accuracy that a run states, with its interval.

    Args:
        folds: The number of correct rows, and of all rows, of each fold.
    """
    correct = np.concatenate([np.arange(rows) < count for count, rows in folds]).astype(float)
    return mean_share(correct, np.repeat(np.arange(len(folds)), [rows for _, rows in folds]))


def drawn(name: str, draw: int, options: argparse.Namespace) -> tuple[list[LabeledExample], list[LabeledExample]]:
    """Returns labeled rows and new rows, drawn at random."""
    ordered = sorted(different_rows(name, options.data), key=lambda row: hash_rank(draw, "out of fold", row.id))
    return ordered[:LABELED], ordered[LABELED : LABELED + options.new]


@cache
def different_rows(name: str, data: Path) -> list[LabeledExample]:
    """Returns a random part of the different rows of all labeled splits of a task."""
    task = pk.task(name, data=data)
    splits = ("train", "validation") if name == "rte" else ("train", "test")
    rows = {row.content: row for split in splits for row in task.rows(split)}
    return sorted(rows.values(), key=lambda row: hash_rank(0, "rows", row.id))[:ROWS]


def as_task(name: str, rows: Rows, data: Path, train: Rows = ()) -> pk.Task:
    """Returns a task of one table, as a user's file is; with train rows, all of `rows` are its test rows."""
    task = pk.task(name, data=data)
    column = {"label": "label", "labels": task.labels} if task.labels else {"answer": "label"}
    inputs, table, train_table = list(rows[0].texts), as_table(rows), as_table(train) or None
    return pk.task(table, **column, inputs=inputs, template=task.spec.template, train=train_table, name=name.rpartition("/")[2])


def as_table(rows: Rows) -> list[dict[str, str]]:
    return [{**row.texts, "label": row.label} for row in rows]


# ---- the table ---------------------------------------------------------------------------------------------


def table(draws: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| predictor | task | new | out of fold | new rows | width | over rows | inside | inside, over rows |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for setting, name in dict.fromkeys((each["setting"], each["task"]) for each in draws):
        yield line(f"{setting} | {name}", [each for each in draws if (each["setting"], each["task"]) == (setting, name)])
    for title, has_model in (("all with the model", True), ("all without a model", False)):
        if chosen := [each for each in draws if (each["setting"] != NO_MODEL) == has_model]:
            yield line(f"{title} | ", chosen)


def line(title: str, draws: Sequence[Mapping[str, Any]]) -> str:
    estimates = [out_of_fold(each["folds"]) for each in draws]
    over_rows = [wilson(*map(sum, zip(*each["folds"], strict=True))) for each in draws]
    value, new = fmean(each.value for each in estimates), fmean(each["new"] for each in draws)
    widths = " | ".join(f"{fmean(each.high - each.low for each in intervals):.2f}" for intervals in (estimates, over_rows))
    counts = " | ".join(inside(intervals, draws) for intervals in (estimates, over_rows))
    sizes = sorted({each["rows"] for each in draws})
    rows = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"| {title} | {rows} | {value:.3f} | {new:.3f} | {widths} | {counts} |"


def inside(intervals: Sequence[Estimate], draws: Sequence[Mapping[str, Any]]) -> str:
    """Returns in how many draws the accuracy on new rows is in the interval, such as `4 of 5`."""
    count = sum(interval.low <= draw["new"] <= interval.high for interval, draw in zip(intervals, draws, strict=True))
    return f"{count} of {len(draws)}"


if __name__ == "__main__":
    main()
