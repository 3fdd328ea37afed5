"""The settings by which learned prompts of a space of tuning are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.training.config import TrainingConfig


class LearnedTraining(StrictModel):
    """How a learned prompt is trained; the defaults are those of `promptkit train`."""

    steps: PositiveInt = 100
    """Maximum number of training steps."""
    batch_size: PositiveInt = 16
    """Number of rows per step."""
    learning_rate: float | None = None
    """Peak learning rate; by default it depends on the manipulation."""
    dev: PositiveInt = 128
    """Maximum number of dev rows that select the best step."""
    eval_every: PositiveInt = 10
    """Number of steps between evaluations on the dev rows."""
    patience: PositiveInt = 5
    """Stop after N dev evaluations without improvement."""

    def build_config(self, *, seed: int) -> TrainingConfig:
        """Builds the configuration.

        Raises:
            InputError: An option has an invalid value.
        """
        from promptkit.training.config import TrainingConfig

        return TrainingConfig.from_keywords({**dict(self), "seed": seed})
