"""Combines what calibrations need and checks it against the rows of a task, before a model is queried."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.align.chain import Chain
from promptkit.core.calibration import Calibration, EstimatesPrior
from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.model import Model, image_card
from promptkit.core.need_context import Counts, FitPart
from promptkit.core.needs import Needs, with_required
from promptkit.tasks.task import untested


def needs_of(chains: Sequence[Chain]) -> Needs:
    """Returns the needs of all calibrations and the needs that they require, without repeats."""
    return tuple(with_required([need for calibration in calibrations_of(chains) for need in calibration.needs]))


def calibrations_of(chains: Sequence[Chain]) -> list[Calibration]:
    """Returns the calibrations that are applied, of the branches that have one."""
    return [calibration for chain in chains for calibration in chain.calibrations]


def fit_part(fit: Sequence[LabeledExample], evaluated: Sequence[Example]) -> FitPart:
    """Returns the fit part, given all rows of the evaluated split."""
    return FitPart(rows=fit, untested=untested(fit, evaluated))


def select_fit_rows(needs: Needs, part: FitPart) -> list[LabeledExample]:
    """Returns the rows of the fit part that are sent to the model, in their order."""
    selected = {row.id for need in needs for row in need.select(part)}
    return [row for row in part.rows if row.id in selected]


def rows_affecting_results(needs: Needs, part: FitPart) -> list[LabeledExample]:
    """Returns the rows of the fit part that a run's results depend on, in their order."""
    rows = {row.id for need in needs for row in need.determined_by(part)}
    return [row for row in part.rows if row.id in rows]


def uses_fit_part(needs: Needs) -> bool:
    """Returns whether any need uses rows of the fit part."""
    return any(need.uses_fit_part for need in needs)


def class_count(model: Model) -> int | None:
    """Returns the number of classes of an image classifier; None for a language model."""
    return len(image_card(model.card).class_names) if "image" in model.capabilities.modalities else None


def check_fit_part(calibration: Calibration, fit: Sequence[Example]) -> None:
    """Refuses a calibration that needs rows of the fit part if the fit part is empty.

    Raises:
        TaskError: With the code `empty-part`.
    """
    if fit or not uses_fit_part(calibration.needs):
        return
    other = f"Use {setting('calibrate', f'{calibration.name}:estimate_on=test')}, which fits on the evaluated rows"
    raise TaskError(
        f"The calibration {calibration.name} has no rows to fit on: the fit part of the train split is empty",
        code="empty-part",
        hint=other
        if isinstance(calibration, EstimatesPrior)
        else f"Give the task more train rows, or this part more of them: {setting('split_train', 'pool=0.5,fit=0.5')}",
        calibration=calibration.name,
        part="fit",
    )


def check_calibration(calibration: Calibration, counts: Counts) -> None:
    """Refuses a calibration that cannot be fitted on the rows of a run.

    Raises:
        InputError: If there are too few rows, labels or source classes.
    """
    for need in calibration.needs:
        need.check(counts, calibration.name)
