"""Evaluates a training run on its dev rows: the best parameters, and when to stop."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.objective import Losses, mean_loss


def evaluate_dev(losses: Losses, data: TrainingData, state: TrainingState) -> DevEvaluation:
    """Returns the evaluation of the current parameters on the dev rows, and counts the rows in the state."""
    (rows,) = losses.row_losses([state.all_parameters], data.dev)
    state.rows_computed["dev"] = state.rows_computed.get("dev", 0) + len(rows)
    evaluation = DevEvaluation(step=state.step, loss=mean_loss(rows))
    if not rows[0].scores or not isfinite(evaluation.loss):
        return evaluation
    metric, value = data.dev_metric([row.scores for row in rows])
    return replace(evaluation, metric=metric.name, value=value, higher_is_better=metric.higher_is_better)


def record(evaluation: DevEvaluation, state: TrainingState) -> None:
    """Adds an evaluation to the state, and keeps the current parameters if it is the best."""
    state.dev_evaluations.append(evaluation)
    if state.best is evaluation:
        state.best_parameters = dict(state.parameters)


def stop_reason(state: TrainingState, config: TrainingConfig) -> str:
    """Returns why training ends after its latest evaluation; empty if it continues."""
    if state.step >= config.steps:
        return "the maximum number of steps was reached"
    without_improvement = len(state.dev_evaluations) - 1 - state.dev_evaluations.index(state.best)
    if config.patience is not None and without_improvement >= config.patience:
        return f"dev did not improve in {config.patience} evaluations"
    return ""
