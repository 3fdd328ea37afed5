"""`promptkit merge`: merges the shards of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.evaluate import print_run


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="Run folders of all shards of one run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the run folders; by default the first shard's.")] = None,
    as_json: opts.Json = False,
) -> None:
    """Merge the shards of a run. The files are those that one process would have written, byte for byte."""
    from promptkit.config.evaluation import EvalConfig
    from promptkit.evaluation.merge import merge as merge_shards
    from promptkit.runs.recorded import read_options

    run = merge_shards(shards, out=out)
    options = read_options(run.path)
    if options is not None:
        run = EvalConfig.from_keywords(**options).add_baselines(run)
    if as_json:
        print(json.dumps(run.to_json()))
    else:
        print_run(run)
