"""Tunes on 100 and 300 labeled rows of several tasks and compares the estimates with rows that tuning has not seen.

A run takes ten minutes, and an interrupted one continues. Results are added to results.json and to the table in README.md.

    python benchmarks/tune/run.py --data DIR
    python benchmarks/tune/run.py --data DIR --only trec-100,tickets-300
    python benchmarks/tune/run.py --readme    # only writes the table of the results into README.md
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.core.seeding import hash_rank

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
TASKS = ("sentiment", "sst2", "trec", "ag_news", "banking77", "tickets")
SIZES = (100, 300)
"""Numbers of labeled rows."""
MIN_PER_LABEL = 4
"""The fewest labeled rows of a label on average; a task with more labels is reduced to some of them."""
UNSEEN = 1000
"""The most rows that the estimate is compared with."""
BUDGET = "10m"
RESULTS = ("<!-- begin results -->", "<!-- end results -->", "<!-- begin versions -->", "<!-- end versions -->")

Rows = list[tuple[str, str]]
"""Texts with their labels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with sst2/, trec/, ag_news/ and banking77/; sentiment needs none")
    parser.add_argument("--only", default="", help="some of the runs, TASK-ROWS, separated by commas")
    parser.add_argument("--budget", default=BUDGET, help="budget of a run")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--unseen", default=UNSEEN, type=int, help="the most rows that the estimate is compared with")
    parser.add_argument("--sizes", default=SIZES, type=int, nargs="+", help="numbers of labeled rows")
    parser.add_argument("--out", default=Path("runs/tune"), type=Path, help="folder of the rows and the results of tuning")
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--rows", action="store_true", help="only write the files of the labeled and the unseen rows")
    parser.add_argument("--readme", action="store_true", help="only write the table of the results into README.md")
    options = parser.parse_args()
    if options.rows:
        for name in chosen(parser, options):
            write_rows(name, options)
        return
    file = options.results / "results.json"
    results = json.loads(file.read_text("utf-8")) if file.is_file() else {"versions": versions(), "runs": {}}
    for name in () if options.readme else chosen(parser, options):
        if name not in results["runs"]:
            results["runs"][name] = measured(name, options)
            file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(line(name, results["runs"][name]), flush=True)
    write_table(options.results / "README.md", results)


