"""`promptkit curve`: the main metric against labeled rows per class, from a finished run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts


def curve(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, of a run with many labeled rows (--per-class 50).")],
    calibrate: Annotated[str, typer.Option(help="Probes and label maps of the run, such as blm+,full, or all.")] = "all",
    per_class: Annotated[str, typer.Option(help="Numbers of labeled rows of each label.")] = "1,2,5,10,20,50",
    draws: Annotated[int, typer.Option(min=1, help="How many times labeled rows are drawn.")] = 5,
    plot: opts.Plot = None,
    as_json: opts.Json = False,
) -> None:
    """Show the main metric of a run against labeled rows per class. It uses stored outputs; no model is loaded."""
    from promptkit.config.learning_curve import learning_curve_of
    from promptkit.display import plots
    from promptkit.display.terminal import print_wide

    if plot is not None:
        plots.check_drawable(plot)
    result = learning_curve_of(run, calibrate, per_class, draws)
    if plot is not None:
        plots.write(result.plot(), plot)
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        print_wide(result.table().rich())
