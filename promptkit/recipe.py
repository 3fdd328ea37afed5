"""How something is trained: every number of it, and which rows each step sees, whatever was interrupted before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args

from promptkit.errors import PromptkitError, unknown

Schedule = Literal["linear", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Adam with decoupled weight decay (AdamW, Loshchilov and Hutter 2019, 1711.05101), warmed up, then decayed."""

    steps: int = 100
    """How often the parameters are changed, at the most."""
    batch_size: int = 16
    """Rows of one step."""
    learning_rate: float | None = None
    """At its highest; that of each kind of what is learned unless given."""
    schedule: Schedule = "linear"
    """How it falls after the warm-up: to 0 in a `linear` way, or not at all (`constant`)."""
    warmup: float = 0.05
    """The share of the steps in which it rises to that."""
    weight_decay: float = 0.0
    """Of AdamW."""
    per_class: int | None = None
    """Train on so many rows of each label, those with the smallest hash of id; on all unless given."""
    dev: int = 128
    """At most so many rows of the dev part choose the best step."""
    every: int = 10
    """Steps between two looks at dev, each of which also writes a checkpoint."""
    patience: int | None = 5
    """Stop after so many looks at dev without a better one; never where that is None."""
    seed: int = 0
    """Of the order of rows."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be trained by."""
        for name in ("steps", "batch_size", "dev", "every", "per_class", "patience"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise PromptkitError(f"{name} of a training is a whole number of at least 1", got=repr(value))
        rate = 1.0 if self.learning_rate is None else self.learning_rate
        if not 0 < rate < float("inf") or self.weight_decay < 0 or not 0 <= self.warmup <= 1:
            raise PromptkitError(
                "A learning rate is above 0, a weight decay at least 0 and a warm-up a share of the steps",
                got=f"learning_rate={self.learning_rate}, weight_decay={self.weight_decay}, warmup={self.warmup}",
            )
        if self.schedule not in get_args(Schedule):
            raise unknown("schedule", str(self.schedule), get_args(Schedule))

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Recipe:
        """The recipe of keywords; raises for one that there is not."""
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise unknown("keyword of a training", name, known)
        return cls(**keywords)

    def settings(self) -> dict[str, object]:
        """Every number of it."""
        return asdict(self)

    def share(self, step: int) -> float:
        """What share of its highest the learning rate of a step is, counted from 0."""
        warm = round(self.warmup * self.steps)
        if step < warm:
            return (step + 1) / warm
        left = (self.steps - step) / max(1, self.steps - warm)
        return left if self.schedule == "linear" else 1.0

    def batch(self, ids: Sequence[str], step: int) -> list[int]:
        """Which rows a step sees: the next ones of an order that is drawn anew each time that all were seen."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [_order(tuple(ids), self.seed, place // len(ids))[place % len(ids)] for place in places]


@lru_cache(maxsize=4)
def _order(ids: tuple[str, ...], seed: int, epoch: int) -> list[int]:
    return sorted(range(len(ids)), key=lambda index: hashlib.sha256(f"{seed}\0{epoch}\0{ids[index]}".encode()).digest())
