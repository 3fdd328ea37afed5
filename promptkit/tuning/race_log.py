"""The file `race.jsonl`: what happened in a race so far, from which an interrupted race continues and reports are written.

Lines differ by their keys: the instructions that models proposed, the prompts that answered the first block of rows, a learned
prompt that is left out, and otherwise a stage of the race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from promptkit.tuning.folder import damaged_race, race_lines
from promptkit.tuning.race import Stage, StageRecord


class ProposedRecord(TypedDict):
    """The instructions that models proposed, and what they cost."""

    proposed: list[list[str]]
    requests: int
    tokens: int


class TriedRecord(TypedDict):
    """The prompts that answered the first block of rows, and the mean number of tokens of each."""

    tried: list[int]
    tokens: list[float]


class LeftOutRecord(TypedDict):
    """A learned prompt that is left out, and why."""

    left_out: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceLog:
    """The lines of `race.jsonl`, by what they record."""

    proposed: ProposedRecord | None
    """The proposed instructions; None if there are none yet."""
    tried: TriedRecord | None
    """The prompts that answered the first block; None before."""
    left_out: Mapping[str, str]
    """Name of a learned prompt that is left out -> the reason."""
    stages: Sequence[Stage]
    """The stages so far."""

    @classmethod
    def read(cls, folder: Path) -> RaceLog:
        """Reads the log of a tuning run; before its start, the log is empty.

        Args:
            folder: The folder of the tuning run.

        Raises:
            RunError: The file is damaged.
        """
        lines = race_lines(folder)
        try:
            left_out = [cast("LeftOutRecord", line) for line in lines if "left_out" in line]
            return cls(
                proposed=next((cast("ProposedRecord", line) for line in lines if "proposed" in line), None),
                tried=next((cast("TriedRecord", line) for line in lines if "tried" in line), None),
                left_out={line["left_out"]: line["reason"] for line in left_out},
                stages=[Stage.from_json(cast("StageRecord", line)) for line in lines if "leader" in line],
            )
        except (ValueError, LookupError, TypeError) as error:
            raise damaged_race(folder, error) from None
