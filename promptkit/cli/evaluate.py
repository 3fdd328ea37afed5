"""`promptkit eval`: evaluates a prompt on a task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.display.terminal import Bar, print_wide
from promptkit.tasks import resolve

if TYPE_CHECKING:
    from promptkit.runs.run import Run, ShardRun


def eval_(
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: Annotated[int | None, typer.Option(min=0, help="Demonstrations; 8, or none with --prompt, unless given.")] = None,
    demos: opts.Demos = None,
    order: opts.Order = None,
    cot: opts.Cot = None,
    seed: opts.Seed = 0,
    score: opts.ScoreOf = "sum",
    calibrate: opts.Calibrate = "",
    extract: opts.Extract = None,
    max_tokens: opts.MaxTokens = None,
    samples: opts.Samples = None,
    temperature: opts.Temperature = None,
    split: opts.Split = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the N rows with the smallest hash of id.")] = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train: opts.Train = None,
    set_: opts.Set = None,
    shard: opts.Shard = None,
    prompt: opts.Saved = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Evaluate a prompt on a task: accuracy, macro-F1, ECE and Brier with 95% intervals."""
    from promptkit.evaluation.evaluate import evaluate, evaluate_shard
    from promptkit.runs.shard import Shard
    from promptkit.runs.run import ShardRun

    part = None if shard is None else Shard.read(shard)
    loaded = resolve.task(task, data, template, label_column, labels, answer_column, train)
    saved = prompt or []
    options = PromptOptions(
        template=template,
        instruction=instruction,
        chat=chat,
        shots=build.count(shots, saved),
        demos=demos,
        order=order,
        seed=seed,
        cot=cot,
    )
    chain = build.chain(score, extract, max_tokens, samples, temperature, seed)
    branches = build.predictors(loaded, model, set_, options, chain, split=split, limit=limit, calibrate=calibrate, saved=saved)
    try:
        with Bar(hidden=as_json) as bar:
            run = (
                evaluate(branches, loaded, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
                if part is None
                else evaluate_shard(branches, loaded, part, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
            )
    except KeyboardInterrupt:
        print("promptkit: stopped; the same command continues where it was.", file=sys.stderr)
        raise typer.Exit(opts.INTERRUPTED) from None
    if as_json:
        for note in run.notes:
            print(f"note: {note}", file=sys.stderr)
        print(json.dumps(run.to_json()))
        return
    if isinstance(run, ShardRun):
        print(f"shard {run.shard} of {run.task} · {run.split} · {run.n} rows · {run.model}: {run.rows} rows")
        for note in run.notes:
            print(f"note: {note}")
        print(f"{_took(run)}, {run.path}")
    else:
        _show(run)


def _show(run: Run) -> None:
    """A run's table, and what a reader of it should know."""
    from rich.console import Console

    from promptkit.runs.run import run_table

    console = Console()
    print_wide(run_table(run))
    for note in run.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print(f"{_took(run)}, {run.path}", highlight=False, markup=False)


def _took(run: Run | ShardRun) -> str:
    rows = f"{run.examples_per_second:.1f} rows/s" if run.examples_per_second else "no row was computed anew"
    return f"{run.seconds:.1f} s ({rows})"
