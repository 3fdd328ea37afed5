"""`promptkit render`: shows the prompts of a task."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config.answer import AnswerOptions
from promptkit.config.build import build_predictors
from promptkit.config.prompt import DEFAULT_SHOTS, PromptOptions
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

EIGHT_SHOTS = opts.Expand(defaults={"shots": DEFAULT_SHOTS}, help={"shots": "Number of demonstrations."})


@opts.expand_options
def render(
    task: opts.TaskName,
    *,
    model: opts.ModelName = "demo",
    set_: opts.EngineSettings = None,
    prompt_options: Annotated[PromptOptions, EIGHT_SHOTS],
    answer_options: Annotated[AnswerOptions, opts.Expand(only=("score",))],
    data_options: DataOptions,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of rows to show.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show the token ids too.")] = False,
    as_json: opts.Json = False,
) -> None:
    """Show the exact prompts of a task. Parts are colored, and warnings point out likely mistakes."""
    from promptkit.evaluation.preview import show, views

    split = data_options.split
    loaded = resolve_task(task, data_options, template=prompt_options.template)
    predictor = build_predictors(loaded, model, set_, prompt_options, answer_options, split=split)[0]
    rows = views(predictor, loaded, split=split or loaded.spec.split, n=n)
    if as_json:
        print(json.dumps({"task": loaded.name, "model": predictor.model.name, "rows": [row.to_json() for row in rows]}))
    else:
        for row in rows:
            show(row, tokens=tokens)
