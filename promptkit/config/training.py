"""The training options of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from promptkit.config.values import Spelled
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.training.config import TrainingConfig


class TrainingOptions(StrictModel):
    """The options of a `TrainingConfig`, with the optimizer as the command line spells it."""

    optimizer: Annotated[Spelled | None, NamesFrom("promptkit.training.optimizers:OPTIMIZERS")] = None
    """Optimizer, with settings as in cma-es:sigma=1: {names}; hotflip is for tokens, and spsa and cma-es use no gradients."""
    steps: PositiveInt = 100
    """Maximum number of training steps."""
    batch_size: PositiveInt = 16
    """Number of rows per step."""
    learning_rate: float | None = None
    """Peak learning rate; by default it depends on the optimizer and the manipulation."""
    schedule: Annotated[str, NamesFrom("promptkit.training.config:Schedule")] = "linear"
    """Learning rate schedule after the warm-up: {names}."""
    warmup: Annotated[NonNegativeFloat, Field(le=1)] = 0.05
    """Fraction of the steps over which the learning rate increases."""
    per_class: PositiveInt | None = None
    """Train on N rows of each label; by default on all rows."""
    dev: PositiveInt = 128
    """Maximum number of dev rows that select the best step."""
    eval_every: PositiveInt = 10
    """Number of steps between evaluations on the dev rows; every evaluation writes a checkpoint."""
    patience: PositiveInt = 5
    """Stop after N dev evaluations without improvement."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    mixed_precision: Annotated[str, NamesFrom("promptkit.core.model:Precision")] = "no"
    """Precision of matrix products: {names}; trained parameters stay in float32."""

    def build_config(self, *, seed: int) -> TrainingConfig:
        """Builds the configuration.

        Raises:
            InputError: An option has an invalid value.
        """
        from promptkit.training.config import TrainingConfig

        settings = {name: value for name, value in self if name in TrainingOptions.model_fields and value is not None}
        return TrainingConfig.from_keywords(settings | {"seed": seed})
