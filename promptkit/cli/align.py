"""The commands that read finished runs again: `promptkit align` and `promptkit bias`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that promptkit eval has printed.")]


def align(
    run: Run,
    calibrate: Annotated[str, typer.Option(help="all, or some by name: contextual,batch:estimate_on=test.")] = "all",
    plot: Annotated[Path | None, typer.Option(help="Draw reliability and confusion there: a .png, .pdf or .svg file.")] = None,
    as_json: opts.Json = False,
) -> None:
    """Align a finished run anew, without a model: every calibration that its stored outputs allow."""
    from promptkit.analysis import realign as alignments
    from promptkit.display.terminal import print_wide

    if plot is not None:
        from promptkit.display.plots import check_drawable

        check_drawable(plot)
    found = alignments.align(run, calibrate)
    if plot is not None:
        from promptkit.analysis.reliability import draw
        from promptkit.display.plots import write

        write(draw(found), plot)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    print_wide(found.table())
    for line in found.notes():
        typer.echo(line)


def bias(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or RUN:BRANCH (runs/x-12345678:batch).")],
    as_json: opts.Json = False,
) -> None:
    """Measure a run's majority-label, recency and common-token bias, and its accuracy by label."""
    from promptkit.analysis.bias import bias as measured

    found = measured(run)
    typer.echo(json.dumps(found.to_json()) if as_json else found)
