"""`promptkit render`: shows the prompts of a task."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.tasks.task import Task

PROMPT = opts.Expand(
    without=("extract", "max_tokens", "samples", "temperature", "limit", "allow_seen", *CalibrationOptions.model_fields)
)
"""The options of an evaluation that determine its prompts."""


@opts.expand_options
def render(
    config: Annotated[EvalConfig, PROMPT],
    *,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of rows to show.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show the token ids too.")] = False,
    plot: opts.Plot = None,
    as_json: opts.Json = False,
) -> None:
    """Show the exact prompts of a task. Parts are colored, and warnings point out likely mistakes.

    For images, --plot draws them before and after the operations of programs, with the classes that the model sees.
    """
    from promptkit.analysis.image_views import view_images
    from promptkit.config.modality import option_for_texts
    from promptkit.display.plots import check_drawable, write
    from promptkit.evaluation.preview import views

    if plot is not None:
        check_drawable(plot)

    task = config.load_task()
    if tokens and task.spec.modality == "image":
        raise option_for_texts("tokens", task.name)
    predictor = _complete(config, task).build(task)[0]
    if plot is not None:
        write(view_images(predictor, task, n=n, split=config.split).plot(), plot)
    rows = views(predictor, task, split=config.split or task.spec.split, n=n, folds=config.folds)
    generated = None if config.template else task.inline_template
    if as_json:
        template = {} if generated is None else {"template": generated}
        result = {"task": task.name, "model": predictor.model.name, **template, "rows": [row.to_json() for row in rows]}
        print(json.dumps(result))
        return
    for row in rows:
        row.show(tokens=tokens)
    if generated is not None:
        print(f"\nThe template, which can be edited in a file and given with --template FILE.j2:\n\n{generated}", end="")


def _complete(config: EvalConfig, task: Task) -> EvalConfig:
    """Allows all rows, and adds a label map for images without classes, which have no predictor otherwise.

    Neither changes what the model reads.
    """
    needs_label_map = task.spec.modality == "image" and task.spec.classes is None
    return config.model_copy(update={"allow_seen": True} | ({"labelmap": ("frequency",)} if needs_label_map else {}))
