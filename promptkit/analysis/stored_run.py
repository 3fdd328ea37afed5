"""Reads the stored outputs of a finished run, on which aligners are fitted without a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptkit.align.chain import CALIBRATIONS, Chain, chain_from_settings
from promptkit.collect.collected import Collected
from promptkit.collect.read_outputs import from_bytes
from promptkit.core.calibration import Calibration
from promptkit.core.errors import RunError
from promptkit.core.output_reader import OutputReader
from promptkit.core.paths import expanded
from promptkit.core.registry import build
from promptkit.evaluation.results import run_title
from promptkit.runs.files import expect
from promptkit.runs.finished import read_rows, read_tensors
from promptkit.runs.folder import SETTINGS
from promptkit.runs.schema import RunSettings, RunTitle

KEYS = frozenset({"id", "fold", "gold", "skipped", "no_answer", "logprobs", "demos", "seen"})
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
    return StoredRun(path=path, settings=settings, title=title, chains=chains, collected=collected)


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


def named_calibrations(calibrate: str) -> list[Calibration]:
    """Builds calibrations from their spellings, separated by commas.

    Raises:
        InputError: A name or a setting is invalid.
    """
    return [build("calibration", CALIBRATIONS, text) for text in calibrate.split(",") if text.strip()]
