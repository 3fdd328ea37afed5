"""Reads the stored outputs of a finished run, on which aligners are fitted without a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptkit.align.chain import CALIBRATIONS, Chain, chain_from_settings
from promptkit.collect.collected import Collected
from promptkit.collect.read_outputs import from_bytes
from promptkit.core.answer_record import GOLD_KEYS, SCORE_KEYS
from promptkit.core.calibration import Calibration
from promptkit.core.errors import RunError, needs_single_label
from promptkit.core.output_reader import OutputReader
from promptkit.core.paths import expanded
from promptkit.core.registry import build
from promptkit.evaluation.results import run_title
from promptkit.runs.files import expect
from promptkit.runs.finished import read_rows, read_tensors
from promptkit.runs.folder import SETTINGS
from promptkit.runs.recorded import read_metrics
from promptkit.runs.schema import RunSettings, RunTitle

KEYS = frozenset({"id", "fold", "demos", "seen", "skipped", "no_answer", *GOLD_KEYS, *SCORE_KEYS})
"""The keys of a run's records that are read."""
ALL = "all"
"""Names every calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A finished run whose rows have the same labels."""

    path: Path
    settings: RunSettings
    title: RunTitle
    chains: tuple[Chain, ...]
    """Its branches."""
    collected: Collected
    """The outputs of its rows."""
    metrics: tuple[str, ...] = ()
    """The names of the metrics that were last requested; the first one is the main metric."""

    @property
    def reader(self) -> OutputReader:
        """The first aligner of all branches."""
        return self.chains[0].reader

    @property
    def heading(self) -> str:
        """Task, split, number of rows and model."""
        return "{task} · {split} · {n} rows · {model}".format(**self.title)


def read_stored_run(run: str | Path) -> StoredRun:
    """Reads a finished run.

    Args:
        run: Folder of the run.

    Raises:
        RunError: If the run is not finished, or its rows do not have the same labels.
    """
    path = expanded(run)
    settings, samples, support = read_rows(path, KEYS)
    with expect(path / SETTINGS, "the settings of a run"):
        chains = tuple(chain_from_settings(chain) for chain in settings["align"])
        title = run_title(settings, len(samples))
    check_fixed_labels(path, chains[0].reader, "which other alignments of it need")
    collected = Collected(samples=samples, support=support, read_outputs=from_bytes(read_tensors(path)))
    return StoredRun(path=path, settings=settings, title=title, chains=chains, collected=collected, metrics=read_metrics(path))


def check_fixed_labels(path: Path, reader: OutputReader, reason: str) -> None:
    """Raises RunError if the rows of a run do not have the same labels.

    Args:
        path: Folder of the run.
        reader: Its first aligner.
        reason: A clause that says what needs these labels.
    """
    if not reader.labels:
        raise RunError(
            f"The run {path} does not have the same labels for every row, {reason}",
            code="no-fixed-labels",
            got=f"answers read by {reader.name}",
            hint="Use a run of a task that declares labels",
            folder=str(path),
            aligner=reader.name,
        )


def check_single_label(reader: OutputReader, purpose: str) -> None:
    """Raises Unsupported if any number of labels can apply to the rows of a run.

    Args:
        reader: The first aligner of the run.
        purpose: What needs one label for each row.
    """
    if reader.task_kind == "multi-label":
        raise needs_single_label(purpose)


def named_calibrations(calibrate: str) -> list[Calibration]:
    """Builds calibrations from their spellings, separated by commas.

    Raises:
        InputError: A name or a setting is invalid.
    """
    return [build("calibration", CALIBRATIONS, text) for text in calibrate.split(",") if text.strip()]
