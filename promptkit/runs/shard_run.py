"""A finished shard of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRun:
    """A finished shard of a run. Its metrics are computed when all shards are merged."""

    task: str
    split: str
    model: str
    path: Path
    shard: str
    """The shard as `1/3`."""
    rows: int
    """Number of rows in the shard."""
    n: int
    """Number of rows in the run."""
    seconds: float
    examples_per_second: float
    resumed: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit eval --shard --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": self.n,
            "model": self.model,
            "shard": self.shard,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self.examples_per_second, 3),
            "resumed": self.resumed,
            "run": str(self.path),
        }
