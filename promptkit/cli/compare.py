"""`promptkit compare`: compares finished runs row by row."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or RUN:BRANCH, such as runs/x-12345678:batch or :tfidf.")
    ],
    flips: Annotated[bool, typer.Option("--flips", help="List the rows with different predictions.")] = False,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Metrics as for eval; the first is the main metric.")
    ] = None,
    as_json: opts.Json = False,
) -> None:
    """Compare finished runs row by row. Differences have 95% intervals, and p-values of paired tests with the correction of Holm."""
    from promptkit.analysis.compare import compare_runs

    comparison = compare_runs(runs, metric)
    if as_json:
        print(json.dumps(comparison.to_json()))
        return
    print(comparison)
    if comparison.left_out:
        print(f"{comparison.left_out} rows are not in every run and are excluded")
    for branch in comparison.branches[1:]:
        print(f"{len(branch.flips)} of {comparison.n} rows have a different prediction in {branch.name}")
        for flip in branch.flips if flips else ():
            print(
                f"  {flip.id if flip.row_id is None else flip.row_id}  gold {flip.gold}: {_answer_text(flip.first)} -> {_answer_text(flip.other)}"
            )


def _answer_text(answer: str | None) -> str:
    return "(no answer)" if answer is None else answer
