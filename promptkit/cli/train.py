"""The command `promptkit train`: its options, and what it prints."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.core.distributed import processes
from promptkit.display.terminal import Bar
from promptkit.tasks import resolve

INTERRUPTED = 130
"""The exit code of a command stopped by Ctrl-C."""


def train(
    context: typer.Context,
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    manipulation: Annotated[
        list[str] | None,
        typer.Option(
            help="What is learned: soft, prefix, steering or loreft, with keywords as in soft:length=20:init=random:place=start "
            "or prefix:length=10:layers=1|2; or trigger-tokens:length=5. May be repeated."
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="adamw, along gradients; from scores alone, on any model: spsa:perturbation=0.1:averaged=1, or "
            "cma-es:subspace=500:population=20:sigma=1; for tokens hotflip:candidates=10."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="How often what is learned is changed, at the most.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of one step.")] = 16,
    learning_rate: Annotated[
        float | None, typer.Option(help="At its highest; unless given, each kind's own for adamw, and 1 for spsa.")
    ] = None,
    schedule: Annotated[str, typer.Option(help="How it falls after the warm-up: linear, or constant.")] = "linear",
    warmup: Annotated[float, typer.Option(min=0, max=1, help="The share of the steps in which it rises.")] = 0.05,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Train on N rows of each label, drawn by seed; else on all.")
    ] = None,
    dev: Annotated[int, typer.Option(min=1, help="At most N rows of the dev part choose the best step.")] = 128,
    eval_every: Annotated[int, typer.Option(min=1, help="Steps between two looks at dev, each with a checkpoint.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Stop after N looks at dev without a better one.")] = 5,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute activations twice instead of keeping them: less memory.")
    ] = False,
    mixed_precision: Annotated[
        str, typer.Option(help="no; or multiply matrices in bf16 or fp16, with what is learned in float32.")
    ] = "no",
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: opts.Shots = 0,
    demos: opts.Demos = None,
    order: opts.Order = None,
    seed: Annotated[int, typer.Option(help="Of the order of rows, of what is drawn to begin with, and of demonstrations.")] = 0,
    split: opts.Split = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train_file: Annotated[Path | None, typer.Option("--train", help="For a data file: the rows to train on.")] = None,
    set_: opts.Set = None,
    no_cache: opts.NoCache = False,
    out: Annotated[Path, typer.Option(help="The folder that holds run folders.")] = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Train a manipulation for a task on a frozen model: rows of its pool, the best step chosen by dev."""
    from promptkit.training import trainer as training
    from promptkit.training.config import TrainingConfig

    loaded = resolve.task(task, data, template, label_column, labels, answer_column, train_file)
    options = PromptOptions(
        template=template, instruction=instruction, chat=chat, shots=shots, demos=demos, order=order, seed=seed
    )
    config = TrainingConfig(
        optimizer=build.optimizer(optimizer),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,  # type: ignore[arg-type]
        warmup=warmup,
        per_class=per_class,
        dev=dev,
        eval_every=eval_every,
        patience=patience,
        gradient_checkpointing=gradient_checkpointing,
        mixed_precision=mixed_precision,  # type: ignore[arg-type]
        seed=seed,
    )
    changes = build.learnables(manipulation or ["soft"], seed)
    predictor = build.trainable(loaded, model, set_, options, changes, config, split)
    try:
        with Bar(hidden=as_json, unit="step") as bar:
            fit = training.train(predictor, loaded, split=split, out=out, cache=not no_cache, progress=bar, **config.keywords())
    except KeyboardInterrupt:
        if processes().is_main:
            typer.echo("promptkit: stopped; the same command continues from its last checkpoint.", err=True)
        raise typer.Exit(opts.INTERRUPTED) from None
    if not processes().is_main:
        return
    own = {field.name for field in fields(TrainingConfig)} - ({"seed"} if shots else set())  # which draws demonstrations, too
    not_told = frozenset({"task", "manipulation", *own, "no_cache", "as_json"})
    words = [*opts.eval_words(context, not_told), *(word for folder in fit.saved for word in ("--prompt", folder))]
    command = shlex.join(words)
    typer.echo(json.dumps({**fit.to_json(), "command": command}) if as_json else f"{fit}\nuse it: {command}")
