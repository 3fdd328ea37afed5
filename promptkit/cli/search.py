"""`promptkit search`: searches for an instruction."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.answer import AnswerOptions
from promptkit.config.build import build_predictors
from promptkit.config.prompt import PromptOptions
from promptkit.core.errors import InputError
from promptkit.display.terminal import Bar
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from promptkit.searches.halving import By
    from promptkit.searches.instructions import Method

NOT_OF_EVAL = frozenset({"task", "instruction", "method", "candidates", "listed", "by", "dev", "test", "as_json"})
"""The parameters that `promptkit eval` does not have, or that are added to its command by name."""


@opts.expand_options
def search(
    context: typer.Context,
    task: opts.TaskName,
    *,
    model: opts.ModelName = "demo",
    set_: opts.EngineSettings = None,
    method: Annotated[
        str | None, typer.Option(help="Search method: ape, opro, or list; by default list with --list, else ape.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Number of instructions that the model proposes.")] = 32,
    listed: Annotated[Path | None, typer.Option("--list", help="Text file with one instruction to try per line.")] = None,
    by: Annotated[str, typer.Option(help="Selection score: accuracy, or logprob of the correct answer.")] = "accuracy",
    dev: Annotated[int, typer.Option(min=1, help="Maximum number of dev rows that select the best instruction.")] = 128,
    test: Annotated[
        int | None, typer.Option(min=1, help="Number of rows that evaluate the best instruction; by default the whole split.")
    ] = None,
    prompt_options: Annotated[PromptOptions, opts.ZERO_SHOT],
    data_options: DataOptions,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    as_json: opts.Json = False,
) -> None:
    """Search for the best instruction. It is selected on dev rows and evaluated on the split."""
    from promptkit.searches import instructions

    split = data_options.split
    loaded = resolve_task(task, data_options, template=prompt_options.template)
    texts = read_lines(listed) if listed else []
    instructions.check(loaded, method=method, instructions=texts, candidates=candidates, by=by, dev=dev, split=split)
    predictor = build_predictors(loaded, model, set_, prompt_options, AnswerOptions(), split=split)[0]
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        result = instructions.search(
            predictor,
            loaded,
            method=cast("Method | None", method),
            instructions=texts,
            candidates=candidates,
            by=cast("By", by),
            dev=dev,
            test=test,
            split=split,
            seed=prompt_options.seed,
            out=out,
            cache=not no_cache,
            progress=bar,
        )
    command = shlex.join([*opts.eval_words(context, NOT_OF_EVAL), "--instruction", result.instruction])
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
