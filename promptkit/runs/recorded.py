"""Stores the options that a run was created with in its folder. They are not part of the run's identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from promptkit.core.files import write_atomically
from promptkit.runs.files import damaged, expect, read_json, to_file

if TYPE_CHECKING:
    from promptkit.runs.schema import Origin

OPTIONS = "options.json"
"""The file with the options that differ from the defaults."""
METRICS = "metrics.json"
"""The file with the names of the metrics that were last requested."""
TEMPLATE = "template.j2"
"""The file with the text of the prompt's template."""
ORIGIN = "origin.json"
"""The file that says where the rows come from."""
TASK_FILE = "task.yaml"
"""A copy of the task file, unless it is a shipped one."""
PROMPTS = "prompts.jsonl"
"""The file with the prompts of the rows, for readers."""
RECORDED = (OPTIONS, TEMPLATE, ORIGIN, TASK_FILE, PROMPTS)
"""The files with everything that evaluates a run again, and its prompts for readers. They are not part of the run."""


def record_options(folder: Path, options: Mapping[str, object]) -> None:
    """Writes the options of `promptkit eval` that a run was created with.

    Args:
        folder: The folder of the run or shard.
        options: Option -> value, as JSON values.
    """
    _write(folder / OPTIONS, to_file(options))


def record_template(folder: Path, template: str) -> None:
    """Writes the template of a run, so that it can be read, edited and given with --template.

    Args:
        folder: The folder of the run or shard.
        template: The text of the template.
    """
    _write(folder / TEMPLATE, template.encode())


def record_task_file(folder: Path, content: bytes) -> None:
    """Writes a copy of the task file.

    Args:
        folder: The folder of the run or shard.
        content: The content of the file.
    """
    _write(folder / TASK_FILE, content)


def record_origin(folder: Path, origin: Origin) -> None:
    """Writes where the rows of a run come from."""
    _write(folder / ORIGIN, to_file(cast("Mapping[str, object]", origin)))


def copy_recorded(source: Path, target: Path) -> None:
    """Copies the recorded files from the folder of a shard to that of its run."""
    for name in RECORDED:
        if (source / name).is_file():
            _write(target / name, (source / name).read_bytes())


def _write(path: Path, content: bytes) -> None:
    """Replaces a file if its content is another one."""
    if not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content)


def read_origin(folder: Path) -> Origin | None:
    """Returns where the rows of a run come from, or None if that is not recorded.

    Raises:
        RunError: If the file is damaged.
    """
    origin = read_json(folder / ORIGIN)
    if origin is not None and not (isinstance(origin, dict) and isinstance(origin.get("folder"), str) and "task" in origin):
        raise damaged(folder / ORIGIN, "it does not say where the rows of a run come from")
    return cast("Origin | None", origin)


def read_options(folder: Path) -> dict[str, object] | None:
    """Returns the options that a run was created with, or None if it was created from Python objects.

    Raises:
        RunError: If the file is damaged.
    """
    options = read_json(folder / OPTIONS)
    if options is not None and not (isinstance(options, dict) and isinstance(options.get("task"), str)):
        raise damaged(folder / OPTIONS, "it does not contain the options of a run")
    return options


def record_metrics(folder: Path, names: Sequence[str]) -> None:
    """Writes the names of the metrics that were requested, which are shown when the run is read again.

    Args:
        folder: The folder of the run.
        names: Names of registered metrics, the main one first; none removes those of earlier evaluations.
    """
    if names or (folder / METRICS).is_file():
        write_atomically(folder / METRICS, to_file({"metrics": list(names)}))


def read_metrics(folder: Path) -> tuple[str, ...]:
    """Returns the names of the metrics that were last requested, without those that are no longer registered.

    Raises:
        RunError: If the file is damaged.
    """
    from promptkit.metrics.requested import is_known

    with expect(folder / METRICS, "the names of metrics"):
        content = cast("Mapping[str, Sequence[str]]", read_json(folder / METRICS) or {"metrics": []})
        return tuple(str(name) for name in content["metrics"] if is_known(str(name)))
