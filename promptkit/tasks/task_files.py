"""Loads tasks from their YAML files."""

from __future__ import annotations

import os
from pathlib import Path

from promptkit.core.arguments import check_value
from promptkit.core.caller import setting
from promptkit.core.errors import PromptkitError, TaskError, unknown
from promptkit.core.json_schema import read_schema
from promptkit.core.paths import expanded, folder, names
from promptkit.tasks.readers import unreadable
from promptkit.tasks.sources import base_of
from promptkit.tasks.spec import JSON, SCHEMA, TaskSpec, read_spec
from promptkit.tasks.task import Task
from promptkit.tasks.yaml_file import errors_at


def load_task(name: str | Path, *, data: str | Path | None = None) -> Task:
    """Loads a task from its YAML file.

    Args:
        name: The name of a shipped task (`sentiment`, or `a/b` for evals/a/b.yaml), or the path of a task's YAML file.
        data: The folder of a local mirror of datasets; by default PROMPTKIT_DATA.

    Raises:
        TaskError: There is no such task, the file is invalid, or none of the task's sources is available.
    """
    path = expanded(name)
    if path.suffix not in (".yaml", ".yml"):
        path = folder("evals") / f"{name}.yaml"
    if not path.is_file():
        raise _no_task(name)
    spec = read_spec(path)
    if spec.template.endswith(".j2"):  # relative to the task file
        spec = spec.model_copy(update={"template": str(path.parent / spec.template)})
    spec = _with_schema(spec, path)
    given = data or os.environ.get("PROMPTKIT_DATA")
    mirror = Path(given).expanduser() if given else None
    label = path.stem if path == Path(name) else str(name)
    for source in spec.sources:
        base = base_of(source, path.parent, mirror)
        if base is not None:
            return Task(label, spec, source, base, path)
    raise _no_source(str(name), spec, mirror)


def _with_schema(spec: TaskSpec, path: Path) -> TaskSpec:
    """Returns a task file with the schema of its JSON answers, which may be in a file next to it, in place of its path."""
    settings = spec.answer.get(JSON) if isinstance(spec.answer, dict) else None
    if settings is None or SCHEMA not in settings:
        return spec
    given = settings[SCHEMA]
    is_path = isinstance(given, str) and not given.lstrip().startswith("{")
    with errors_at(path, f"answer.{JSON}.{SCHEMA}"):
        check_value(SCHEMA, given, str | dict[str, object], of=JSON)
        schema = read_schema(str(path.parent / Path(given).expanduser()) if is_path else given)
    return spec.model_copy(update={"answer": {JSON: {**settings, SCHEMA: dict(schema.value)}}})


def _no_source(name: str, spec: TaskSpec, mirror: Path | None) -> TaskError:
    """The error for a task without an available source."""
    if spec.obtain is not None:
        reason = f"The data of the task {name} are not on this machine"
        return TaskError(
            reason,
            code="data-not-found",
            got=setting("data", str(mirror)) if mirror else None,
            hint=spec.obtain,
            task=name,
            data=mirror,
        )
    kinds = f"a mirror ({setting('data', 'DIR')})" if not mirror else "the hub or files, not a mirror"
    return TaskError(
        f"The task {name} can only be read from {kinds}",
        code="needs-hub" if mirror else "needs-mirror",
        hint="See its `sources`",
        task=name,
    )


def _no_task(name: str | Path) -> PromptkitError:
    """The error for a name that is neither a shipped task nor a task file."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        hint = f"It was searched for in {Path.cwd()}; promptkit task init creates one from a data file"
        return TaskError(f"There is no task file {name}", code="no-such-file", hint=hint, file=str(name))
    if path.is_file() or path.suffix:
        return unreadable(path)
    hint = "For your own task, give the path of its YAML file or of a data file"
    return unknown("task", str(name), names("evals", ".yaml"), hint=hint, error=TaskError)


def read_shipped_specs() -> dict[str, TaskSpec]:
    """Returns the definition of every shipped task, by name."""
    return {name: read_spec(folder("evals") / f"{name}.yaml") for name in names("evals", ".yaml")}
