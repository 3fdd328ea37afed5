"""`promptkit train`: trains a manipulation."""

from __future__ import annotations

import json

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.train import TrainConfig
from promptkit.core.distributed import processes
from promptkit.display.terminal import Bar


@opts.expand_options
def train(
    config: TrainConfig, *, no_cache: opts.NoCache = False, out: opts.Out = opts.DEFAULT_OUT, as_json: opts.Json = False
) -> None:
    """Train a manipulation for a task. The model is frozen, and the best step is selected on dev rows."""
    with exit_on_interrupt(), Bar(hidden=as_json, unit="step") as bar:
        result = config.run(out=out, cache=not no_cache, progress=bar)
    if processes().is_main:
        command = config.evaluation(result.saved).to_command(out=out)
        typer.echo(json.dumps({**result.to_json(), "command": command}) if as_json else f"{result}\nuse it: {command}")
