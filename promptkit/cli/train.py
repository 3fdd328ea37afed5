"""`promptkit train`: trains a manipulation."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.config.build import build_learnables, build_trainable_predictor
from promptkit.config.prompt import PromptOptions
from promptkit.config.training import TrainingOptions
from promptkit.core.distributed import processes
from promptkit.display.terminal import Bar
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

PROMPT = opts.Expand(
    without=opts.ZERO_SHOT.without,
    defaults=opts.ZERO_SHOT.defaults,
    help={**opts.ZERO_SHOT.help, "seed": "Random seed for the initialization, the row order and the demonstrations."},
)
DATA = opts.Expand(help={"train": "For a data file: file with the rows to train on."})


@opts.expand_options
def train(
    context: typer.Context,
    task: opts.TaskName,
    *,
    model: opts.ModelName = "demo",
    set_: opts.EngineSettings = None,
    manipulation: Annotated[
        list[str] | None,
        typer.Option(
            help="Manipulation to train: soft, prefix, steering, loreft or trigger-tokens, with settings as in "
            "soft:length=20:init=random; may be given several times; by default soft."
        ),
    ] = None,
    training_options: TrainingOptions,
    prompt_options: Annotated[PromptOptions, PROMPT],
    data_options: Annotated[DataOptions, DATA],
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    as_json: opts.Json = False,
) -> None:
    """Train a manipulation for a task. The model is frozen, and the best step is selected on dev rows."""
    from promptkit.training import trainer

    split, seed = data_options.split, prompt_options.seed
    loaded = resolve_task(task, data_options, template=prompt_options.template)
    config = training_options.build_config(seed=seed)
    learnables = build_learnables(manipulation or ["soft"], seed)
    predictor = build_trainable_predictor(loaded, model, set_, prompt_options, learnables, config, split)
    with exit_on_interrupt(), Bar(hidden=as_json, unit="step") as bar:
        result = trainer.train(predictor, loaded, split=split, out=out, cache=not no_cache, progress=bar, **config.keywords())
    if processes().is_main:
        command = _eval_command(context, result.saved)
        typer.echo(json.dumps({**result.to_json(), "command": command}) if as_json else f"{result}\nuse it: {command}")


def _eval_command(context: typer.Context, folders: list[str]) -> str:
    """The command that evaluates what was trained."""
    without = frozenset({"task", "manipulation", "no_cache", "as_json", *TrainingOptions.model_fields})
    if not context.params["shots"]:
        without |= {"seed"}  # without demonstrations the seed affects only the training
    learned_prompts = [word for folder in folders for word in ("--prompt", folder)]
    return shlex.join([*opts.eval_words(context, without), *learned_prompts])
