"""Warnings about the rows that calibrations are fitted on. A fit never sees them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.align.chain import Chain
from promptkit.collect.collected import Collected, FoldOutputs
from promptkit.collect.requirements import calibrations_of, needs_of
from promptkit.core.calibration import Calibration, EstimatesPrior
from promptkit.core.needs import by_kind
from promptkit.core.records import answered
from promptkit.core.shown_text import label_text
from promptkit.needs.fit_rows import fit_row_of

_NUMBER = re.compile(r"\d+")
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
            f"that it is estimated on are {label_text(self.label)}: interpret its results with care"
        )


def fit_warnings(chains: Sequence[Chain], collected: Collected) -> list[str]:
    """Returns warnings about the rows that calibrations are fitted on.

    Warnings of several folds that differ in nothing but numbers are one warning with the number of these folds.
    """
    folds = collected.folds()
    alike: dict[str, dict[int, str]] = {}
    for fold in folds:
        for warning in _fold_warnings(chains, fold):
            alike.setdefault(_NUMBER.sub("0", warning), {}).setdefault(fold.fold, warning)
    return [_summary(of_folds, len(folds)) for of_folds in alike.values()]


def _summary(warnings: Mapping[int, str], count: int) -> str:
    """Joins the warnings of several folds into one; `count` is the number of all folds."""
    number, first = next(iter(warnings.items()))
    if len({*warnings.values()}) > 1:
        return f"In {len(warnings)} of {count} folds, such as fold {number}: {first}"
    return first if len(warnings) == count else f"In {len(warnings)} of {count} folds: {first}"


def _fold_warnings(chains: Sequence[Chain], fold: FoldOutputs) -> list[str]:
    labels = chains[0].reader.labels
    evaluated = [record["gold"] for record in answered(fold.samples)]
    fit = [record.get("gold") for record in answered(fold.support) if fit_row_of(record["id"])]
    skews = [class_skew(calibration, evaluated, fit, len(labels)) for calibration in calibrations_of(chains)]
    of_needs = [warning for kind, group in by_kind(needs_of(chains)) for warning in kind.warnings(group, labels, fit)]
    return [*(str(skew) for skew in skews if skew is not None), *of_needs]


def class_skew(calibration: Calibration, evaluated: Sequence[str], fit: Sequence[str | None], labels: int) -> ClassSkew | None:
    """Returns the class that is over-represented where a calibration assumes equal classes, or None.

    A one-sided binomial test, with Bonferroni's correction for the number of labels.

    Args:
        calibration: The calibration.
        evaluated: Labels of the evaluated rows.
        fit: Labels of the rows of the fit part; None for a label that may not be used.
        labels: Number of labels.
    """
    from scipy.special import bdtrc  # scipy.stats takes a long time to import

    if not isinstance(calibration, EstimatesPrior) or not calibration.assumes_equal_classes:
        return None
    rows = fit[: calibration.rows] if calibration.estimate_on == "fit" else evaluated
    known = [label for label in rows if label is not None]
    if not known:
        return None
    label, count = Counter(known).most_common(1)[0]
    p = labels * float(bdtrc(count - 1, len(known), min(1.0, SKEW / labels)))
    return None if p > SIGNIFICANCE else ClassSkew(calibration=calibration.name, label=label, share=count / len(known))
