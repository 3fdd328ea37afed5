"""Reads finished runs as objects, from their files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from promptkit.core.errors import CheckpointError
from promptkit.core.paths import expanded
from promptkit.runs.baseline_files import read_baselines, read_missing
from promptkit.runs.branch_files import results_from_bytes
from promptkit.runs.files import damaged, expect, read_json
from promptkit.runs.finished import read_predictions, read_summary
from promptkit.runs.folder import PREDICTIONS, RESULTS, SUMMARY, TIMING
from promptkit.runs.recorded import read_metrics
from promptkit.runs.result import Result
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.run_data import RunData
from promptkit.runs.schema import RunResults, Timing

R = TypeVar("R", bound=RunData)

_NO_TIMING = Timing(seconds=0.0, examples_per_second=0.0, resumed=0, notes=[])


def read_run(kind: type[R], folder: str | Path, *, baselines: bool = True) -> R:
    """Returns a finished run; see `Run.load`.

    Args:
        kind: The class of the run.
        folder: The folder of the run.
        baselines: Whether to read the results of baselines in the folder.
    """
    path = expanded(folder)
    summary = read_summary(path)
    with expect(path / SUMMARY, "the summary of a run"):
        branches = [branch["align"] for branch in summary["results"]]
    rows: list[EvaluatedRow] = []
    predictions: dict[str, list[str | None]] = {branch: [] for branch in branches}
    with expect(path / f"{PREDICTIONS}.jsonl", "the predictions of a run"):
        for record in read_predictions(path):
            rows.append(EvaluatedRow.from_record(record))
            for branch in branches:
                predictions[branch].append(record["predictions"][branch])
    try:
        with expect(path / RESULTS, "the results of a run"):
            content = (path / RESULTS).read_bytes()
            by_branch = {branch: tuple(each) for branch, each in predictions.items()}
            results = results_from_bytes(content, summary["results"], by_branch)
    except (CheckpointError, ValueError) as error:
        raise damaged(path / RESULTS, str(error)) from None
    run = run_of_results(kind, path, summary, rows, results, cast("Timing | None", read_json(path / TIMING)) or _NO_TIMING)
    run = run.with_metrics(*read_metrics(path))
    found = read_baselines(path) if baselines else None
    is_of_run = found is not None and all(len(result.predictions) == len(rows) for result in found.results)
    missing = read_missing(path) if baselines else None
    return run.without_baselines(missing) if missing is not None else run.with_baselines(found if is_of_run else None)


def run_of_results(
    kind: type[R], path: Path, summary: RunResults, rows: Sequence[EvaluatedRow], results: Sequence[Result], timing: Timing
) -> R:
    """Returns a run with the contents of its files.

    Args:
        kind: The class of the run.
        path: Folder of the run.
        summary: The contents of `summary.json`, without hashes.
        rows: The evaluated rows.
        results: The results of each branch.
        timing: The contents of `timing.json`.
    """
    with expect(path / SUMMARY, "the summary of a run"):
        return kind(
            task=summary["task"],
            split=summary["split"],
            model=summary["model"],
            path=path,
            labels=tuple(summary["labels"]),
            evaluated=tuple(rows),
            results=tuple(results),
            seconds=timing["seconds"],
            examples_per_second=timing["examples_per_second"],
            resumed=timing["resumed"],
            too_long=summary["too_long"],
            no_answer=summary["no_answer"],
            seen_rows=summary["seen_rows"],
            notes=(*summary["notes"], *timing["notes"]),
            folds=summary.get("folds", 0),
        )
