"""`promptkit train`: trains a manipulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.saving import predict_command
from promptkit.config.train import TrainConfig
from promptkit.core.distributed import processes
from promptkit.display.progress import Bar

if TYPE_CHECKING:
    from promptkit.training.result import TrainingResult


@opts.expand_options
def train(
    config: TrainConfig,
    *,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    plot: opts.Plot = None,
    as_json: opts.Json = False,
) -> None:
    """Train a manipulation for a task. The model is frozen, and the best step is selected on dev rows."""
    if plot is not None:
        from promptkit.display.plots import check_drawable

        check_drawable(plot)
    with exit_on_interrupt(), Bar(hidden=as_json, unit="step") as bar:
        result = config.run(out=out, cache=not no_cache, progress=bar)
    if processes().is_main:
        if plot is not None:
            _draw(config, result, plot)
        saved = "" if config.save is None else f"\npredict new rows: {predict_command(config.save)}"
        command = config.evaluation(result.saved, other_rows=result.uses_all_rows).to_command(out=out)
        typer.echo(json.dumps({**result.to_json(), "command": command}) if as_json else f"{result}{saved}\nuse it: {command}")


def _draw(config: TrainConfig, result: TrainingResult, plot: Path) -> None:
    from promptkit.analysis.image_views import view_images
    from promptkit.display.panels import stack_panels
    from promptkit.display.plots import write

    task = config.load_task()
    panels = [result.panel()]
    if task.spec.modality == "image":
        panels.append(view_images(result.predictor, task).panel())
    write(stack_panels(panels, f"{result.rows['pool']} training rows, {result.rows['dev']} dev rows"), plot)
