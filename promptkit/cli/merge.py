"""`promptkit merge`: joins the shards of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.evaluate import _show


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="The folders of every shard of one run.")],
    out: Annotated[Path | None, typer.Option(help="The folder that holds run folders; the first shard's unless given.")] = None,
    as_json: opts.Json = False,
) -> None:
    """Put the shards of a run together: the run that one process would have made, byte for byte."""
    from promptkit.evaluation.merge import merge as merged

    run = merged(shards, out=out)
    if as_json:
        print(json.dumps(run.to_json()))
    else:
        _show(run)
