"""Finds which calibrations can be fitted on the stored outputs of a finished run, and what is missing for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from promptkit.align.chain import CALIBRATIONS
from promptkit.analysis.stored_run import StoredRun
from promptkit.collect.collected import FoldOutputs
from promptkit.collect.fit_data import StoredAnswers
from promptkit.collect.requirements import check_calibration
from promptkit.core.calibration import Calibration
from promptkit.core.capabilities import FEATURES
from promptkit.core.errors import PromptkitError
from promptkit.core.need_context import Counts, Problem
from promptkit.core.needs import Need, with_required
from promptkit.core.records import answered
from promptkit.core.registry import build_from, settings_of, spelling
from promptkit.models.registry import ENGINES
from promptkit.needs.fit_rows import most_first_rows, stored_first_rows
from promptkit.needs.source_logprobs import stored_classes

TRAIN = "train"
"""The split that contains the fit part."""
PLENTY = 100_000
"""More rows of the fit part than any calibration needs, to find out whether it needs anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A calibration that cannot be fitted on the stored outputs of a run."""

    name: str
    """The calibration, as the command line spells it."""
    code: str
    """Stable name of the problem in kebab case, such as `missing-premise`."""
    reason: str
    """What is missing, or why the calibration is not possible."""
    fields: Mapping[str, object]
    """The values that the problem is about."""
    collectable: bool
    """Whether the run could be repeated with this calibration."""


def available_calibrations(calibrations: Sequence[Calibration], run: StoredRun) -> tuple[list[Calibration], list[Unavailable]]:
    """Divides calibrations into those that can be fitted on the stored outputs of every fold of a run, and the others.

    Calibrations that need more rows than the run contains are fitted on these. None is repeated.
    """
    available: dict[str, Calibration] = {}
    unavailable: dict[str, Unavailable] = {}
    folds = [_StoredOutputs(run, fold) for fold in run.collected.folds()]
    for calibration in calibrations:
        name = spelling(calibration)
        reduced = reduce(lambda each, fold: fold.with_stored_rows(each), folds, calibration)
        lacking = next(((fold, problem) for fold in folds if (problem := fold.missing(reduced))), None)
        if lacking is not None:
            fold, problem = lacking
            unavailable[name] = fold.why_unavailable(calibration, problem)
            continue
        try:
            for fold in folds:
                fold.check(reduced)
            available[spelling(reduced)] = reduced
        except PromptkitError as error:
            unavailable[name] = _refused(name, error, collectable=reduced is not calibration)
    return [*available.values()], [*unavailable.values()]


class _StoredOutputs:
    """The stored outputs of a fold of a finished run, as far as calibrations need them.

    Args:
        run: The run.
        fold: The fold; a run without folds has a single one.
    """

    def __init__(self, run: StoredRun, fold: FoldOutputs) -> None:
        self._settings = run.settings
        self._stored = StoredAnswers(run.chains, answered(fold.samples), answered(fold.support), fold.read_outputs)
        self._capabilities = ENGINES[str(run.settings["model"]["engine"])].capabilities

    def with_stored_rows(self, calibration: Calibration) -> Calibration:
        """Returns the calibration itself, or one on as many rows as the run contains if it needs more."""
        first = stored_first_rows(self._stored)
        if not first or most_first_rows(calibration.needs) <= most_first_rows(self._stored.needs):
            return calibration
        settings = settings_of(calibration)
        if "rows" not in settings:  # it is fitted on fewer rows under the same name
            return calibration
        settings["rows"] = first
        reduced: Calibration = build_from("calibration", CALIBRATIONS, str(settings.pop("name")), settings)
        return reduced

    def missing(self, calibration: Calibration) -> Problem | None:
        """Returns what the calibration needs and the run does not contain, or None."""
        groups: dict[type[Need[object]], list[Need[object]]] = {}
        for need in calibration.needs:
            groups.setdefault(type(need), []).append(need)
        problems = (kind.first_missing(group, self._stored) for kind, group in groups.items())
        return next((problem for problem in problems if problem), None)

    def check(self, calibration: Calibration) -> None:
        """Raises if the calibration cannot be fitted on the rows that the run contains."""
        check_calibration(calibration, self._counts([row.label is not None for row in self._stored.fit_rows]))

    def why_unavailable(self, calibration: Calibration, missing: Problem) -> Unavailable:
        """Returns why the run cannot be repeated with the calibration, or that it can, with what is missing."""
        name = spelling(calibration)
        return (
            self._cannot_read(name, with_required(calibration.needs), missing)
            or self._cannot_fit(name, calibration)
            or Unavailable(
                name=name,
                code=missing.code,
                reason=f"the run does not contain {missing.text}",
                fields=missing.fields,
                collectable=True,
            )
        )

    def _cannot_read(self, name: str, needs: Sequence[Need[object]], missing: Problem) -> Unavailable | None:
        for feature in sorted({feature for need in needs for feature in need.features}):
            if feature not in self._capabilities:
                return _never(name, FEATURES[feature].code, f"its engine does not provide {missing.text}", **missing.fields)
        if any(need.at_answer_slot for need in needs) and self._settings["manipulate"].get("channel"):
            reason = f"channel prompts have no answer slot at which to read {missing.text}"
            return _never(name, "no-answer-slot", reason, **missing.fields)
        return None

    def _cannot_fit(self, name: str, calibration: Calibration) -> Unavailable | None:
        if (
            any(need.uses_labels for need in calibration.needs)
            and self._settings["split"] == TRAIN
            and "folds" not in self._settings
        ):
            return _never(name, "rows-are-evaluated", "it needs labels, and every row of the fit part is itself evaluated")
        try:
            check_calibration(calibration, self._counts([True] * PLENTY))
        except PromptkitError as error:
            return _refused(name, error, collectable=False)
        problems = (need.impossible(self._settings["manipulate"]) for need in calibration.needs)
        return next((_never(name, each.code, each.text, **each.fields) for each in problems if each), None)

    def _counts(self, has_label: Sequence[bool]) -> Counts:
        labels, evaluated = len(self._stored.labels), len(self._stored.evaluated)
        return Counts(labels=labels, evaluated=evaluated, has_label=has_label, classes=stored_classes(self._stored))


def _never(name: str, code: str, reason: str, **fields: object) -> Unavailable:
    return Unavailable(name=name, code=code, reason=reason, fields=fields, collectable=False)


def _refused(name: str, error: PromptkitError, *, collectable: bool) -> Unavailable:
    return Unavailable(name=name, code=error.code, reason=str(error), fields=error.fields, collectable=collectable)
