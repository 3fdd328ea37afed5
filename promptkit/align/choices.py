"""Rule-based alignment: each row's own candidates, scored as they stand (multiple choice; Brown et al. 2020, 2005.14165)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from promptkit.align.verbalizer import sequence_scores
from promptkit.core.errors import unknown
from promptkit.core.examples import Example
from promptkit.core.requests import ScoreOutput


class Choices:
    """The candidate of the greatest log-probability, among those that the row offers."""

    name: str = "choices"
    labels: tuple[str, ...] = ()

    def __init__(self, *, score: Literal["sum", "mean"] = "sum") -> None:
        """`score`: a candidate's token log-probabilities summed (its probability) or averaged per token."""
        if score not in ("sum", "mean"):
            raise unknown("score of choices", str(score), ("sum", "mean"))
        self.score: Literal["sum", "mean"] = score

    def candidates(self, example: Example) -> tuple[str, ...]:
        """The row's own."""
        return example.choices

    def words(self, example: Example) -> tuple[str, ...]:
        """Each candidate is its own word."""
        return example.choices

    def label_words(self) -> Mapping[str, str]:
        """Demonstrations show their right candidate as it stands."""
        return {}

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """One score per candidate, natural-log units."""
        return tuple(sequence_scores(output, self.score))

    def settings(self) -> Mapping[str, object]:
        """The rule."""
        return {"name": self.name, "score": self.score}
