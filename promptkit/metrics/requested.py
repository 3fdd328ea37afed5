"""The metrics that a user requests: by their names, as classes or functions, or as FILE.py:NAME.

The first one is the main metric of a run: the first column of tables, and what differences compare. The default metrics follow.
"""

from __future__ import annotations

import runpy
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import FunctionType

from promptkit.core.arguments import shortened
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError, unknown
from promptkit.core.metric_input import MetricInput
from promptkit.core.paths import expanded
from promptkit.metrics.base import Metric
from promptkit.metrics.function import RowFunction
from promptkit.metrics.table import FAMILIES, METRICS, applicable, as_metric, defaults, estimate

RequestedMetric = str | Metric
"""A metric that was requested: the name of a registered one, or a metric."""
MetricLike = str | Metric | type[Metric] | RowFunction
"""What a user can request in Python: a name, `FILE.py:NAME`, a metric, its class, or a function."""
SHOWN = 5
"""The maximum number of members of a family of metrics that a message names."""
_FILE = ".py:"
"""What follows the name of a file in the spelling of a metric in a file."""


def parse_metrics(given: object, *, files: bool = True) -> tuple[RequestedMetric, ...]:
    """Returns the metrics that a user requests, after a check that they exist.

    Args:
        given: None, one metric, or a sequence of them: a name, several names separated by commas, `FILE.py:NAME`, a metric, its
            class, or a function of a prediction and the accepted answers.
        files: Whether `FILE.py:NAME` is allowed, which executes the file.

    Raises:
        InputError: There is no such metric, a file cannot be executed, or something is no metric.
    """
    items = [] if given is None else [*given] if isinstance(given, list | tuple) else [given]
    names = [name for item in items for name in (_split(item) if isinstance(item, str) else [item])]
    requested = [_requested(item, files=files) for item in names]
    return tuple({name_of(each): each for each in requested}.values())


def is_known(name: str) -> bool:
    """Returns whether there is a registered metric of a name, or a family of metrics with its prefix."""
    return name in METRICS or any(name.startswith(family.prefix) for family in FAMILIES)


def name_of(requested: RequestedMetric) -> str:
    """Returns the name of a metric that was requested."""
    return requested if isinstance(requested, str) else requested.name


def _split(names: str) -> list[str]:
    """Returns the names in a text. A comma after `@` belongs to the name of a label or field."""
    parts: list[str] = []
    for part in names.split(","):
        if parts and "@" in parts[-1] and part.strip() not in METRICS and part.startswith(" "):
            parts[-1] += f",{part}"
        elif part.strip():
            parts.append(part.strip())
    return parts


def _requested(item: object, *, files: bool) -> RequestedMetric:
    if isinstance(item, str) and _FILE in item:
        if not files:
            raise InputError(
                f"A task file cannot name the metric {item}: reading a task must not execute other files",
                code="metric-file-in-task",
                hint=by_caller(command=f"Use --metric {item}", python=f"Use metrics=[{item!r}]"),
                metric=item,
            )
        return _new(*_from_file(item))
    if isinstance(item, str):
        spelled = item.replace("-", "_")
        if not is_known(item) and spelled in METRICS:  # as papers write it: log-loss, macro-F1
            return spelled
        if not is_known(item):
            families = [f"{family.prefix}..." for family in FAMILIES]
            hint = "Your own metric is FILE.py:NAME" + by_caller(command="", python=", or registered by pk.metrics.register")
            raise unknown("metric", item, [*METRICS, *families], hint=hint)
        return item
    return _new(item, None)


def _new(added: object, name: str | None) -> Metric:
    """Returns the metric that something defines, after a check that its name is not that of another metric."""
    metric = as_metric(added, name)
    if metric is None:
        raise InputError(
            "This is not a metric",
            code="not-a-metric",
            got=shortened(added),
            hint="Give a name, a class with the attributes of pk.metrics.Metric, or a named function of a prediction and the "
            "accepted answers",
            metric=shortened(added),
        )
    known = METRICS.get(metric.name)
    if known is not None and type(known) is not type(metric):
        raise InputError(
            f"There is already a metric named {metric.name}",
            code="name-taken",
            hint="Use another name",
            kind="metric",
            name=metric.name,
        )
    return metric


def _from_file(spelling: str) -> tuple[object, str]:
    """Returns the object that FILE.py:NAME names, and NAME.

    Raises:
        InputError: There is no such file or name, or the file cannot be executed.
    """
    stem, _, name = spelling.partition(_FILE)
    file = expanded(f"{stem}.py")
    if not file.is_file():
        hint = f"It was searched for in {Path.cwd()}"
        raise InputError(f"There is no file {file} with a metric", code="no-such-file", hint=hint, file=str(file))
    try:
        defined = runpy.run_path(str(file))
    except Exception as error:
        raise InputError(
            f"The file {file} of the metric {name} cannot be executed: {type(error).__name__}: {error}",
            code="metric-file-failed",
            file=str(file),
            metric=name,
        ) from error
    if name not in defined:
        kinds = (type, FunctionType)
        public = [key for key, value in defined.items() if isinstance(value, kinds) and not key.startswith("_")]
        raise unknown(f"metric in {file}", name, public)
    return defined[name], name


def chosen(requested: Sequence[RequestedMetric], rows: MetricInput) -> dict[str, Metric]:
    """Returns the metrics of predictions, by name: first those that were requested, then the other default ones.

    Raises:
        InputError: A metric does not apply to the predictions.
    """
    known = applicable(rows)
    first: dict[str, Metric] = {}
    for each in requested:
        name = name_of(each)
        metric = known.get(name) if isinstance(each, str) else each
        if metric is None or not metric.applies_to(rows):
            raise InputError(
                f"The metric {name} does not apply to these predictions",
                code="metric-not-applicable",
                got=f"predictions of {rows.kind.replace('_', ' ')}",
                hint=f"Metrics that apply: {', '.join(_listed(known))}",
                metric=name,
                kind=rows.kind,
            )
        first[name] = metric
    return first | {name: metric for name, metric in defaults(rows).items() if name not in first}


def _listed(names: Collection[str]) -> list[str]:
    """Returns names of metrics, with the prefix of a family in place of many members: `precision@...`."""
    members = {family.prefix: [name for name in names if name.startswith(family.prefix)] for family in FAMILIES}
    short = {name: f"{prefix}..." for prefix, each in members.items() if len(each) > SHOWN for name in each}
    return [*dict.fromkeys(short.get(name, name) for name in names)]


def check(requested: Sequence[RequestedMetric], rows: MetricInput) -> None:
    """Raises the errors of metrics that do not apply, or whose packages are missing, before a model answers.

    Args:
        requested: The metrics.
        rows: Predictions of the kind that will be made, such as those of rows without an answer.
    """
    metrics = chosen(requested, rows)
    for each in requested:
        metrics[name_of(each)].values(rows)


def chosen_estimates(
    metrics: Mapping[str, Metric], rows: MetricInput, known: Mapping[str, Mapping[str, float]]
) -> dict[str, Mapping[str, float]]:
    """Returns the values of metrics as they are written to files.

    Args:
        metrics: Name -> metric, from `chosen`.
        rows: The predictions.
        known: Metric -> value and interval, of default metrics that are computed already.
    """
    return {
        name: known[name] if metric.is_default and name in known else estimate(metric, rows).rounded()
        for name, metric in metrics.items()
    }
