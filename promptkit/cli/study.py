"""`promptkit study`: evaluates a grid of settings."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.core.errors import RunError
from promptkit.display.terminal import print_wide


def study(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A study's YAML file, or the name of one that promptkit ships.")],
    plot: Annotated[Path | None, typer.Option(help="Draw it there: a .png, .pdf or .svg file.")] = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Evaluate a grid of options over one task: each cell a run, finished ones read, a broken study continued."""
    from promptkit.config.study import baselines, read_study, run
    from promptkit.display import plots
    from promptkit.studies import figures as pictures
    from promptkit.studies.progress import LiveTable, RunsBar

    spec = read_study(file)
    if plot is not None:
        plots.check_drawable(plot)
    try:
        with nullcontext() if as_json else LiveTable() if sys.stderr.isatty() else RunsBar() as progress:
            made = run(spec, out=out, cache=not no_cache, progress=progress)
    except KeyboardInterrupt:
        print("promptkit: stopped; the same command continues where it was.", file=sys.stderr)
        raise typer.Exit(opts.INTERRUPTED) from None
    without = baselines(spec, made)
    if plot is not None:
        plots.write(pictures.default_figure(made, without), plot)
    if as_json:
        print(json.dumps(made.to_json() | ({"baselines": without.to_json()} if without else {})))
    else:
        print_wide(made.table(baselines=without).rich())
        print(f"{made.seconds:.1f} s, {len({cell.run.path for cell in made.cells})} runs in {out}")
    if made.failures:
        raise RunError(made.failure_summary, code="cells-failed", failures=len(made.failures))
