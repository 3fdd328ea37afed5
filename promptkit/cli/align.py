"""`promptkit align` and `promptkit bias`: analyze a finished run without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts


def align(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as printed by `promptkit eval`.")],
    calibrate: Annotated[str, typer.Option(help="Calibrations, such as contextual,batch:estimate_on=test, or all.")] = "all",
    plot: opts.Plot = None,
    as_json: opts.Json = False,
) -> None:
    """Apply other calibrations to a finished run, without a model."""
    from promptkit.analysis import realign
    from promptkit.display.terminal import print_wide

    if plot is not None:
        from promptkit.display.plots import check_drawable

        check_drawable(plot)
    alignment = realign.align(run, calibrate)
    if plot is not None:
        from promptkit.analysis.reliability import draw
        from promptkit.display.plots import write

        write(draw(alignment), plot)
    if as_json:
        typer.echo(json.dumps(alignment.to_json()))
        return
    print_wide(alignment.table().rich())
    for line in alignment.notes():
        typer.echo(line)


def bias(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or RUN:BRANCH, such as runs/x-12345678:batch.")],
    as_json: opts.Json = False,
) -> None:
    """Measure the majority, recency and common-token bias of a run. Also shows its accuracy per label."""
    from promptkit.analysis.bias import bias as measure_bias

    result = measure_bias(run)
    typer.echo(json.dumps(result.to_json()) if as_json else result)
