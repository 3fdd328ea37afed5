"""`pk.tune`: tunes on labeled rows of any kind, as `promptkit tune` does on a task or a data file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptkit.config.tune import DEFAULT_SPACE, TuneConfig
from promptkit.core.arguments import check_arguments
from promptkit.core.model import Model
from promptkit.tasks.task import Task
from promptkit.tuning.folder import TUNED

if TYPE_CHECKING:
    from promptkit.tuning.result import Tuned


@check_arguments("tune")
def tune(
    source: object,
    *,
    model: str | Model | Sequence[str | Model] = "demo",
    budget: str = "10m",
    label: str | None = None,
    inputs: Sequence[str] = (),
    labels: Sequence[str | int | float | bool] = (),
    template: str | Path | None = None,
    answer: str | Mapping[str, str] | Sequence[str] | None = None,
    schema: str | Path | Mapping[str, object] | None = None,
    multi_label: bool = False,
    ordinal: bool = False,
    values: Mapping[str, float] = {},
    numeric: bool = False,
    id: str | None = None,
    train: object = None,
    name: str | None = None,
    data: str | Path | None = None,
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

    The keywords from `label` to `data` are those of `pk.task`; the others are options of `promptkit tune`.

    Args:
        source: A task, or what `pk.task` reads: the name of a task, a data file, a data frame, or other labeled rows.
        model: The model, its name, or several.
        budget: What tuning may spend, such as `10m`, `500 requests` or `200k tokens`.
        space: What is tried: `default`, or a YAML file with a grid of options.
        test: A data file with further labeled rows, or a split, on which the chosen predictor is evaluated once.
        out: The folder of the results.
        progress: Called with the number of rows so far and of all rows, after each block of rows and in the first one after
            each prompt, or a `Display` of `TuningProgress`; False shows nothing. By default the best candidates are shown.

    Raises:
        PromptkitError: The data or the settings are invalid, or a model fails.
    """
    from promptkit.tasks.load import task as load_task

    of_task: dict[str, Any] = {
        **{"label": label, "inputs": inputs, "labels": labels, "template": template, "answer": answer, "schema": schema},
        **{"multi_label": multi_label, "ordinal": ordinal, "values": values, "numeric": numeric, "id": id, "train": train},
        **{"name": name, "data": data},
    }
    task = load_task(source, **of_task)
    models = _loaded(model)
    config = TuneConfig(
        **{**_described(task, template, data), "budget": budget, "max_requests": max_requests, "limit": limit},
        **{"model": [each.name for each in models], "metric": metric, "space": space, "test": test, "seed": seed},
    )
    return config.run(task=task, models=models, out=out, cache=cache, progress=progress)


def _loaded(model: str | Model | Sequence[str | Model]) -> list[Model]:
    """Returns the models, each once."""
    from promptkit.models.registry import load

    several = model if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    return [load(each) if isinstance(each, str) else each for each in dict.fromkeys(several)]


def _described(task: Task, template: str | Path | None, data: str | Path | None) -> Mapping[str, Any]:
    """Returns the options that make a task: its data, and the template that replaces that of a named task."""
    from promptkit.inputs.text.template import Template

    options = {"task": task.name, **({} if data is None else {"data": data}), **(task.data_options or {})}
    return options if template is None else {"template": Template.load(template).source, **options}
