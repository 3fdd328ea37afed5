"""Small pictures of the images of a run's rows, read from the data that the run was evaluated on, if they are still there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptkit.core.errors import PromptkitError
from promptkit.display.png import png_url
from promptkit.inputs.image import image_input
from promptkit.runs.recorded import read_origin
from promptkit.runs.run import Run
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

SIDE = 48
"""The longest side of a thumbnail, in pixels."""
MOST = 1000
"""The most rows with a thumbnail; those after them have none."""
HASH = "sha256:"


def thumbnails(run: Run) -> dict[str, str]:
    """Returns the thumbnails of a run: an input as the run records it -> a data URL.

    Empty for texts, and if the data cannot be read, such as those of a run that was copied from another machine.

    Args:
        run: The run.
    """
    wanted = {row.id: value for row in run.evaluated[:MOST] for value in row.inputs.values() if HASH in value}
    origin = read_origin(run.path) if wanted else None
    if origin is None or origin["task"] is None:
        return {}
    try:
        return _read(run, origin["task"], Path(origin["folder"]), wanted)
    except (PromptkitError, OSError):  # a report needs no data
        return {}


def _read(run: Run, options: Mapping[str, object], folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    name = str(options["task"])
    path = folder / name
    given = {key: value for key, value in options.items() if key not in ("task", "template")}
    task = resolve_task(str(path) if path.exists() else name, DataOptions.model_validate(given))
    if task.spec.modality != "image":
        return {}
    found: dict[str, str] = {}
    for row in task.rows(run.split):
        if row.id in wanted:
            (value,) = row.inputs.values()
            pixels = image_input(value, row.id).pixels.numpy()
            step = max(1, -(-max(pixels.shape[1:]) // SIDE))
            found[wanted[row.id]] = png_url(pixels[:, ::step, ::step])
    return found
