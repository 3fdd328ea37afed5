"""`promptkit render`: shows the prompts of a task."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.tasks import resolve


def render(
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows to show.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show the token ids too.")] = False,
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: opts.Shots = 8,
    demos: opts.Demos = None,
    order: opts.Order = None,
    cot: opts.Cot = None,
    prompt: opts.Saved = None,
    seed: opts.Seed = 0,
    score: opts.ScoreOf = "sum",
    split: opts.Split = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train: opts.Train = None,
    set_: opts.Set = None,
    as_json: opts.Json = False,
) -> None:
    """Show the exact prompts of a task, colored by part, and what is likely wrong with them."""
    from promptkit.evaluation.preview import show, views

    loaded = resolve.task(task, data, template, label_column, labels, answer_column, train)
    options = PromptOptions(
        template=template, instruction=instruction, chat=chat, shots=shots, demos=demos, order=order, seed=seed, cot=cot
    )
    predictor = build.predictors(loaded, model, set_, options, {"score": score}, split=split, saved=prompt or ())[0]
    shown = views(predictor, loaded, split=split or loaded.spec.split, n=n)
    if as_json:
        print(json.dumps({"task": loaded.name, "model": predictor.model.name, "rows": [view.to_json() for view in shown]}))
    else:
        for view in shown:
            show(view, tokens=tokens)
