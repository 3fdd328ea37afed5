"""The command `promptkit search`: its options, and what it prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from promptkit.cli import options as opts
from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.core.errors import InputError
from promptkit.display.terminal import Bar
from promptkit.tasks import resolve

OF_SEARCH = frozenset({"task", "instruction", "method", "candidates", "listed", "by", "dev", "test", "as_json"})
"""The parameters that `promptkit eval` does not have, or is told otherwise."""
INTERRUPTED = 130
"""The exit code of a command stopped by Ctrl-C."""


def search(
    context: typer.Context,
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    method: Annotated[
        str | None, typer.Option(help="ape or opro: the model proposes; list: --list alone. Unless given, list or ape.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="How many instructions the model is asked for.")] = 32,
    listed: Annotated[Path | None, typer.Option("--list", help="Instructions to try: a text file, one a line.")] = None,
    by: Annotated[str, typer.Option(help="Choose by accuracy, or by logprob, that of the right answer.")] = "accuracy",
    dev: Annotated[int, typer.Option(min=1, help="At most N rows of the dev part choose.")] = 128,
    test: Annotated[int | None, typer.Option(min=1, help="Only N rows of the split confirm; all unless given.")] = None,
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: opts.Shots = 0,
    demos: opts.Demos = None,
    order: opts.Order = None,
    seed: opts.Seed = 0,
    split: opts.Split = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train: opts.Train = None,
    set_: opts.Set = None,
    no_cache: opts.NoCache = False,
    out: Annotated[Path, typer.Option(help="The folder that holds run folders.")] = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Search for the best instruction of a task: proposed or listed, chosen on dev rows, confirmed on the split's."""
    from promptkit.searches import instructions as searching

    loaded = resolve.task(task, data, template, label_column, labels, answer_column, train)
    prompt = PromptOptions(
        template=template, instruction=instruction, chat=chat, shots=shots, demos=demos, order=order, seed=seed
    )
    given = read_list(listed) if listed else []
    searching.check(loaded, method=method, instructions=given, candidates=candidates, by=by, dev=dev, split=split)
    predictor = build.predictors(loaded, model, set_, prompt, {}, split=split)[0]
    try:
        with Bar(hidden=as_json) as bar:
            found = searching.search(
                predictor,
                loaded,
                method=cast(Any, method),
                instructions=given,
                candidates=candidates,
                by=cast(Any, by),
                dev=dev,
                test=test,
                split=split,
                seed=seed,
                out=out,
                cache=not no_cache,
                progress=bar,
            )
    except KeyboardInterrupt:
        typer.echo("promptkit: stopped; the same command continues where it was.", err=True)
        raise typer.Exit(opts.INTERRUPTED) from None
    command = eval_command(context, found.instruction)
    typer.echo(json.dumps({**found.to_json(), "command": command}) if as_json else f"{found}\nuse it: {command}")


def read_list(path: Path) -> list[str]:
    """The lines of a text file that are not blank."""
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


def eval_command(context: typer.Context, instruction: str) -> str:
    """The command that evaluates an instruction as it was searched for."""
    return shlex.join([*opts.eval_words(context, OF_SEARCH), "--instruction", instruction])
