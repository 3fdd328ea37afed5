"""Evaluates a training run on its dev rows: the best parameters, and when to stop."""

from __future__ import annotations

from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.objective import Losses, mean_loss


def evaluate_dev(losses: Losses, data: TrainingData, state: TrainingState) -> DevEvaluation:
    """Returns the evaluation of the current parameters on the dev rows, and counts the rows in the state."""
    (rows,) = losses.row_losses([state.all_parameters], data.dev)
    state.rows_computed["dev"] = state.rows_computed.get("dev", 0) + len(rows)
    correct = [row.correct for row in rows if row.correct is not None]
    accuracy = sum(correct) / len(correct) if correct else None
    return DevEvaluation(step=state.step, loss=mean_loss(rows), accuracy=accuracy)


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
