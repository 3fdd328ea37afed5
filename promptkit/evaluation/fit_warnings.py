"""Warnings about the rows that calibrations are fitted on. A fit never sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.align.chain import Chain
from promptkit.core.alignment import Calibration
from promptkit.evaluation.requirements import EstimatesPrior, combine_needs
from promptkit.runs.row_ids import FitRow
from promptkit.runs.schema import RowRecord, answered

SKEW = 1.5
"""A class is over-represented if its share is more than this multiple of an equal share."""
SIGNIFICANCE = 0.05
"""The probability of a false warning if the classes are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSkew:
    """A calibration assumes equal classes, and one class is over-represented in the rows that it is estimated on."""

    calibration: str
    label: str
    share: float
    """Share of the rows that have the label."""

    def __str__(self) -> str:
        return (
            f"The calibration {self.calibration} assumes that the classes are about equal, but {self.share:.0%} of the rows "
            f"that it is estimated on are {self.label}: interpret its results with care"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScarceLabels:
    """Some labels have fewer labeled rows than a calibration draws per class."""

    counts: dict[str, int]
    """Label -> number of its rows."""
    labels: int
    """Number of all labels."""
    needed: int
    """Number of rows that are drawn per class."""

    def __str__(self) -> str:
        counts = [f"{label} ({count})" for label, count in self.counts.items()]
        names = ", ".join(counts[:5]) + (", ..." if len(counts) > 5 else "")
        return f"{len(counts)} of {self.labels} labels have fewer than {self.needed} labeled rows in the fit part: {names}"


def fit_warnings(chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord]) -> list[str]:
    """Returns warnings about the rows that the calibrations of a run are fitted on."""
    labels = chains[0].reader.labels
    evaluated = [record["gold"] for record in answered(samples)]
    fit = [record.get("gold") for record in answered(support) if FitRow.parse(record["id"])]
    skews = [class_skew(chain.calibration, evaluated, fit, len(labels)) for chain in chains if chain.calibration]
    return [str(warning) for warning in (*skews, scarce_labels(chains, fit)) if warning is not None]


def scarce_labels(chains: Sequence[Chain], fit: Sequence[str | None]) -> ScarceLabels | None:
    """Returns the labels with fewer rows than the calibrations draw per class, or None if there are none.

    Args:
        chains: The branches of the run.
        fit: Labels of the rows of the fit part; None for a label that may not be used.
    """
    labels, counts = chains[0].reader.labels, Counter(fit)
    needed = max((per_class.rows for per_class in combine_needs(chains).labeled), default=0)
    scarce = {label: counts[label] for label in labels if counts[label] < needed}
    return ScarceLabels(counts=scarce, labels=len(labels), needed=needed) if scarce else None


def class_skew(calibration: Calibration, evaluated: Sequence[str], fit: Sequence[str | None], labels: int) -> ClassSkew | None:
    """Returns the class that is over-represented where a calibration assumes equal classes, or None.

    A one-sided binomial test, with Bonferroni's correction for the number of labels.

    Args:
        calibration: The calibration.
        evaluated: Labels of the evaluated rows.
        fit: Labels of the rows of the fit part; None for a label that may not be used.
        labels: Number of labels.
    """
    from scipy.stats import binom

    if not isinstance(calibration, EstimatesPrior) or calibration.needs.classes:
        return None
    rows = fit[: calibration.needs.rows] if calibration.estimate_on == "fit" else evaluated
    known = [label for label in rows if label is not None]
    if not known:
        return None
    label, count = Counter(known).most_common(1)[0]
    p = labels * binom.sf(count - 1, len(known), min(1.0, SKEW / labels))
    return None if p > SIGNIFICANCE else ClassSkew(calibration=calibration.name, label=label, share=count / len(known))
