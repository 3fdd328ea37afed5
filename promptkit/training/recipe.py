"""How something is trained: every number of it, and which rows each step sees, whatever was interrupted before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

from promptkit.core.errors import InputError, unknown
from promptkit.core.hashing import sha256
from promptkit.core.model import Precision
from promptkit.core.registry import build, checked, settings_of
from promptkit.training.optimizers.adamw import AdamW
from promptkit.training.optimizers.base import Optimizer
from promptkit.training.optimizers.cma_es import CmaEs
from promptkit.training.optimizers.hotflip import HotFlip
from promptkit.training.optimizers.spsa import Spsa

Schedule = Literal["linear", "constant"]
OPTIMIZERS: Mapping[str, type[Optimizer]] = {each.name: each for each in (AdamW, Spsa, CmaEs, HotFlip)}
"""Every optimizer, by the name that the command line spells."""

_CHANGED = {True: "tokens", False: "numbers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """An optimizer, the rows that it sees, and when it ends."""

    optimizer: Optimizer | None = None
    """What changes the parameters; unless given, AdamW, or for discrete tokens HotFlip. Its keywords are its own."""

    steps: int = 100
    """How often the parameters are changed, at the most."""
    batch_size: int = 16
    """Rows of one step."""
    learning_rate: float | None = None
    """At its highest; unless given, for AdamW the own one of each kind of what is learned, and 1 for SPSA. Others have none."""
    schedule: Schedule = "linear"
    """How it falls after the warm-up: to 0 in a `linear` way, or not at all (`constant`)."""
    warmup: float = 0.05
    """The share of the steps in which it rises to that."""
    per_class: int | None = None
    """Train on so many rows of each label, drawn by the seed; on all unless given."""
    dev: int = 128
    """At most so many rows of the dev part choose the best step."""
    eval_every: int = 10
    """Steps between two looks at dev, each of which also writes a checkpoint."""
    patience: int | None = 5
    """Stop after so many looks at dev without a better one; never where that is None."""
    seed: int = 0
    """Of the rows of each label, of their order, and of what the optimizer draws."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations again in the backward pass instead of keeping them: the same, from less memory."""
    mixed_precision: Precision = "no"
    """Multiply matrices in `bf16` or `fp16`, as accelerate spells it; what is learned stays in float32."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be trained by."""
        if isinstance(self.optimizer, type):
            raise InputError(
                "The optimizer must be an object, not a class",
                code="class-not-object",
                got=self.optimizer.__name__,
                hint='Write pk.CmaEs(), or "cma-es"',
                optimizer=self.optimizer.__name__,
            )
        checked(self, "a training")
        for name in ("steps", "batch_size", "dev", "eval_every", "per_class", "patience"):
            value = getattr(self, name)
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
    def of(cls, keywords: Mapping[str, Any]) -> TrainingConfig:
        """The recipe of keywords; raises for one that there is not."""
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise unknown("training keyword", name, known)
        told = dict(keywords)
        if isinstance(told.get("optimizer"), str):
            told["optimizer"] = build("optimizer", OPTIMIZERS, told["optimizer"])
        return cls(**told)

    def resolved(self, *, discrete: bool) -> TrainingConfig:
        """With an optimizer and its learning rate, if it has one; raises for one that cannot change what is learned."""
        optimizer = self.optimizer or (HotFlip() if discrete else AdamW())
        if optimizer.discrete != discrete:
            fitting = [name for name, each in OPTIMIZERS.items() if each.discrete == discrete]
            raise InputError(
                f"The optimizer {optimizer.name} changes {_CHANGED[optimizer.discrete]}, and the trainable parameters are "
                f"{_CHANGED[discrete]}",
                code="wrong-optimizer",
                hint=f"Use {' or '.join(fitting)}",
                optimizer=optimizer.name,
                fitting=tuple(fitting),
            )
        if not optimizer.rated and self.learning_rate is not None:
            raise InputError(
                f"The optimizer {optimizer.name} has no learning rate",
                code="no-learning-rate",
                got=f"learning_rate={self.learning_rate}",
                hint="Leave it out" if discrete else "Leave it out: sigma sets the size of the first steps",
                optimizer=optimizer.name,
                learning_rate=self.learning_rate,
            )
        if not optimizer.gradients and (self.gradient_checkpointing or self.mixed_precision != "no"):
            raise InputError(
                f"The optimizer {optimizer.name} uses no gradients",
                code="gradient-options",
                got=f"gradient_checkpointing={self.gradient_checkpointing}, mixed_precision={self.mixed_precision}",
                hint="Leave these out; to change the precision of the model, set an engine option such as --set dtype=bfloat16",
                optimizer=optimizer.name,
                gradient_checkpointing=self.gradient_checkpointing,
                mixed_precision=self.mixed_precision,
            )
        return replace(self, optimizer=optimizer, learning_rate=self.learning_rate or optimizer.learning_rate)

    def highest(self, own: float | None) -> float | None:
        """The learning rate, at its highest, of what has this one along gradients; None where there is none."""
        assert self.optimizer is not None  # it is settled
        return self.learning_rate or (own if self.optimizer.rated else None)

    def keywords(self) -> dict[str, Any]:
        """Those that make it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def settings(self) -> dict[str, object]:
        """Everything of it that determines a result; mixed precision where there is any."""
        told = {**self.keywords(), "optimizer": settings_of(self.optimizer) if self.optimizer else None}
        without = {"gradient_checkpointing"} | ({"mixed_precision"} if self.mixed_precision == "no" else set())
        return {name: value for name, value in told.items() if name not in without}

    def share(self, step: int) -> float:
        """What share of its highest the learning rate of a step is, counted from 0."""
        warm = round(self.warmup * self.steps)
        if step < warm:
            return (step + 1) / warm
        return (self.steps - step) / max(1, self.steps - warm) if self.schedule == "linear" else 1.0

    def batch(self, ids: Sequence[str], step: int) -> list[int]:
        """Which rows a step sees: the next ones of an order that is drawn anew each time that all were seen."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [_order(tuple(ids), self.seed, place // len(ids))[place % len(ids)] for place in places]


@lru_cache(maxsize=4)
def _order(ids: tuple[str, ...], seed: int, epoch: int) -> list[int]:
    return sorted(range(len(ids)), key=lambda index: sha256(f"{seed}\0{epoch}\0{ids[index]}"))
