"""`promptkit labelmap`: shows the label maps of a finished run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts


def labelmap(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or RUN:BRANCH, such as runs/x-12345678:blm+.")],
    most: Annotated[int, typer.Option(min=1, help="Source classes to show for each label.")] = 5,
    plot: opts.Plot = None,
    as_json: opts.Json = False,
) -> None:
    """Show the label maps of a finished run.

    Each map is a table of the source classes of each label, with their weights.
    """
    from promptkit.analysis.label_maps import label_maps
    from promptkit.display import plots
    from promptkit.display.terminal import print_wide

    if plot is not None:
        plots.check_drawable(plot)
    maps = label_maps(run)
    if plot is not None:
        plots.write(maps.plot(), plot)
    if as_json:
        typer.echo(json.dumps(maps.to_json(most)))
        return
    for table in maps.tables(most):
        print_wide(table.rich())
