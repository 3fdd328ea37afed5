"""`promptkit eval`: evaluates a prompt on a task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.evaluation import EvalConfig
from promptkit.display.notes import note_lines
from promptkit.display.progress import Bar
from promptkit.display.terminal import print_wide

if TYPE_CHECKING:
    from promptkit.runs.run import Run
    from promptkit.runs.shard_run import ShardRun
    from promptkit.tasks.task import Task


@opts.expand_options
def eval_(
    config: EvalConfig,
    *,
    shard: opts.Shard = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    plot: opts.Plot = None,
    by_label: Annotated[
        bool, typer.Option("--by-label", help="Add precision, recall and F1 by label, and the confusion matrix.")
    ] = False,
    as_json: opts.Json = False,
) -> None:
    """Evaluate a prompt on a task. Each metric has a 95% confidence interval."""
    from promptkit.runs.run import Run
    from promptkit.runs.shard import Shard
    from promptkit.runs.shard_run import ShardRun

    config.check_seeds(shard=shard, plot=plot)
    task = _check_by_label(config, shard, by_label=by_label)
    if config.seeds is not None:
        _eval_seeds(config, out, cache=not no_cache, as_json=as_json)
        return
    part = None if shard is None else Shard.read(shard)
    if plot is not None:
        _check_plot(plot, shard)
    run: Run | ShardRun
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        if part is None:
            run = config.run(task=task, out=out, cache=not no_cache, progress=bar)
        else:
            run = config.run_shard(part, out=out, cache=not no_cache, progress=bar)
    if plot is not None and isinstance(run, Run):
        _draw(config, run, plot)
    if as_json:
        for note in run.notes:
            print(*note_lines([note]), file=sys.stderr)
        print(json.dumps(run.to_json(by_label=by_label) if isinstance(run, Run) else run.to_json()))
    elif isinstance(run, ShardRun):
        _print_shard(run)
    else:
        print_run(run)
        _print_labels(run, by_label=by_label)


def _print_labels(run: Run, *, by_label: bool) -> None:
    """Prints the figures of each label and the confusion matrix of each branch, if they are requested."""
    for result in run.results if by_label else ():
        for table in (run.by_label(result.align), run.confusion(result.align)):
            print()
            print_wide(table.rich())


def _check_by_label(config: EvalConfig, shard: str | None, *, by_label: bool) -> Task | None:
    """Refuses the figures of each label for several runs, and for answers without shared labels, before anything is evaluated.

    Returns the task, if it was loaded for that.
    """
    from promptkit.core.errors import InputError

    given = [f"--shard {shard}"] * (shard is not None) + [f"--seeds {config.seeds}"] * (config.seeds is not None)
    if by_label and given:
        raise InputError(
            "The figures of each label are those of one run",
            code="conflicting-options",
            got=f"--by-label {given[0]}",
            hint="Leave one of them out",
            options=("by_label", given[0].split()[0].strip("-")),
        )
    if not by_label or config.predictor is not None:
        return None
    from promptkit.evaluation.metric_checks import unanswered_input
    from promptkit.runs.by_label import check_labels

    task = config.load_task()
    check_labels(unanswered_input(config.build_first_aligner(task), task, config.split or task.spec.split))
    return task


def _eval_seeds(config: EvalConfig, out: Path, *, cache: bool, as_json: bool) -> None:
    """Evaluates several seeds, and prints the table of means, that of the seeds, and notes."""
    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        runs = config.run_seeds(out=out, cache=cache, progress=bar)
    if as_json:
        print(json.dumps(runs.to_json()))
        return
    print_wide(runs.table().rich())
    print()
    print_wide(runs.seeds_table().rich())
    for note in runs.notes():
        print(*note_lines([note]))
    print(f"{runs.study.seconds:.1f} s, {len({run.path for run in runs.runs.values()})} runs in {out}")


def _check_plot(plot: Path, shard: str | None) -> None:
    from promptkit.core.errors import InputError
    from promptkit.display.plots import check_drawable

    check_drawable(plot)
    if shard is not None:
        raise InputError(
            "A shard has no results to plot",
            code="conflicting-options",
            got=f"--plot {plot} --shard {shard}",
            hint="Merge the shards, then use promptkit align RUN --plot",
            options=("plot", "shard"),
        )


def _draw(config: EvalConfig, run: Run, plot: Path) -> None:
    from promptkit.analysis.image_views import view_images
    from promptkit.analysis.run_figure import draw_run
    from promptkit.display.plots import write

    task = config.load_task()
    is_text = task.spec.modality == "text"
    views = None if is_text else view_images(config.build(task)[0], task, split=config.split)
    write(draw_run(run, views), plot)


def print_run(run: Run) -> None:
    """Prints a run's table, its notes and its folder."""
    from rich.console import Console

    from promptkit.display.in_blocks import for_terminal
    from promptkit.runs.run_table import run_table

    console = Console()
    print_wide(for_terminal(run_table(run)))
    for note in run.notes:
        console.print(*note_lines([note]), style="yellow", markup=False)
    console.print(f"{_duration(run)}, {run.path}", highlight=False, markup=False)


def _print_shard(run: ShardRun) -> None:
    print(f"shard {run.shard} of {run.task} · {run.split} · {run.n} rows · {run.model}: {run.rows} rows")
    for note in run.notes:
        print(*note_lines([note]))
    print(f"{_duration(run)}, {run.path}")


def _duration(run: Run | ShardRun) -> str:
    speed = f"{run.examples_per_second:.1f} rows/s" if run.examples_per_second else "rows answered before"
    return f"{run.seconds:.1f} s ({speed})"
