"""The page of a training run: its losses, its evaluations on dev rows, and learned image programs as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from promptkit.core.errors import RunError
from promptkit.display.png import png_url
from promptkit.display.table import Table
from promptkit.manipulate.image.learned import LearnedProgram
from promptkit.manipulate.learned.storage import MANIFEST, load_manipulation
from promptkit.reports import line_charts
from promptkit.reports.blocks import Block, Chart, Page, Paragraph, Pictures, Section, TableBlock
from promptkit.reports.settings import run_settings, settings_blocks
from promptkit.training import checkpoint
from promptkit.training.checkpoint import TrainingState


def training_page(folder: Path, *, text: bool) -> Page:
    """Returns the page of a training run, finished or not.

    Args:
        folder: The folder of the training run.
        text: Whether the page contains the texts of prompts.

    Raises:
        RunError: The folder has no checkpoint yet.
        CheckpointError: A file is damaged.
    """
    settings, state = cast("Mapping[str, object]", run_settings(folder)), checkpoint.read(folder)
    if state is None or not state.dev_evaluations:
        raise RunError(
            f"The training run in {folder} has no result yet",
            code="unfinished-run",
            hint="Repeat the command that began it, which continues where it stopped",
            folder=str(folder),
        )
    task, model = _name(settings, "task"), _name(settings, "model")
    learned = [
        load_manipulation(manifest.parent) for manifest in sorted([*folder.glob(MANIFEST), *folder.glob(f"*/{MANIFEST}")])
    ]
    names = ", ".join(each.name for each in learned) or "a learned manipulation"
    blocks: list[Block] = [TableBlock(table=_table(state, task)), _loss_chart(state)]
    metric = _metric_chart(state)
    blocks += [] if metric is None else [metric]
    blocks.append(Paragraph(text=_end(state)))
    sections = [Section(id="results", title="Course", blocks=blocks)]
    pictures = [
        (f"{each.name}: {caption}", png_url(pixels))
        for each in learned
        if isinstance(each, LearnedProgram)
        for caption, pixels in each.pictures().items()
    ]
    if pictures:
        sections.append(Section(id="programs", title="Learned programs", blocks=[Pictures(pictures=pictures)]))
    sections.append(Section(id="settings", title="Settings and citation", blocks=settings_blocks(settings, text=text)))
    return Page(
        kind="Training",
        title=f"{task} · {model} · {names}",
        lead=f"{names} of {model} on {task}: the best of {len(state.dev_evaluations)} evaluations on dev rows, after "
        f"{state.best.step} of {state.step} steps, is compared with the evaluation before any step.",
        banner="" if state.stop_reason else "This training run is not finished. Repeat its command to continue it.",
        sections=sections,
    )


def _name(settings: Mapping[str, object], key: str) -> str:
    return str(cast("Mapping[str, object]", settings[key])["name"])


def _table(state: TrainingState, task: str) -> Table:
    """Returns the evaluations before any step and after the best one."""
    first, best = state.dev_evaluations[0], state.best
    metric = first.metric or "metric"
    return Table(
        title=f"{task} · dev rows",
        columns=("dev rows", "steps", metric, "loss"),
        rows=(("before", first.step, first.value, first.loss), ("best", best.step, best.value, best.loss)),
        names=1,
        caption="the best evaluation is chosen by these rows, and is better than that on new rows",
    )


def _loss_chart(state: TrainingState) -> Chart:
    series = ("training rows, each step", "dev rows")
    values: list[dict[str, object]] = [
        {"series": series[0], "x": step, "y": loss} for step, loss in enumerate(state.losses, start=1)
    ]
    values += [{"series": series[1], "x": each.step, "y": each.loss} for each in state.dev_evaluations]
    return line_charts.lines(
        values,
        x="steps",
        y="loss",
        series=series,
        legend="loss of",
        title="Loss",
        description=f"Loss of training and dev rows over {state.step} steps; the best on dev is after {state.best.step}",
        note="The dotted line is the best evaluation on dev rows, which is kept.",
        points=len(values) <= 200,
        rule=state.best.step,
    )


def _metric_chart(state: TrainingState) -> Chart | None:
    """Returns the main metric on dev rows; None if only the loss is known."""
    found = [each for each in state.dev_evaluations if each.value is not None]
    if not found:
        return None
    metric = str(found[0].metric)
    return line_charts.lines(
        [{"series": "dev rows", "x": each.step, "y": each.value} for each in found],
        x="steps",
        y=metric,
        series=["dev rows"],
        legend=metric,
        title=f"{metric} on dev rows",
        description=f"{metric} on dev rows: {found[0].value:.3f} before any step, {state.best.value or 0.0:.3f} at best",
        rule=state.best.step,
    )


def _end(state: TrainingState) -> str:
    rows = state.rows_computed.get("steps", 0)
    if not state.stop_reason:
        return f"{state.step} steps so far, of {rows} rows in all."
    return f"{state.step} steps of {rows} rows in all; training ended because {state.stop_reason}."
