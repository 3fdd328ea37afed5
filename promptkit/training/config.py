"""The configuration of a training run: the optimizer, the learning rate schedule, and the rows of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

from promptkit.core.arguments import check_arguments, checked
from promptkit.core.caller import engine_setting, setting
from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError, unknown
from promptkit.core.hashing import sha256
from promptkit.core.model import Precision
from promptkit.core.registry import build, settings_of
from promptkit.training.optimizers import OPTIMIZERS, AdamW, HotFlip, Optimizer

Schedule = Literal["linear", "constant"]
POSITIVE = ("steps", "batch_size", "dev", "eval_every", "per_class", "patience")
"""The settings that must be at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The settings of a training run: the keywords of `train`, and the options of `promptkit train`."""

    optimizer: Optimizer | None = None
    """The optimizer; AdamW by default, or HotFlip for trigger tokens."""
    steps: int = 100
    """The maximum number of steps."""
    batch_size: int = 16
    """The number of rows in each step."""
    learning_rate: float | None = None
    """The peak learning rate. By default, for AdamW that of each learned manipulation, and for SPSA 1."""
    schedule: Schedule = "linear"
    """How the learning rate changes after the warm-up: `linear` to 0, or `constant`."""
    warmup: float = 0.05
    """The share of the steps in which the learning rate rises to its peak."""
    per_class: int | None = None
    """The number of rows of each label to train on, drawn by the seed; all rows by default."""
    dev: int = 128
    """The maximum number of dev rows, which select the best step."""
    eval_every: int = 10
    """The number of steps between evaluations on dev, each of which writes a checkpoint."""
    patience: int | None = 5
    """The number of evaluations without improvement after which training stops; None never stops early."""
    seed: int = 0
    """The seed of the rows of each label, their order, and the optimizer."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations in the backward pass, which saves memory and gives the same result."""
    mixed_precision: Precision = "no"
    """The precision of matrix products, `no`, `bf16` or `fp16`; the trained parameters stay in float32."""

    def __post_init__(self) -> None:
        checked(self, "the training configuration")
        for name in POSITIVE:
            value = self.keywords()[name]
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1", code="out-of-range", got=f"{name}={value!r}", **{name: value})
        rate = self.learning_rate
        if (rate is not None and rate <= 0) or not 0 <= self.warmup <= 1:
            raise InputError(
                "The learning rate must be above 0, and warmup must be a share of the steps, from 0 to 1",
                code="out-of-range",
                got=f"learning_rate={rate}, warmup={self.warmup}",
                learning_rate=rate,
                warmup=self.warmup,
            )

    @classmethod
    @check_arguments("TrainingConfig.from_keywords")
    def from_keywords(cls, keywords: Mapping[str, Any]) -> TrainingConfig:
        """Returns the configuration with these settings; the optimizer may be a name with settings, such as `"spsa"`.

        Raises:
            InputError: If a setting is unknown or invalid.
        """
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise unknown("training keyword", name, known)
        settings = dict(keywords)
        if isinstance(settings.get("optimizer"), str):
            settings["optimizer"] = build("optimizer", OPTIMIZERS, settings["optimizer"])
        return cls(**settings)

    @property
    def needed_features(self) -> frozenset[Feature]:
        """What the optimizer needs from the model; the default optimizers need gradients."""
        uses_gradients = self.optimizer is None or self.optimizer.uses_gradients
        return frozenset({"gradients"}) if uses_gradients else frozenset()

    @check_arguments("TrainingConfig.resolved")
    def resolved(self, *, discrete: bool) -> ResolvedConfig:
        """Returns the configuration with its optimizer and learning rate filled in.

        Args:
            discrete: Whether the trained parameters are token ids.

        Raises:
            InputError: If the optimizer cannot train such parameters, or does not have the settings.
        """
        optimizer = self.optimizer or (HotFlip() if discrete else AdamW())
        self._check_optimizer(optimizer, discrete)
        rate = self.learning_rate or optimizer.learning_rate
        return ResolvedConfig(**{**self.keywords(), "optimizer": optimizer, "learning_rate": rate})

    def _check_optimizer(self, optimizer: Optimizer, discrete: bool) -> None:
        changed = {True: "tokens", False: "numbers"}
        if optimizer.is_discrete != discrete:
            suitable = [name for name, kind in OPTIMIZERS.items() if kind.is_discrete == discrete]
            raise InputError(
                f"The optimizer {optimizer.name} changes {changed[optimizer.is_discrete]}, and the trainable parameters are "
                f"{changed[discrete]}",
                code="wrong-optimizer",
                hint=f"Use {' or '.join(suitable)}",
                optimizer=optimizer.name,
                fitting=tuple(suitable),
            )
        if not optimizer.has_learning_rate and self.learning_rate is not None:
            raise InputError(
                f"The optimizer {optimizer.name} has no learning rate",
                code="no-learning-rate",
                got=setting("learning_rate", self.learning_rate),
                hint="Leave it out" if discrete else "Leave it out: sigma sets the size of the first steps",
                optimizer=optimizer.name,
                learning_rate=self.learning_rate,
            )
        if not optimizer.uses_gradients and (self.gradient_checkpointing or self.mixed_precision != "no"):
            raise InputError(
                f"The optimizer {optimizer.name} uses no gradients",
                code="gradient-options",
                got=f"{setting('gradient_checkpointing', self.gradient_checkpointing)}, "
                f"{setting('mixed_precision', self.mixed_precision)}",
                hint="Leave these out; to change the precision of the model, set an engine option such as "
                f"{engine_setting('dtype', 'bfloat16')}",
                optimizer=optimizer.name,
                gradient_checkpointing=self.gradient_checkpointing,
                mixed_precision=self.mixed_precision,
            )

    def keywords(self) -> dict[str, Any]:
        """Returns all settings by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def settings(self) -> dict[str, object]:
        """Returns the settings that determine a result, for records."""
        optimizer = settings_of(self.optimizer) if self.optimizer else None
        omitted = {"gradient_checkpointing", *(["mixed_precision"] if self.mixed_precision == "no" else [])}
        return {name: value for name, value in {**self.keywords(), "optimizer": optimizer}.items() if name not in omitted}

    @check_arguments("TrainingConfig.lr_factor")
    def lr_factor(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0, as a share of the peak."""
        warmup_steps = round(self.warmup * self.steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return (self.steps - step) / max(1, self.steps - warmup_steps) if self.schedule == "linear" else 1.0

    @check_arguments("TrainingConfig.batch")
    def batch(self, ids: Sequence[str], step: int) -> list[int]:
        """Returns the indices of a step's rows: the next ones of an order that is drawn anew for each epoch."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        orders = ((_epoch_order(tuple(ids), self.seed, position // len(ids)), position % len(ids)) for position in positions)
        return [order[index] for order, index in orders]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedConfig(TrainingConfig):
    """A configuration with an optimizer that suits the trained parameters."""

    optimizer: Optimizer

    def peak_learning_rate(self, default: float | None) -> float | None:
        """Returns the peak learning rate of a manipulation with this default; None if the optimizer has none."""
        return self.learning_rate or (default if self.optimizer.has_learning_rate else None)


@lru_cache(maxsize=4)
def _epoch_order(ids: tuple[str, ...], seed: int, epoch: int) -> list[int]:
    """Returns the indices of the rows in the order of an epoch."""
    return sorted(range(len(ids)), key=lambda index: sha256(f"{seed}\0{epoch}\0{ids[index]}"))
