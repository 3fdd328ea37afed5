"""The decision rule that a user requests: a threshold, a certified error rate, label sets, or several of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError
from promptkit.predictor.decide.abstain import answers
from promptkit.predictor.decide.label_sets import LabelSets, conformal
from promptkit.predictor.decide.risk import Certificate, certify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats
    from promptkit.predictor.out_of_fold import OutOfFold


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Decides which rows are answered and which labels remain possible. Create it with `rule_for`."""

    threshold: float = 0.0
    """Rows are answered if the probability of their likeliest label is at least this."""
    certificate: Certificate | None = None
    """The certified error rate at the threshold, if a risk was given."""
    label_sets: LabelSets | None = None
    """The rule for label sets, if a level was given."""
    folds: int = 0
    """The number of folds of the labeled rows that guarantees rest on; 0 if they were held out."""

    def answers(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Returns whether each row is answered, shape (N,), from probabilities of shape (N, K)."""
        return answers(probabilities, self.threshold)

    def members(self, probabilities: Floats) -> NDArray[np.bool_] | None:
        """Returns whether each label is in a row's set, shape (N, K); None without label sets."""
        return None if self.label_sets is None else self.label_sets.members(probabilities)

    def notes(self) -> tuple[str, ...]:
        """Returns the guarantees, for readers of the predictions."""
        notes = [f"{self.certificate}"] if self.certificate else []
        if self.label_sets:
            level, least = self.label_sets.level, self.label_sets.least
            notes.append(
                f"Label sets contain the right label in {level:.1%} of rows: labels with a probability from {least:.3f}"
            )
        if notes and self.folds:
            notes.append(
                f"These guarantees are approximate: they rest on the predictions of {self.folds} folds, each fitted on fewer "
                "rows than this predictor; held-out rows would make them exact"
            )
        return tuple(notes)


def rule_for(
    rows: OutOfFold | None, *, threshold: float | None = None, risk: float | None = None, sets: float | None = None
) -> Rule:
    """Returns the rule for the options that a user gives.

    Args:
        rows: Labeled rows that the predictor was not fitted on, which `risk` and `sets` need.
        threshold: Answer rows whose likeliest label has at least this probability.
        risk: Answer as many rows as possible with at most this error rate among them, with 95% confidence.
        sets: Give each row a set of labels that contains the right one with at least this probability.

    Raises:
        InputError: A value is not in its range, both a threshold and a risk are given, the predictor has no labeled rows to
            derive a guarantee from, or too few.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(
            "A threshold is a probability from 0 to 1",
            code="invalid-value",
            got=f"threshold={threshold}",
            name="threshold",
            value=threshold,
        )
    if threshold is not None and risk is not None:
        raise InputError(
            "A risk chooses the threshold, so that only one of them can be given",
            code="threshold-and-risk",
            got=f"threshold={threshold}, risk={risk}",
            hint="Leave out the threshold for a certified error rate",
            threshold=threshold,
            risk=risk,
        )
    certificate = None if risk is None else certify(_known(rows, "risk", risk), risk)
    return Rule(
        threshold=certificate.threshold if certificate else threshold or 0.0,
        certificate=certificate,
        label_sets=None if sets is None else conformal(_known(rows, "sets", sets), sets),
        folds=rows.folds if rows else 0,
    )


def _known(rows: OutOfFold | None, option: str, value: float) -> OutOfFold:
    """Returns the labeled rows; raises InputError if there are none."""
    if rows is None:
        raise InputError(
            f"{setting(option)} needs predictions of labeled rows that the predictor was not fitted on, and it has none",
            code="no-out-of-fold-rows",
            got=setting(option, value),
            hint="Save the predictor while it is evaluated ("
            + by_caller(command="promptkit eval TASK --save FOLDER", python="run.save_predictor(FOLDER)")
            + "), or give a threshold",
            option=option,
            value=value,
        )
    return rows
