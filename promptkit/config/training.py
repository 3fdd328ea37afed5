"""The training options of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.training.config import TrainingConfig


class TrainingOptions(StrictModel):
    """The options of a `TrainingConfig`, with the optimizer as the command line spells it."""

    optimizer: str | None = None
    """Optimizer: adamw, hotflip for tokens, or spsa or cma-es without gradients; with settings as in cma-es:sigma=1."""
    steps: PositiveInt = 100
    """Maximum number of training steps."""
    batch_size: PositiveInt = 16
    """Number of rows per step."""
    learning_rate: float | None = None
    """Peak learning rate; by default it depends on the optimizer and the manipulation."""
    schedule: str = "linear"
    """Learning rate schedule after the warm-up: linear or constant."""
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
    mixed_precision: str = "no"
    """Precision of matrix products: no, bf16 or fp16; trained parameters stay in float32."""

    def build_config(self, *, seed: int) -> TrainingConfig:
        """Builds the configuration.

        Raises:
            InputError: An option has an invalid value.
        """
        from promptkit.training.config import TrainingConfig

        return TrainingConfig.from_keywords({name: value for name, value in self if value is not None} | {"seed": seed})
