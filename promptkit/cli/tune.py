"""`promptkit tune`: finds the best manipulation and alignment for labeled rows."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.saving import predict_command
from promptkit.config.tune import TuneConfig
from promptkit.display.notes import note_lines
from promptkit.display.terminal import print_wide
from promptkit.tuning.folder import TUNED

if TYPE_CHECKING:
    from promptkit.display.progress import Display
    from promptkit.tuning.plan import Plan as TuningPlan
    from promptkit.tuning.tuning import TuningProgress

Plan = Annotated[bool, typer.Option("--plan", help="Show what is tried and what it costs, without loading a model, and stop.")]
Report = Annotated[Path | None, typer.Option(help="Write the leaderboard and the explanation to this Markdown file.")]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]


@opts.expand_options
def tune(
    config: TuneConfig,
    *,
    plan: Plan = False,
    report: Report = None,
    no_cache: opts.NoCache = False,
    out: Out = Path(TUNED),
    as_json: opts.Json = False,
) -> None:
    """Find the best prompt and alignment for labeled rows."""
    if plan:
        _print_plan(config.plan(), as_json=as_json)
        return
    with exit_on_interrupt(), ExitStack() as shown:
        tuned = config.run(out=out, cache=not no_cache, progress=_progress(shown, hidden=as_json))
    if report is not None:
        tuned.report(report)
    if as_json:
        typer.echo(json.dumps(tuned.to_json()))
        return
    print_wide(str(tuned))
    typer.echo(f"use it: {predict_command(tuned.path / 'predictor')}")


def _print_plan(plan: TuningPlan, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan.to_json()))
        return
    print_wide(plan.table().rich())
    for line in note_lines(plan.all_notes):
        typer.echo(line)


def _progress(shown: ExitStack, *, hidden: bool) -> Display[TuningProgress] | Literal[False]:
    """Returns what shows the best candidates after each block: a table on a terminal, and otherwise lines on standard error."""
    from promptkit.tuning.live import LiveLeaderboard, PrintedLines

    if hidden:
        return False
    return shown.enter_context(LiveLeaderboard()) if sys.stderr.isatty() else PrintedLines()
