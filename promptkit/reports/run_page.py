"""The page of a finished run, and of a run that is not finished."""

from __future__ import annotations

from pathlib import Path

from promptkit.reports import run_figures
from promptkit.reports.blocks import Block, Notes, Page, Paragraph, Section, TableBlock
from promptkit.reports.items import items_block
from promptkit.reports.label_maps import label_map_sections
from promptkit.reports.run_tables import headline_table, lead
from promptkit.reports.settings import run_settings, settings_section
from promptkit.reports.thumbnails import thumbnails
from promptkit.runs.folder import SHARD
from promptkit.runs.partial import partial_samples
from promptkit.runs.run import Run


def run_page(folder: Path, *, text: bool) -> Page:
    """Returns the page of a finished run.

    Args:
        folder: The folder of the run.
        text: Whether the page contains the texts of the data.

    Raises:
        RunError: A file is missing or was changed.
    """
    run = Run.load(folder)
    rows = items_block([run], [run.path.name], text=text, images=thumbnails(run) if text else None)
    results: list[Block] = [Notes(notes=run.notes), TableBlock(table=headline_table(run)), run_figures.metric_chart(run)]
    sections = [
        Section(id="results", title="Results", blocks=results),
        *figure_sections(run),
        *label_map_sections(run),
        Section(id="rows", title="Rows", blocks=[rows]),
        settings_section(folder, text=text),
    ]
    return Page(kind="Run", title=run.title, lead=lead(run), sections=sections)


def figure_sections(run: Run, name: str = "", number: int = 0) -> list[Section]:
    """Returns the sections with the figures of labels and of probabilities.

    Args:
        run: The run.
        name: Its name, if the page is about several runs.
        number: Its number, if the page is about several runs.
    """
    suffix, mark = (f" of {name}", f"-{number}") if name else ("", "")
    labels: list[Block | None] = [*run_figures.label_blocks(run), run_figures.prediction_chart(run)]
    confidence = [run_figures.reliability_chart(run), run_figures.risk_coverage_chart(run), run_figures.samples_chart(run)]
    sections = [
        Section(id=f"labels{mark}", title=f"Labels{suffix}", blocks=[block for block in labels if block is not None]),
        Section(
            id=f"confidence{mark}", title=f"Confidence{suffix}", blocks=[block for block in confidence if block is not None]
        ),
    ]
    return [section for section in sections if section.blocks]


def unfinished_page(folder: Path, *, text: bool) -> Page:
    """Returns the page of a run or shard that is not finished: what it evaluates, and how many rows have an answer so far.

    Args:
        folder: The folder of the run.
        text: Whether the page contains the texts of prompts.
    """
    settings, samples = run_settings(folder), partial_samples(folder)
    task, model, split = settings["task"]["name"], settings["model"]["name"], settings["split"]
    is_shard = (folder / SHARD).is_file()
    what = "This is one shard of a run. Merge the shards first." if is_shard else "This run is not finished."
    return Page(
        kind="Unfinished run",
        title=f"{task} · {split} · {model}",
        lead=f"{len(samples)} rows of {task} ({split}) have been answered by {model} so far.",
        banner=f"{what} No figure here is a result. Repeat its command to finish it.",
        sections=[
            Section(id="results", title="So far", blocks=[Paragraph(text=f"{len(samples)} rows have an answer so far.")]),
            settings_section(folder, text=text),
        ],
    )
