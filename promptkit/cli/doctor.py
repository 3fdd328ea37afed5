"""`promptkit doctor`: checks that two engines agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config.answer import AnswerOptions
from promptkit.config.modality import build_first_stages
from promptkit.config.prompt import PromptOptions
from promptkit.config.values import parse_settings
from promptkit.tasks.options import DataOptions, TableOptions
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from promptkit.core.capabilities import Feature

PROMPT = opts.Expand(only=("template", "chat", "shots"))


@opts.expand_options
def doctor(
    *,
    model: Annotated[str, typer.Option("--model", help="First model, as [engine:]name.")],
    against: Annotated[str, typer.Option("--against", help="Second model, as [engine:]name.")],
    task: Annotated[
        str, typer.Option("--task", help="Task name from `promptkit tasks`, a task file, or a data file.")
    ] = "sentiment",
    limit: Annotated[int, typer.Option(min=1, help="Number of rows.")] = 64,
    prompt_options: Annotated[PromptOptions, PROMPT],
    data_options: Annotated[DataOptions, opts.Expand(only=("data", *TableOptions.model_fields))],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest accepted difference of a label's log-probability, in nats.")
    ] = 2e-3,
    set_: opts.EngineSettings = None,
    set_against: Annotated[
        list[str] | None, typer.Option("--set-against", metavar="KEY=VALUE", help="Engine setting of the second model.")
    ] = None,
    as_json: opts.Json = False,
) -> None:
    """Compare the outputs of two engines for the same requests. The exit code is 1 if they differ."""
    from promptkit.analysis.doctor import diagnose
    from promptkit.models.registry import load
    from promptkit.models.support import check_supports

    loaded = resolve_task(task, data_options, template=prompt_options.template)
    stages = build_first_stages(loaded, prompt_options, AnswerOptions())
    first, second = (load(name, **parse_settings(values or ())) for name, values in ((model, set_), (against, set_against)))
    needed: set[Feature] = {loaded.spec.modality, stages.reader.verb}
    for each in (first, second):
        alternative = "name another task with --task"
        check_supports(each.name, each.capabilities, loaded.spec.modality, together=needed, alternative=alternative)
    diagnosis = diagnose(first, second, loaded, stages.encoder, stages.reader, limit=limit, tolerance=tolerance)
    print(json.dumps(diagnosis.to_json()) if as_json else diagnosis)
    if diagnosis.reasons:
        raise typer.Exit(1)
