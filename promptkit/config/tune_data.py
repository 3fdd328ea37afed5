"""`pk.tune`: tunes on labeled rows of any kind, as `promptkit tune` does on a task or a data file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptkit.config.tune import DEFAULT_SPACE, TUNED, TuneConfig
from promptkit.core.arguments import check_arguments
from promptkit.core.model import Model

if TYPE_CHECKING:
    from promptkit.tuning.result import Tuned


@check_arguments("tune")
def tune(
    data: object,
    *,
    model: str | Model | Sequence[str | Model] = "demo",
    budget: str = "10m",
    label: str | None = None,
    inputs: Sequence[str] = (),
    labels: Sequence[str | int | float | bool] = (),
    template: str | Path | None = None,
    metric: str | None = None,
    space: str = DEFAULT_SPACE,
    test: str | None = None,
    max_requests: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    out: str | Path = TUNED,
    cache: bool = True,
    progress: Callable[..., None] | Literal[False] | None = None,
) -> Tuned:
    """Finds the best prompt and alignment for labeled rows, as `promptkit tune` does.

    The other arguments are those of `TuneConfig`, and for data without a task file those of `pk.task`.

    Args:
        data: A task, the name of one, a data file, a data frame, or other labeled rows that `pk.task` reads.
        model: The model, its name, or several.
        budget: What tuning may spend, such as `10m`, `500 requests` or `200k tokens`.
        label: The column with the labels.
        space: What is tried: `default`, or a YAML file with a grid of options.
        out: The folder of the results.
        cache: Whether to take answers from the score cache and to add new ones.
        progress: Called with the number of rows so far and of all rows, after each block of rows and in the first one after
            each prompt, or a `Display` of `TuningProgress`; False shows nothing. By default the best candidates are shown.

    Raises:
        PromptkitError: The data or the settings are invalid, or a model fails.
    """
    from promptkit.models.registry import load
    from promptkit.tasks.load import task as load_task
    from promptkit.tasks.task import Task

    given: dict[str, Any] = {"label": label, "inputs": inputs, "labels": labels, "template": template}
    task = data if isinstance(data, Task) else load_task(data, **{name: value for name, value in given.items() if value})
    several = model if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    models = [load(each) if isinstance(each, str) else each for each in several]
    limits = {"budget": budget, "max_requests": max_requests, "limit": limit}
    config = TuneConfig(
        **{"task": task.name, **(task.data_options or {}), **limits},
        **{"model": [each.name for each in models], "metric": metric, "space": space, "test": test, "seed": seed},
    )
    return config.run(task=task, models=models, out=out, cache=cache, progress=progress)
