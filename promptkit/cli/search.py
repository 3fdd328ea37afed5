"""`promptkit search`: searches for an instruction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.answer import AnswerOptions
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.manipulations import ManipulationOptions
from promptkit.core.errors import InputError
from promptkit.display.progress import Bar

if TYPE_CHECKING:
    from promptkit.searches.halving import By
    from promptkit.searches.instructions import Method

ZERO_SHOT = opts.Expand(
    without=("limit", "cot", *ManipulationOptions.model_fields, *AnswerOptions.model_fields, *CalibrationOptions.model_fields),
    defaults={"shots": 0},
    help={"shots": "Number of demonstrations."},
)
"""The options of an evaluation that determine the prompts of the search, which by default have no demonstrations."""


@opts.expand_options
def search(
    config: Annotated[EvalConfig, ZERO_SHOT],
    *,
    method: Annotated[
        str | None, typer.Option(help="Search method: ape, opro, or list; by default list with --list, else ape.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Number of instructions that the model proposes.")] = 32,
    listed: Annotated[Path | None, typer.Option("--list", help="Text file with one instruction to try per line.")] = None,
    by: Annotated[
        str, typer.Option(help="Selection score: metric (the main metric), or logprob of the correct answer.")
    ] = "metric",
    dev: Annotated[int, typer.Option(min=1, help="Maximum number of dev rows that select the best instruction.")] = 128,
    test: Annotated[
        int | None, typer.Option(min=1, help="Number of rows that evaluate the best instruction; by default the whole split.")
    ] = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    as_json: opts.Json = False,
) -> None:
    """Search for the best instruction. It is selected on dev rows and evaluated on the split."""
    from promptkit.searches import instructions
    from promptkit.tasks.single_table import number_of_folds

    split, task = config.split, config.load_task()
    texts = read_lines(listed) if listed else []
    instructions.check(task, method=method, instructions=texts, candidates=candidates, by=by, dev=dev, split=split)
    predictor = config.build(task)[0]
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        result = instructions.search(
            predictor,
            task,
            method=cast("Method | None", method),
            instructions=texts,
            candidates=candidates,
            by=cast("By", by),
            metrics=config.metric,
            dev=dev,
            test=test,
            split=split,
            seed=config.seed,
            out=out,
            cache=not no_cache,
            progress=bar,
        )
    # the rows that the search has held out, which a run with folds would not leave out
    folds = 1 if number_of_folds(task, split or task.spec.split) else config.folds
    found = {"instruction": f"file:{result.save(out)}", "folds": folds}
    command = config.model_copy(update=found).to_command(out=out)
    typer.echo(json.dumps({**result.to_json(), "command": command}) if as_json else f"{result}\nuse it: {command}")


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file that are not blank.

    Raises:
        InputError: The file is not UTF-8, or all of its lines are blank.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(
            f"The list {path} is not UTF-8: {error.reason} at byte {error.start}",
            code="not-utf8",
            hint="Save it as UTF-8",
            file=str(path),
            position=error.start,
        ) from None
    if not any(lines):
        hint = "Write one instruction per line"
        raise InputError(f"The list {path} has no instructions", code="no-instructions", hint=hint, file=str(path))
    return [line for line in lines if line]
