"""`promptkit eval`: evaluates a prompt on a task."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.answer import AnswerOptions
from promptkit.config.build import build_predictors
from promptkit.config.prompt import PromptOptions
from promptkit.display.terminal import Bar, print_wide
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from promptkit.runs.run import Run, ShardRun


@opts.expand_options
def eval_(
    task: opts.TaskName,
    *,
    model: opts.ModelName = "demo",
    set_: opts.EngineSettings = None,
    prompt_options: PromptOptions,
    answer_options: AnswerOptions,
    calibrate: opts.Calibrate = "",
    data_options: DataOptions,
    limit: opts.Limit = None,
    shard: opts.Shard = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    as_json: opts.Json = False,
) -> None:
    """Evaluate a prompt on a task. Each metric has a 95% confidence interval."""
    from promptkit.evaluation.evaluate import evaluate, evaluate_shard
    from promptkit.runs.run import ShardRun
    from promptkit.runs.shard import Shard

    part = None if shard is None else Shard.read(shard)
    split = data_options.split
    loaded = resolve_task(task, data_options, template=prompt_options.template)
    predictors = build_predictors(
        loaded, model, set_, prompt_options, answer_options, split=split, limit=limit, calibrate=calibrate
    )
    run: Run | ShardRun
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        if part is None:
            run = evaluate(predictors, loaded, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
        else:
            run = evaluate_shard(predictors, loaded, part, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
    if as_json:
        for note in run.notes:
            print(f"note: {note}", file=sys.stderr)
        print(json.dumps(run.to_json()))
    elif isinstance(run, ShardRun):
        _print_shard(run)
    else:
        print_run(run)


def print_run(run: Run) -> None:
    """Prints a run's table, its notes and its folder."""
    from rich.console import Console

    from promptkit.runs.run import run_table

    console = Console()
    print_wide(run_table(run))
    for note in run.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print(f"{_duration(run)}, {run.path}", highlight=False, markup=False)


def _print_shard(run: ShardRun) -> None:
    print(f"shard {run.shard} of {run.task} · {run.split} · {run.n} rows · {run.model}: {run.rows} rows")
    for note in run.notes:
        print(f"note: {note}")
    print(f"{_duration(run)}, {run.path}")


def _duration(run: Run | ShardRun) -> str:
    speed = f"{run.examples_per_second:.1f} rows/s" if run.examples_per_second else "no new rows computed"
    return f"{run.seconds:.1f} s ({speed})"
