"""`promptkit predict`: predicts the rows of a file with a saved predictor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.predict import PredictConfig
from promptkit.core.shown_text import label_text
from promptkit.display.notes import note_lines
from promptkit.display.progress import Bar

if TYPE_CHECKING:
    from promptkit.predictor.stream import PredictedFile


@opts.expand_options
def predict(
    config: PredictConfig,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the rows with their predictions (csv, tsv, jsonl).")],
    as_json: opts.Json = False,
) -> None:
    """Predict the rows of a file with a saved predictor."""
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        result = config.run(output, progress=bar)
    for line in note_lines(result.notes):
        print(line, file=sys.stderr)
    print(json.dumps(result.to_json()) if as_json else describe(result))


def describe(result: PredictedFile) -> str:
    """Returns the result as one line for each fact."""
    shares = [f"{label_text(label)} {count}" for label, count in result.predicted.items() if count]
    lines = [f"{result.rows} rows: {', '.join(shares)}" if shares else f"{result.rows} rows"]
    if result.abstained:
        lines.append(f"{result.abstained} without a prediction (abstained)")
    if result.errors:
        lines.append(f"{result.errors} that could not be read; see the column error")
    if result.resumed:
        lines.append(f"{result.resumed} rows were predicted before the interruption")
    return "\n".join([*lines, f"{result.seconds:.1f} s ({result.rows_per_second:.1f} rows/s), {result.path}"])
