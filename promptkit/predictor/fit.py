"""Replaces what a predictor takes from the rows of a task by its results, so that it predicts rows without the task."""

from __future__ import annotations

from promptkit.align.chain import Chain
from promptkit.collect.requirements import needs_of
from promptkit.core.errors import InputError
from promptkit.core.manipulation import Manipulation


def is_fitted(manipulation: Manipulation, chain: Chain) -> bool:
    """Returns whether nothing in a predictor takes rows from a task."""
    return not unfitted_stages(manipulation, chain)


def unfitted_stages(manipulation: Manipulation, chain: Chain) -> list[str]:
    """Returns what in a predictor takes rows from a task: the demonstrations, or the calibration by its name."""
    demonstrations = ["the demonstrations"] if manipulation.parts else []
    calibration = [f"the calibration {chain.name}"] if chain.calibration and _uses_rows(chain) else []
    return [*demonstrations, *calibration]


def check_fitted(manipulation: Manipulation, chain: Chain, purpose: str) -> None:
    """Raises InputError if something in a predictor takes rows from a task.

    Args:
        manipulation: The manipulation.
        chain: The aligners.
        purpose: What the predictor must be fitted for, such as `predict`.
    """
    stages = unfitted_stages(manipulation, chain)
    if stages:
        raise InputError(
            f"The predictor is not fitted: it takes {' and '.join(stages)} from the rows of a task",
            code="not-fitted",
            got=purpose,
            hint="Fit it first: predictor.fit(task); on the command line, promptkit eval TASK ... --save FOLDER",
            stages=tuple(stages),
            purpose=purpose,
        )


def _uses_rows(chain: Chain) -> bool:
    """Whether a calibration is fitted on rows of a task."""
    return any(need.uses_other_rows for need in needs_of((chain,)))
