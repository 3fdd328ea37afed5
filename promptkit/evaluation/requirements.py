"""Combines what calibrations need and checks it against the rows of a task, before a model is queried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from promptkit.align.chain import Chain
from promptkit.core.alignment import Calibration, Needs, RandomWords
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example


@runtime_checkable
class EstimatesPrior(Protocol):
    """A calibration that estimates the label prior on rows of the fit part or on the evaluated rows."""

    @property
    def estimate_on(self) -> Literal["fit", "test"]:
        """The rows that the prior is estimated on."""
        ...


def combine_needs(chains: Sequence[Chain]) -> Needs:
    """Returns the needs of all calibrations together."""
    needs = [chain.calibration.needs for chain in chains if chain.calibration]
    return Needs(
        content_free=tuple(dict.fromkeys(content for need in needs for content in need.content_free)),
        premise=any(need.premise for need in needs),
        rows=max((need.rows for need in needs), default=0),
        labels=any(need.labels for need in needs),
        labeled=tuple(dict.fromkeys(per_class for need in needs for per_class in need.labeled)),
        tokens=tuple(dict.fromkeys(top for need in needs for top in need.tokens)),
        layers=tuple(sorted({layer for need in needs for layer in need.layers})),
        named_tokens=tuple(dict.fromkeys(top for need in needs for top in need.named_tokens)),
    )


def uses_fit_part(needs: Needs) -> bool:
    """Returns whether any of the needs are met by rows of the fit part."""
    return bool(needs.rows or needs.labeled or any(isinstance(content, RandomWords) for content in needs.content_free))


def check_fit_part(calibration: Calibration, fit: Sequence[Example]) -> None:
    """Refuses a calibration that needs rows of the fit part if the fit part is empty.

    Raises:
        TaskError: With the code `empty-part`.
    """
    if fit or not uses_fit_part(calibration.needs):
        return
    other = f"Use --calibrate {calibration.name}:estimate_on=test, which fits on the evaluated rows"
    raise TaskError(
        f"The calibration {calibration.name} has no rows to fit on: the fit part of the train split is empty",
        code="empty-part",
        hint=other if isinstance(calibration, EstimatesPrior) else "Give the task more train rows",
        calibration=calibration.name,
        part="fit",
    )


def check_calibration(calibration: Calibration, *, labels: int, evaluated: int, has_label: Sequence[bool]) -> None:
    """Refuses a calibration that cannot be fitted on the rows of a run.

    Args:
        calibration: The calibration.
        labels: Number of labels.
        evaluated: Number of evaluated rows.
        has_label: For each row of the fit part, whether its label may be used.

    Raises:
        InputError: If there are too few rows, labels or tokens.
    """
    needs = calibration.needs
    if needs.classes not in (0, labels):
        raise InputError(
            f"The calibration {calibration.name} needs one number for each label",
            code="wrong-length",
            got=f"{needs.classes} for {labels} labels",
            calibration=calibration.name,
            given=needs.classes,
            needed=labels,
        )
    _check_tokens(calibration, labels)
    _check_labeled_rows(calibration, labels, has_label)
    available = len(has_label[: needs.rows]) if needs.rows else evaluated
    if available < needs.min_rows_per_label * labels:
        raise InputError(
            f"The calibration {calibration.name} needs at least {needs.min_rows_per_label} rows for each label",
            code="too-few-rows",
            got=f"{available} rows for {labels} labels",
            hint="Use more rows, or another calibration",
            calibration=calibration.name,
            given=available,
            needed=needs.min_rows_per_label * labels,
        )


def _check_tokens(calibration: Calibration, labels: int) -> None:
    needs = calibration.needs
    needed = needs.min_tokens_per_label * labels
    fewest = min((top.size for top in needs.tokens), default=needed)
    if fewest < needed:
        raise InputError(
            f"The calibration {calibration.name} needs at least {needed} tokens, {needs.min_tokens_per_label} for each label",
            code="too-few-tokens",
            got=f"tokens={fewest} for {labels} labels",
            hint=f"Set tokens={needed}, or preferably many more",
            calibration=calibration.name,
            given=fewest,
            needed=needed,
        )


def _check_labeled_rows(calibration: Calibration, labels: int, has_label: Sequence[bool]) -> None:
    needs = calibration.needs
    if needs.labels and not any(has_label[: needs.rows or None]):
        raise InputError(
            f"The calibration {calibration.name} needs labels, and every row of the fit part is itself evaluated",
            code="rows-are-evaluated",
            hint="Evaluate a split other than train, on which aligners are fitted",
            calibration=calibration.name,
        )
    most = min([sum(has_label), *(per_class.rows * labels for per_class in needs.labeled)])
    if most < needs.min_labeled:
        raise InputError(
            f"The calibration {calibration.name} needs at least {needs.min_labeled} labeled rows to vote",
            code="too-few-labeled-rows",
            got=f"at most {most} labeled rows",
            hint="Use a smaller k, or a larger per_class",
            calibration=calibration.name,
            given=most,
            needed=needs.min_labeled,
        )
