"""The result of tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import RunError
from promptkit.core.paths import expanded
from promptkit.core.reporting import write_report
from promptkit.display.table import Entry, Table
from promptkit.metrics.intervals import Estimate as Interval
from promptkit.tuning.baseline_predictor import AnyPredictor, load_predictor
from promptkit.tuning.explanation import explain, markdown, summary
from promptkit.tuning.figures import Standing, TuningResult
from promptkit.tuning.folder import PREDICTOR, read_folder
from promptkit.tuning.hidden_texts import without_texts

REASONS = {"test": "worse", "equivalent": "no better", "budget": "budget"}
"""Why a candidate was dropped, in the leaderboard."""
SHOWN = 10
"""The number of candidates that the printed leaderboard lists."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of tuning. Printing it shows whether anything beats the best baseline, the estimate and the leaderboard."""

    path: Path
    """The folder of the result."""
    result: TuningResult
    """The figures."""
    standings: tuple[Standing, ...]
    """All candidates, best first."""
    seconds: float = 0.0
    """The wall time of all executions."""

    @classmethod
    @check_arguments("Tuned.load")
    def load(cls, folder: str | Path) -> Tuned:
        """Reads the result of finished tuning.

        Raises:
            RunError: Tuning is not finished, or a file was changed.
        """
        path = expanded(folder)
        contents = read_folder(path)
        if contents is None:
            raise RunError(
                f"{path} has no finished result of promptkit tune",
                code="not-finished",
                hint="Run the same promptkit tune command again: it continues",
                folder=str(path),
            )
        result = TuningResult.model_validate(contents.result)
        standings = tuple(Standing.model_validate(line) for line in contents.leaderboard)
        return cls(path=path, result=result, standings=standings, seconds=contents.seconds)

    @cached_property
    def predictor(self) -> AnyPredictor:
        """The recommended predictor: the winner, or the best baseline if nothing beats it."""
        return load_predictor(self.path / PREDICTOR)

    @property
    def estimate(self) -> Interval:
        """The estimate of the recommended predictor's score on new rows, with its 95% interval."""
        return Interval(**self.result.recommended_estimate.model_dump())

    @property
    def leaderboard(self) -> Table:
        """All candidates, best first, with their scores on the rows that they answered."""
        return self.leaderboard_of(len(self.standings))

    @check_arguments("Tuned.leaderboard_of")
    def leaderboard_of(self, count: int) -> Table:
        """Returns the first candidates of the leaderboard."""
        rows: list[tuple[Entry, ...]] = [
            (
                f"{each.name} (baseline)" if each.is_baseline else each.name,
                _interval(each),
                each.rows,
                round(each.tokens),
                "" if each.dropped_at is None else f"{REASONS[each.reason]} after {each.dropped_at} rows",
            )
            for each in self.standings[:count]
        ]
        more = len(self.standings) - len(rows)
        caption = "each row is predicted from the other folds; the score of the best of many candidates is too good"
        return Table(
            title=f"{self.result.task} · {self.result.rows} labeled rows · {self.result.folds} folds · {self.result.model}",
            columns=("candidate", self.result.metric, "rows", "tokens", "dropped"),
            rows=tuple(rows),
            names=1,
            caption=f"{caption}; {more} more candidates are in leaderboard.jsonl" if more else caption,
        )

    def without_texts(self) -> Tuned:
        """Returns the result without the texts of rows and of the prompt, and with numbers in place of instructions."""
        result, standings = without_texts(self.result, self.standings)
        return replace(self, result=result, standings=standings)

    def why(self) -> str:
        """Explains the choice: the comparison with the baseline, the learning curve and the rows that nothing gets right."""
        return explain(self.result)

    @check_arguments("Tuned.report")
    def report(self, path: str | Path, *, text: bool = True) -> Path:
        """Writes an HTML page with the recommendation, the leaderboard and the course of the race.

        A file named `.md` gets the leaderboard and the explanation as Markdown.

        Args:
            path: The file to write.
            text: Whether the page contains the texts of rows and of the prompt.

        Returns:
            The path of the file.

        Raises:
            MissingPackage: The package that draws charts is not installed.
        """
        target = expanded(path)
        if target.suffix != ".md":
            return write_report(self.path, target, text=text)
        shown = self if text else self.without_texts()
        target.write_text(markdown(shown.result, shown.leaderboard), encoding="utf-8")
        return target

    def to_json(self) -> dict[str, object]:
        """Returns the result as JSON values, as `promptkit tune --json` prints them."""
        leaderboard = [each.model_dump() for each in self.standings]
        result = self.result.model_dump()
        recommended = {"recommended": self.result.recommended, "optimism": self.result.optimism}
        return {**result, **recommended, "leaderboard": leaderboard, "seconds": self.seconds, "path": str(self.path)}

    def __str__(self) -> str:
        return summary(self.result, self.leaderboard_of(SHOWN), self.path / PREDICTOR)


def _interval(standing: Standing) -> Entry:
    if standing.score is None or standing.low is None or standing.high is None:
        return standing.score
    return Interval(value=standing.score, low=standing.low, high=standing.high)
