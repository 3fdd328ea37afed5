"""The figures of a result of tuning, as they are written to files."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from promptkit.predictor.estimate import Figure
from promptkit.tuning.direction import Direction


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Standing(_Frozen):
    """One candidate of the leaderboard."""

    name: str
    """The prompt and the alignment, such as `balanced, k=8 · linear`, or the baseline."""
    number: int | None = None
    """Its number in `race.jsonl`; None in folders of earlier versions."""
    is_baseline: bool
    rows: int
    """The number of rows that it answered."""
    score: float | None
    """Its score on these rows, which is too good for the best of many candidates; None if it was never fitted."""
    low: float | None = None
    high: float | None = None
    """The 95% interval of the score, without regard to the choice."""
    tokens: float
    """The mean number of tokens of a row's prompt."""
    dropped_at: int | None = None
    """The number of rows after which it was dropped; None if it was left at the end."""
    reason: str = ""
    """Why it was dropped."""


class CurvePoint(_Frozen):
    """The score of the winner with fewer labeled rows."""

    rows: int
    """The number of labeled rows that its alignment is fitted on."""
    score: float


class HardRow(_Frozen):
    """A row that no candidate predicts correctly: its label may be wrong, or it may be ambiguous."""

    id: str
    name: str = ""
    """How the row is found in the data: its id in the column that the user named, or its number, such as `row 17`."""
    text: str
    """The inputs of the row."""
    label: str
    predicted: str
    """The prediction of the winner."""


class Drop(_Frozen):
    """A prompt that was dropped, and the rows that decided it."""

    rows: int
    """The number of rows after which it was dropped."""
    prompt: str
    candidate: str
    """Its best candidate on these rows."""
    leader: str
    """The best candidate of all, with which it was compared."""
    reason: str
    """`test` if it is significantly worse, `equivalent` if it is as good and has more tokens, or `budget`."""
    p: float
    """The p-value of the difference."""
    worse: tuple[str, ...]
    """The rows on which it is worse than the leader, by the largest differences."""
    better: tuple[str, ...]
    """The rows on which it is better."""


class TuningResult(_Frozen):
    """Everything that `tune.json` says about finished tuning."""

    task: str
    model: str
    """The models, separated by commas."""
    metric: str
    rows: int
    """The number of labeled rows."""
    folds: int
    """The number of folds."""
    answered: int
    """The number of rows that the last prompts answered. The difference from the best baseline rests on these rows."""
    higher_is_better: bool
    """Whether a higher value of the metric is better."""
    winner: str
    """The best prompt and alignment."""
    score: float
    """The metric on the rows that it was chosen by."""
    estimate: Figure
    """The estimate of its score on new rows, with its 95% interval, which contains the variance between the folds."""
    baseline: str | None
    """The best baseline; None without baselines."""
    baseline_estimate: Figure | None
    """The estimate of the baseline's score on new rows."""
    difference: Figure | None
    """The winner minus the best baseline on new rows, paired by row; None if a baseline is the winner."""
    beats_baseline: bool
    """Whether the interval of the difference is on the better side of 0."""
    end: str
    """Why the race ended: `rows`, `budget`, or `prompts` if no prompt was left."""
    requests: int
    """The number of requests."""
    tokens: int
    """The number of tokens of the prompts of the requests."""
    curve: tuple[CurvePoint, ...] = ()
    hard_rows: tuple[HardRow, ...] = ()
    drops: tuple[Drop, ...] = ()
    test: Figure | None = None
    """The score on the rows of `--test`, which were used once, at the end; None without such rows."""
    test_rows: int = 0
    prompt: str = ""
    """The prompt of the first row, as the model reads it."""
    command: str = ""
    """The command that repeats the tuning; empty for data in memory."""
    is_timed: bool = False
    """Whether a budget is a time, so that another run can choose differently."""
    notes: tuple[str, ...] = ()

    @property
    def direction(self) -> Direction:
        """Whether higher or lower values of the metric are better."""
        return Direction(self.higher_is_better)

    @property
    def winner_rows(self) -> int:
        """The number of rows that the winner's score and estimate rest on; baselines predict all rows."""
        return self.rows if self.winner == self.baseline else self.answered

    @property
    def recommended_rows(self) -> int:
        """The number of rows that the estimate of what is recommended rests on."""
        return self.rows if self.recommended == self.baseline else self.answered

    @property
    def recommended(self) -> str:
        """The name of what is recommended: the winner if it beats the best baseline, and otherwise the baseline."""
        return self.winner if self.beats_baseline or self.baseline is None else self.baseline

    @property
    def recommended_estimate(self) -> Figure:
        """The estimate of the score of what is recommended on new rows."""
        if self.recommended != self.baseline or self.baseline_estimate is None:
            return self.estimate
        return self.baseline_estimate

    @property
    def optimism(self) -> float:
        """By how much the score of the winner on the rows that it was chosen by is better than expected on new rows."""
        return self.direction.signed(self.score - self.estimate.value)


def best_first(standings: Sequence[Standing], direction: Direction, answered: int) -> list[Standing]:
    """Returns candidates in the order of the leaderboard: those with more rows first, then by score, and those without last.

    Args:
        standings: The candidates.
        direction: Whether higher or lower scores are better.
        answered: The number of rows that the last prompts answered. Baselines predict all rows, which does not put them first.
    """

    def rank(standing: Standing) -> tuple[int, bool, float]:
        score = 0.0 if standing.score is None else -direction.signed(standing.score)
        return -min(standing.rows, answered), standing.score is None, score

    return sorted(standings, key=rank)
