"""Records where the rows, the task and the template of a run come from, so that the run can be evaluated again."""

from __future__ import annotations

from pathlib import Path

from promptkit.core.manipulation import Manipulation
from promptkit.core.paths import folder as bundled
from promptkit.core.paths import names
from promptkit.evaluation.plan import RunPlan
from promptkit.manipulate.compose import without_modifiers
from promptkit.manipulate.prompt import Prompt
from promptkit.runs.recorded import record_origin, record_task_file, record_template
from promptkit.runs.schema import Origin
from promptkit.tasks.division import division_text
from promptkit.tasks.task import Task


def record_sources(folder: Path, plan: RunPlan) -> None:
    """Writes into the folder of a run where its task comes from, its template, and its task file unless that is shipped.

    Args:
        folder: The folder of the run or shard.
        plan: The run.
    """
    task, template = plan.task, template_of(plan.predictor.manipulate)
    options = task_options(task)
    record_origin(folder, Origin(folder=str(Path.cwd()), task=options))
    if template is not None:
        record_template(folder, template)
    if task.file is not None and not _is_shipped(task):
        record_task_file(folder, task.file.read_bytes())


def template_of(manipulation: Manipulation) -> str | None:
    """Returns the text of a prompt's template; None for another first manipulation."""
    first = without_modifiers(manipulation)
    return first.resolved_template.source if isinstance(first, Prompt) else None


def _is_shipped(task: Task) -> bool:
    return task.file is not None and bundled("evals") in task.file.parents and task.name in names("evals", ".yaml")


def task_options(task: Task) -> dict[str, object] | None:
    """Returns the options of `promptkit eval` that load a task; None if its rows were given in memory."""
    division = {} if task.division is None else {"split_train": division_text(task.division.fractions)}
    if task.file is not None:
        mirror = {} if task.source.mirror is None else {"data": str(task.base.resolve())}
        return {"task": task.name if _is_shipped(task) else str(task.file.resolve()), **mirror, **division}
    if task.source.folder is not None:
        return {"task": str((task.base / task.source.folder).resolve()), **division}
    return None if task.data_options is None else {**task.data_options, **division}
