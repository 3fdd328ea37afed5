"""What is tuned, and the state of tuning while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from promptkit.core.examples import LabeledExample, rows_hash
from promptkit.core.version import __version__
from promptkit.metrics.requested import RequestedMetric, name_of
from promptkit.tasks.task import Task
from promptkit.tuning.budget import Budget
from promptkit.tuning.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is tuned: the rows, the space, and the limits."""

    task: Task
    rows: Sequence[LabeledExample]
    """The labeled rows."""
    space: Space
    """What is tried."""
    budgets: tuple[Budget, ...] = ()
    """The limits, all of which hold; without any, every row is answered by every prompt that is left."""
    metric: RequestedMetric | None = None
    """What candidates are compared by; the main metric of the task by default."""
    test: Task | None = None
    """A task with rows that the recommended predictor is evaluated on once, at the end."""
    seed: int = 0
    """The seed of the order of the rows and of their folds."""
    row_numbers: Mapping[str, int] = field(default_factory=dict)
    """Id of a row -> its number in the data, from 1, by which the explanation names it."""
    command: str = ""
    """The command that repeats the tuning, for readers."""

    def identity(self) -> dict[str, object]:
        """Returns everything that determines the result."""
        prompts = [
            {
                "name": each.name,
                "model": dict(each.predictor.model.identity()),
                "manipulate": dict(each.predictor.manipulate.settings()),
                "align": [chain.settings() for chain in each.chains],
                **({} if each.training is None else {"training": each.training.settings()}),
            }
            for each in self.space.all_prompts
        ]
        return {
            "promptkit": __version__,
            "task": dict(self.task.identity()),
            "rows": rows_hash(self.rows),
            "prompts": prompts,
            "baselines": [each.name for each in self.space.baselines],
            "budget": [[each.amount, each.unit] for each in self.budgets],
            "metric": None if self.metric is None else name_of(self.metric),
            "test": None if self.test is None else rows_hash(self.test.rows(self.test.spec.split)),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningProgress:
    """The state of tuning after a block of rows, or during the first one after a prompt."""

    rows: int
    """The number of rows so far."""
    of: int
    """The number of labeled rows."""
    prompts: int
    """The number of prompts that are left, or that have answered the first block of rows so far."""
    leaders: tuple[tuple[str, float], ...]
    """The best candidates so far, best first, with their scores on the rows so far; empty during the first block."""
    share: float
    """The share of the budget that is spent; 0 without a budget."""
    training: str = ""
    """The learned prompt that is being trained, and the fold; empty if none is."""
    metric: str = "score"
    """The name of the metric of these scores."""
    of_prompts: int = 0
    """The number of prompts that are tried."""

    @property
    def done(self) -> int:
        """The number of rows so far."""
        return self.rows

    @property
    def total(self) -> int:
        """The number of labeled rows."""
        return self.of

    @property
    def line(self) -> str:
        """The state as one line of text."""
        best = f", best: {self.leaders[0][0]} {self.leaders[0][1]:.3f}" if self.leaders else ""
        return f"{self._counts}{best}{self._spent}"

    @property
    def below_table(self) -> str:
        """The line without the best candidate, which a table shows."""
        return f"{self._counts}{self._spent}"

    @property
    def _counts(self) -> str:
        if self.training:
            return f"{self.rows} of {self.of} rows: training {self.training}"
        if not self.leaders:
            return f"first {self.rows} of {self.of} rows: tried {self.prompts} of {self.of_prompts} prompts"
        prompts = f"{self.prompts} prompt{'' if self.prompts == 1 else 's'}"
        return f"{self.rows} of {self.of} rows, {f'{prompts} left' if self.prompts else 'no prompt is left'}"

    @property
    def _spent(self) -> str:
        return f", {self.share:.0%} of the budget" if self.share else ""


Progress = Callable[[TuningProgress], None]
"""Called after each block of rows, and in the first one after each prompt."""
