"""Applies calibrations to the stored outputs of a finished run. No model is loaded and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptkit.align.chain import CALIBRATIONS, Chain, applies, check_scores, needs_calibration
from promptkit.analysis.availability import Unavailable, available_calibrations
from promptkit.analysis.stored_run import ALL, StoredRun, named_calibrations, read_stored_run
from promptkit.core.calibration import Calibration, EstimatesPrior
from promptkit.core.caller import by_caller
from promptkit.core.errors import RunError
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import build, spelling
from promptkit.core.shown_text import label_text
from promptkit.display.table import Table
from promptkit.display.text_table import FEW_LABELS
from promptkit.evaluation.fit_warnings import fit_warnings
from promptkit.evaluation.results import compute_results, label_notes
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.table import difference
from promptkit.runs.command import eval_command, explained
from promptkit.runs.recorded import read_options
from promptkit.runs.result import Result
from promptkit.runs.row_warnings import seen_warnings
from promptkit.runs.run_table import tabulated_metrics

DIFFERENCE = "difference"
"""The column of differences in the main metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignments:
    """A finished run with several calibrations. `print(alignments)` shows a table."""

    task: str
    split: str
    model: str
    path: Path
    """Folder of the run."""
    labels: tuple[str, ...]
    gold: tuple[str, ...]
    """The label of each row."""
    results: tuple[Result, ...]
    """The uncalibrated verbalizer, then each calibration."""
    differences: tuple[Estimate | None, ...]
    """For each result, its main metric minus that of the verbalizer, paired by row; None for the verbalizer."""
    unavailable: tuple[Unavailable, ...]
    """The calibrations that the stored outputs do not allow."""
    command: str | None
    """The command that repeats the run with the unavailable calibrations; None if there are none, or if the command line cannot
    express the run."""
    warnings: tuple[str, ...]
    label_notes: tuple[str, ...] = ()
    """The source classes of each label that were chosen by hand or by their names."""

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit align --json` prints."""
        pairs = zip(self.results, self.differences, strict=True)
        return {
            "task": self.task,
            "split": self.split,
            "n": len(self.gold),
            "model": self.model,
            "run": str(self.path),
            "gold": dict(Counter(self.gold)),
            "main_metric": next(iter(self.results[0].metrics)),
            "results": [{**result.to_json(), "difference": each and each.rounded()} for result, each in pairs],
            "unavailable": [{"align": each.name, "code": each.code, "reason": each.reason} for each in self.unavailable],
            "command": self.command,
            "warnings": list(self.warnings),
        }

    def table(self) -> Table:
        """Returns a table with one line per calibration: its metrics, its difference in the main metric and its
        predictions."""
        few, gold = len(self.labels) <= FEW_LABELS, Counter(self.gold)
        main, *others = tabulated_metrics(self.results[0])
        direction = "" if main.higher_is_better else "; lower is better"
        caption = f"below figures their 95% intervals; difference: from the uncalibrated verbalizer, paired by row{direction}"
        counts = "/".join(str(gold[label]) for label in self.labels)
        return Table(
            title=f"{self.task} · {self.split} · {len(self.gold)} rows · {self.model}",
            columns=("alignment", main.title, DIFFERENCE, *(metric.title for metric in others), "predicted"),
            rows=tuple(
                (
                    result.align,
                    Estimate(**result.metrics[main.name]),
                    difference,
                    *(result.metrics[metric.name]["value"] for metric in others),
                    self._predicted(result, few=few),
                )
                for result, difference in zip(self.results, self.differences, strict=True)
            ),
            names=1,
            caption=f"{caption}; predicted: {'/'.join(map(label_text, self.labels))}, gold {counts}" if few else caption,
            signed=(DIFFERENCE,),
        )

    def _predicted(self, result: Result, *, few: bool) -> str:
        if few:
            return "/".join(str(result.predicted[label]) for label in self.labels)
        return f"{sum(map(bool, result.predicted.values()))} of {len(self.labels)} labels"

    def notes(self) -> list[str]:
        """Returns warnings, the calibrations that are not available, and the command that makes them available."""
        notes = [*self.label_notes, *(f"warning: {warning}" for warning in self.warnings)]
        notes += [f"not available: {each.name}: {each.reason}" for each in self.unavailable]
        return notes + ([f"to collect what is missing: {explained(self.command)}"] if self.command else [])

    def __str__(self) -> str:
        return "\n".join([str(self.table()), *self.notes()])

    __repr__ = __str__


def align(run: str | Path, calibrate: str = ALL) -> Alignments:
    """Applies calibrations to the stored outputs of a finished run.

    Args:
        run: Folder of the run.
        calibrate: The calibrations, such as `contextual,batch:estimate_on=test`; or `all`: every calibration, with the
            settings of the run or its defaults, and those that can be estimated on the evaluated rows also in that way.

    Raises:
        RunError: If the run is not finished, its rows do not have the same labels, or nothing can be applied to it.
        Unsupported: A calibration corrects label scores, and the run has none.
    """
    stored = read_stored_run(run)
    reader, collected = stored.reader, stored.collected
    available, unavailable = available_calibrations(_requested(calibrate, stored.chains, reader), stored)
    baseline = [] if needs_calibration(reader) else [Chain(reader=reader)]
    new_chains = [*baseline, *(Chain(reader=reader, calibration=each) for each in available)]
    command = _collecting_command(stored, unavailable)
    if not new_chains:
        raise _nothing_available(stored.path, unavailable, command)
    results = tuple(result.with_metrics(stored.metrics) for result in compute_results(new_chains, collected))
    return Alignments(
        task=stored.title["task"],
        split=stored.title["split"],
        model=stored.title["model"],
        path=stored.path,
        labels=reader.labels,
        gold=tuple(record["gold"] for record in collected.samples),
        results=results,
        differences=_differences(results, has_baseline=bool(baseline)),
        unavailable=tuple(unavailable),
        command=command,
        warnings=(*seen_warnings(collected.samples), *fit_warnings(new_chains, collected)),
        label_notes=tuple(label_notes(reader, results)),
    )


def _differences(results: Sequence[Result], *, has_baseline: bool) -> tuple[Estimate | None, ...]:
    """The main metric of each result minus that of the first one, if that is the uncalibrated aligner."""
    if not has_baseline:
        return (None,) * len(results)
    first, *others = results
    main = next(iter(first.chosen.values()))
    return (None, *(difference(main, result.metric_input, first.metric_input) for result in others))


def _nothing_available(path: Path, unavailable: Sequence[Unavailable], command: str | None) -> RunError:
    reasons = "; ".join(f"{each.name}: {each.reason}" for each in unavailable)
    return RunError(
        f"None of the calibrations can be applied to the run {path}",
        code="nothing-available",
        got=reasons or "no calibration",
        hint=_collecting(unavailable, command) if command else "Name others",
        run=str(path),
        unavailable=tuple(each.name for each in unavailable),
    )


def _collecting(unavailable: Sequence[Unavailable], command: str) -> str:
    """Returns a hint how to collect the outputs that a run lacks."""
    names = [each.name for each in unavailable if each.collectable]
    return by_caller(command=f"Collect what is missing: {command}", python=f"Evaluate again with {', '.join(names)}")


def _requested(calibrate: str, chains: Sequence[Chain], reader: OutputReader) -> list[Calibration]:
    if calibrate != ALL:
        named = named_calibrations(calibrate)
        for calibration in named:
            check_scores(reader, calibration)
        return named
    of_run = [chain.calibration for chain in chains if chain.calibration]
    requested: list[Calibration] = []
    for name, calibration_class in CALIBRATIONS.items():
        default = calibration_class()
        requested += [calibration for calibration in of_run if calibration.name == name] or [default]
        if isinstance(default, EstimatesPrior):
            requested.append(build("calibration", CALIBRATIONS, f"{name}:estimate_on=test"))
    return [calibration for calibration in requested if applies(reader, calibration)]


def _collecting_command(stored: StoredRun, unavailable: Sequence[Unavailable]) -> str | None:
    """The command that repeats the run with more calibrations, or None if there are none to collect."""
    collectable = [each.name for each in unavailable if each.collectable]
    if not collectable:
        return None
    of_run = [spelling(chain.calibration) for chain in stored.chains if chain.calibration]
    recorded = read_options(stored.path)
    return eval_command(stored.settings, [*of_run, *collectable], folder=stored.path, recorded=recorded)
