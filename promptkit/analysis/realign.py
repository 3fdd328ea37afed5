"""Every alignment that a finished run's stored outputs allow: no model is loaded, and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.align.chain import CALIBRATIONS, Chain, chain_from_settings
from promptkit.core.alignment import Calibration, Scorer
from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.paths import expanded
from promptkit.core.registry import build, spelling
from promptkit.display.text_table import FEW_LABELS, as_text, new_table, with_interval
from promptkit.evaluation import requirements, support
from promptkit.evaluation import results as figures
from promptkit.evaluation.readings import ReadOutputs, stored
from promptkit.metrics.intervals import Estimate, paired_difference
from promptkit.models.registry import ENGINES
from promptkit.runs.command import eval_command, explained, without_premise
from promptkit.runs.folder import damaged, read_outputs, read_tensors
from promptkit.runs.records import DECIMALS
from promptkit.runs.run import Result

if TYPE_CHECKING:
    from rich.table import Table

ALL = "all"
TRAIN = "train"
"""The split that the fit part is of."""
KEPT = frozenset({"id", "gold", "logprobs", "demos"})
"""What is read of the lines of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A calibration that the run has not the outputs for."""

    name: str
    reason: str
    """What is missing."""
    collectable: bool
    """Whether the run could be made again with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignments:
    """A finished run, aligned in many ways."""

    task: str
    split: str
    model: str
    path: Path
    labels: tuple[str, ...]
    gold: tuple[str, ...]
    results: tuple[Result, ...]
    """The plain verbalizer first."""
    differences: tuple[Estimate | None, ...]
    """Of each result: its accuracy less the plain one's, paired by row; None for the plain one itself."""
    lacking: tuple[Unavailable, ...]
    command: str | None
    """What would collect what is missing, if anything is; None too where a run has no spelling on the command line."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """What `promptkit align --json` prints."""
        pairs = zip(self.results, self.differences, strict=True)
        return {
            "task": self.task,
            "split": self.split,
            "n": len(self.gold),
            "model": self.model,
            "run": str(self.path),
            "gold": dict(Counter(self.gold)),
            "results": [
                {**result.to_json(), "difference": away and {name: round(x, DECIMALS) for name, x in asdict(away).items()}}
                for result, away in pairs
            ],
            "lacking": [{"align": each.name, "reason": each.reason} for each in self.lacking],
            "command": self.command,
            "warnings": list(self.warnings),
        }

    def table(self) -> Table:
        """A line an alignment: accuracy, what it gains, how well its probabilities are calibrated, what it predicts."""
        from rich.text import Text

        held, few = Counter(self.gold), len(self.labels) <= FEW_LABELS
        title = f"{self.task} · {self.split} · {len(self.gold)} rows · {self.model}"
        caption = "95% intervals; the difference is to the plain verbalizer, paired by row"
        table = new_table(title, caption=f"{caption}; predicted: {'/'.join(self.labels)}" if few else caption)
        table.add_column("alignment", overflow="fold")
        for name in ("accuracy", "difference", "ECE", "Brier"):
            table.add_column(name, justify="right", no_wrap=True)
        gold = "/".join(str(held[label]) for label in self.labels)
        table.add_column(f"predicted (gold {gold})" if few else "predicted", justify="right", no_wrap=True)
        for result, away in zip(self.results, self.differences, strict=True):
            predicted = "/".join(str(result.predicted[label]) for label in self.labels)
            table.add_row(
                Text(result.align),
                with_interval(result.metrics["accuracy"]),
                "" if away is None else f"{away.value:+.3f} {away.low:+.2f} to {away.high:+.2f}",
                *(f"{result.metrics[name]['value']:.3f}" for name in ("ece", "brier")),
                predicted if few else f"{sum(map(bool, result.predicted.values()))} of {len(self.labels)} labels",
            )
        return table

    def told(self) -> list[str]:
        """What a reader should know besides: warnings, what is not possible, and what would make it so."""
        told = [f"warning: {warning}" for warning in self.warnings]
        told += [f"not possible: {each.name}: {each.reason}" for each in self.lacking]
        return told + ([f"to collect what is missing: {explained(self.command)}"] if self.command else [])

    def __str__(self) -> str:
        """The table, and what to know besides."""
        return "\n".join([as_text(self.table()), *self.told()])

    __repr__ = __str__


def align(run: str | Path, calibrate: str = ALL) -> Alignments:
    """The alignments of a finished run: `calibrate` names them, `contextual,batch:estimate_on=test`, or all that there are.

    `all` has every calibration once, as the run had it or with its defaults, and once more, estimated on the very rows that
    are evaluated, where that can be. Raises for a run whose rows have answers of their own.
    """
    path = expanded(run)
    settings, samples, besides = read_outputs(path, KEPT)
    try:
        made = [chain_from_settings(chain) for chain in settings["align"]]
        named = {"task": settings["task"]["name"], "split": settings["split"], "model": settings["model"]["name"]}
    except (TypeError, LookupError, AttributeError):
        raise damaged(path / "run.json", "it is not the settings of a run") from None
    reading = made[0].reader
    if not isinstance(reading, Scorer) or not reading.labels:
        raise RunError(
            f"The run {path} does not have the same labels for every row, which alignments after a run need",
            code="no-fixed-labels",
            got=f"answers read by {reading.name}",
            hint="Use a run of a task that declares labels",
            folder=str(path),
            aligner=reading.name,
        )
    observed = stored(read_tensors(path))
    there = _Stored(settings, samples, besides, made, observed)
    possible, lacking = _divided(_wanted(calibrate, made), there)
    chains = [Chain(reader=reading), *(Chain(reader=reading, calibration=each) for each in possible)]
    results = figures.results(chains, samples, besides, observed)
    gold = [line["gold"] for line in samples]
    had = [spelling(chain.calibration) for chain in made if chain.calibration]
    more = [each.name for each in lacking if each.collectable]
    return Alignments(
        **named,
        path=path,
        labels=reading.labels,
        gold=tuple(gold),
        results=results,
        differences=(None, *(paired_difference(each.correct, results[0].correct) for each in results[1:])),
        lacking=tuple(lacking),
        command=eval_command(settings, [*had, *more], beside=path.parent) if more else None,
        warnings=tuple(requirements.fit_warnings(chains, samples, besides)),
    )


def _divided(wanted: Sequence[Calibration], there: _Stored) -> tuple[list[Calibration], list[Unavailable]]:
    """Those that can be fitted on what there is, each once, and those that cannot."""
    possible: dict[str, Calibration] = {}
    lacking: dict[str, Unavailable] = {}
    for calibration in wanted:
        name, fitting = spelling(calibration), there.fitting(calibration)
        missing = there.missing(fitting)
        if missing is not None:
            refused = there.refused(calibration, missing)
            reason = refused or f"the run has not read {missing}"
            lacking[name] = Unavailable(name=name, reason=reason, collectable=refused is None)
            continue
        try:
            there.check(fitting)
            possible[spelling(fitting)] = fitting
        except PromptkitError as error:
            lacking[name] = Unavailable(name=name, reason=str(error), collectable=fitting is not calibration)
    return [*possible.values()], [*lacking.values()]


class _Stored:
    """What the lines of a run hold for calibrations."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        samples: Sequence[Any],
        besides: Sequence[Any],
        made: Sequence[Chain],
        observed: ReadOutputs | None,
    ) -> None:
        """`made` are the chains of its settings."""
        fit = [line for line in besides if line["id"].startswith(requirements.FIT)]
        self._known = ["gold" in line for line in fit]
        self._had = requirements.united(made)
        self._by_hash = self._known[: self._had.rows]
        """Behind them stand rows that were chosen by their labels."""
        self._size = len(made[0].reader.labels)
        self._items = len(samples)
        self._contexts = {support.context_of(line["demos"]) for line in samples}
        self._held = {line["id"] for line in besides}
        self._observed = observed
        self._states = ENGINES[settings["model"]["engine"]].hidden_states
        self._settings = settings

    def fitting(self, calibration: Calibration) -> Calibration:
        """Itself, or on as many rows as were read, where it would have read more than any calibration of the run."""
        if self._had.rows < calibration.needs.rows and self._by_hash:
            return replace(calibration, rows=len(self._by_hash))  # type: ignore[type-var]
        return calibration

    def missing(self, calibration: Calibration) -> str | None:
        """What it lacks, or None."""
        needs = calibration.needs
        ids = ({support.id_of(context, each) for context in self._contexts} for each in needs.stand_ins)
        absent = sum(not each <= self._held for each in ids)
        if absent:
            return f"{absent} of the {len(needs.stand_ins)} inputs without content that it reads"
        if needs.premise and support.PREMISE not in self._held:
            return "the labels after the prompt's end alone, its premise"
        if needs.rows and not self._by_hash:
            return f"rows of the fit part{', with their labels' if needs.labels else ''}"
        return requirements.unread(needs, self._had, self._observed)

    def refused(self, calibration: Calibration, missing: str) -> str | None:
        """Why the run made again with it would be refused, or None."""
        needs = calibration.needs
        if (needs.layers or needs.named) and not self._states:
            return f"its engine gives no {missing}"
        if (needs.layers or needs.tokens or needs.named) and self._settings["manipulate"].get("channel"):
            return f"by the channel there is no answer slot at which to read {missing}"
        if needs.labels and self._settings["split"] == TRAIN:
            return "every row of the fit part, whose labels it needs, is itself evaluated"
        try:
            requirements.check(
                calibration, labels=self._size, items=self._items, known=[True] * max(needs.rows, needs.labeled_fewest, 1)
            )
        except PromptkitError as error:
            return str(error)
        return without_premise(self._settings) if needs.premise else None

    def check(self, calibration: Calibration) -> None:
        """Raise if it cannot be fitted on what there is."""
        known = self._by_hash if calibration.needs.rows else self._known
        requirements.check(calibration, labels=self._size, items=self._items, known=known)


def _wanted(calibrate: str, made: Sequence[Chain]) -> list[Calibration]:
    if calibrate != ALL:
        return [build("calibration", CALIBRATIONS, each) for each in calibrate.split(",") if each.strip()]
    had = [chain.calibration for chain in made if chain.calibration]
    wanted: list[Calibration] = []
    for name, technique in CALIBRATIONS.items():
        wanted += [each for each in had if each.name == name] or [technique()]
        if hasattr(technique, "estimate_on"):
            wanted.append(technique(estimate_on="test"))
    return wanted
