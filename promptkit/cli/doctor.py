"""`promptkit doctor`: checks that two engines agree."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config import build
from promptkit.config.prompt import PromptOptions
from promptkit.tasks import resolve


def doctor(
    model: Annotated[str, typer.Option("--model", help="[engine:]name of the one model.")],
    against: Annotated[str, typer.Option("--against", help="[engine:]name of the other.")],
    task: Annotated[str, typer.Option("--task", help="A name of `promptkit tasks`, or a task's YAML file.")] = "sentiment",
    shots: opts.Shots = 8,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 64,
    tolerance: Annotated[float, typer.Option(min=0, help="Of a label's log-probability, natural log.")] = 2e-3,
    template: opts.Template = None,
    chat: opts.Chat = False,
    data: opts.Data = None,
    set_: opts.Set = None,
    set_against: Annotated[
        list[str] | None, typer.Option("--set-against", metavar="KEY=VALUE", help="A setting of the other engine.")
    ] = None,
    as_json: opts.Json = False,
) -> None:
    """Ask two engines the same and tell whether they agree; exit code 1 if they do not."""
    from promptkit.align.chain import reader_for
    from promptkit.analysis.doctor import diagnose

    loaded = resolve.task(task, data, template, None, None, None, None)
    prompt = PromptOptions(template=template, instruction=None, chat=chat, shots=shots, demos=None, order=None, seed=0).prompt(
        loaded
    )
    first, second = build.model(model, set_), build.model(against, set_against)
    found = diagnose(first, second, loaded, prompt, reader_for(loaded), limit=limit, tolerance=tolerance)
    print(json.dumps(found.to_json()) if as_json else found)
    if found.reasons:
        raise typer.Exit(1)