def chosen(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """Returns the names of the runs."""
    every = [f"{task}-{size}" for task in TASKS for size in options.sizes]
    names = options.only.split(",") if options.only else every
    if unknown := set(names) - set(every):
        parser.error(f"unknown runs: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    if options.data is None and any(not name.startswith("sentiment-") for name in names):
        parser.error("--data is needed for all runs but sentiment")
    return names


def versions() -> dict[str, str]:
    """Returns the versions of the packages that figures depend on."""
    packages = ("torch", "transformers", "scikit-learn")
    return {"promptkit": pk.__version__} | {package: version(package) for package in packages}


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Tunes on the rows of a run, and returns the figures."""
    task, folder, labeled = name.rpartition("-")[0], options.out / name, write_rows(name, options)
    tuned = pk.tune(
        folder / f"{task}.csv",
        label="label",
        template=None if task == "tickets" else pk.task(task, data=options.data).spec.template,
        model=options.model,
        budget=options.budget,
        test=str(folder / "unseen.csv"),
        out=folder,
    )
    result = tuned.result
    assert result.test is not None
    return {
        "model": options.model,
        "budget": options.budget,
        "labels": len({label for _, label in labeled}),
        "answered": result.answered,
        "winner": result.winner,
        "recommended": result.recommended,
        "estimate": result.recommended_estimate.model_dump(),
        "own_score": result.score,
        "unseen": result.test_rows,
        "accuracy": result.test.model_dump(),
        "baseline": result.baseline,
        "baseline_estimate": None if result.baseline_estimate is None else result.baseline_estimate.model_dump(),
        "difference": None if result.difference is None else result.difference.model_dump(),
        "requests": result.requests,
        "tokens": result.tokens,
        "seconds": round(tuned.seconds, 1),
    }


def write_rows(name: str, options: argparse.Namespace) -> Rows:
    """Writes the files of the labeled and the unseen rows of a run, and returns the labeled ones."""
    task, _, size = name.rpartition("-")
    labeled, unseen = rows_of(task, int(size), options)
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / f"{task}.csv", labeled)
    write_csv(folder / "unseen.csv", unseen)
    return labeled


# ---- the rows ----------------------------------------------------------------------------------------------


def rows_of(task: str, size: int, options: argparse.Namespace) -> tuple[Rows, Rows]:
    """Returns labeled rows and unseen rows, which have the same labels and different texts.

    The rows are the first ones in the order of a hash. Each label has at least two labeled rows.
    """
    train, test = tickets(options) if task == "tickets" else of_task(task, options.data)
    labels = sorted({label for _, label in train}, key=lambda label: hash_rank(0, "labels", label))
    kept = {*labels[: max(2, size // MIN_PER_LABEL)]}
    train, test = (ordered([row for row in rows if row[1] in kept], "rows") for rows in (train, test))
    if len(train) < size:  # sentiment, and the mirror of AG News, have few train rows
        train = ordered(distinct([*train, *test]), "rows")
        test = train
    by_label: dict[str, Rows] = defaultdict(list)
    for row in train:
        by_label[row[1]].append(row)
    first = [*chain.from_iterable(rows[:2] for rows in by_label.values())]
    labeled = [*first, *(row for row in train if row not in {*first})][:size]
    used = {text for text, _ in labeled}
    return ordered(labeled, "order"), [row for row in test if row[0] not in used][: options.unseen]


def of_task(task: str, data: Path | None) -> tuple[Rows, Rows]:
    """Returns the rows of the train and test split of a task, with the words of their labels."""
    loaded = pk.task(task, data=data)
    words = loaded.spec.labels
    splits = ([(" ".join(row.texts.values()), words[row.label]) for row in loaded.rows(split)] for split in ("train", "test"))
    train, test = map(distinct, splits)
    return train, test


def tickets(options: argparse.Namespace) -> tuple[Rows, Rows]:
    """Returns the labeled and the new tickets of `examples/tickets`."""
    folder = options.out / "tickets"
    script = HERE.parents[1] / "examples" / "tickets" / "make_data.py"
    subprocess.run([sys.executable, script, "--data", options.data, "--out", folder], check=True)
    return read_tickets(folder / "tickets.csv"), read_tickets(folder / "new_gold.csv")


def read_tickets(file: Path) -> Rows:
    with file.open(newline="", encoding="utf-8") as stream:
        return distinct([(row["message"], row["queue"]) for row in csv.DictReader(stream)])


def distinct(rows: Sequence[tuple[str, str]]) -> Rows:
    """Returns every text once, without those that have several labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    for text, label in rows:
        labels[text].add(label)
    return [(text, next(iter(found))) for text, found in labels.items() if len(found) == 1]


def ordered(rows: Rows, purpose: str) -> Rows:
    """Returns rows in the order of a hash of their texts."""
    return sorted(rows, key=lambda row: hash_rank(0, purpose, row[0]))


def write_csv(file: Path, rows: Rows) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])


# ---- the table ---------------------------------------------------------------------------------------------


def line(name: str, run: dict[str, Any]) -> str:
    task, _, size = name.rpartition("-")
    estimate, accuracy = run["estimate"], run["accuracy"]["value"]
    inside = "yes" if estimate["low"] <= accuracy <= estimate["high"] else "no"
    baseline = run["baseline_estimate"]
    best = "" if baseline is None else f"{run['baseline']} {baseline['value']:.3f}"
    return (
        f"| {task} | {size} | {run['labels']} | {run['recommended']} | {format_interval(estimate)} | "
        f"{accuracy:.3f} ({run['unseen']} rows) | {inside} | {best} | {run['seconds']:.0f} |"
    )


def table(runs: dict[str, Any]) -> Iterator[str]:
    yield "| task | rows | labels | recommended | estimate | on unseen rows | in the interval | best baseline | seconds |"
    yield "|---|---:|---:|---|---|---|---|---|---:|"
    for task in TASKS:
        for name in sorted(runs, key=lambda each: int(each.rpartition("-")[2])):
            if name.rpartition("-")[0] == task:
                yield line(name, runs[name])


def write_table(readme: Path, results: dict[str, Any]) -> None:
    """Writes the table into the README, which has a section of results once there are any."""
    if not (readme.is_file() and results["runs"]):
        return
    text = readme.read_text("utf-8")
    if RESULTS[0] not in text:
        begin, end, begin_versions, end_versions = RESULTS
        section = f"## Results\n\n{begin}\n{end}\n\nVersions: {begin_versions}\n{end_versions}\n"
        readme.write_text(f"{text.rstrip()}\n\n{section}", "utf-8")
    sections = {"results": "\n".join(table(results["runs"])), "versions": format_versions(results["versions"])}
    update_readme(readme, sections)


if __name__ == "__main__":
    main()
