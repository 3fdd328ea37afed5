"""What a search found, and how sure one can be of it. Knows nothing of how it was searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from promptkit.analysis.compare import Comparison
from promptkit.display.text_table import as_text, new_table
from promptkit.metrics.intervals import Estimate, difference, wilson
from promptkit.predictor.predictor import Predictor
from promptkit.searches.halving import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best instruction of a search: chosen by the dev part of the task, confirmed on a split that the search never saw."""

    task: str
    model: str
    settings: Mapping[str, object]
    """How it was searched."""
    origins: Mapping[str, str]
    """Each instruction that was tried -> where it is from: `own` is the prompt's own, `none` shows none, `labels` says what can
    be said of the labels, `list` was given, `ape` and `opro` were proposed by the model."""
    rungs: tuple[Rung, ...]
    """The instructions on ever more rows of dev."""
    predictor: Predictor
    """With the instruction that was found."""
    comparison: Comparison
    """The prompt's own instruction and the one found, on rows that the search never saw."""
    notes: tuple[str, ...]

    @property
    def instruction(self) -> str:
        """The best of the last rung."""
        return self.rungs[-1].best

    @property
    def on_dev(self) -> Estimate:
        """Its accuracy on the rows that it was chosen by."""
        last = self.rungs[-1]
        return wilson(round(last.standings[last.best].accuracy * last.rows), last.rows)

    @property
    def held_out(self) -> Estimate:
        """Its accuracy on rows that the search never saw."""
        return self.comparison.branches[-1].accuracy

    @property
    def optimism(self) -> Estimate:
        """How much better it looked where it was chosen."""
        return difference(self.on_dev, self.held_out)

    def to_json(self) -> dict[str, object]:
        """What `promptkit search --json` prints."""
        return {
            "task": self.task,
            "model": self.model,
            **self.settings,
            "instruction": self.instruction,
            "from": self.origins[self.instruction],
            "dev": asdict(self.on_dev),
            "held_out": asdict(self.held_out),
            "optimism": asdict(self.optimism),
            "rungs": [
                {
                    "rows": rung.rows,
                    "instructions": [
                        {"instruction": text, "from": self.origins[text], **score._asdict()}
                        for text, score in rung.standings.items()
                    ],
                }
                for rung in self.rungs
            ],
            "comparison": self.comparison.to_json(),
            "runs": [str(run.path) for run in self.comparison.runs],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """The instructions that were kept, and the confirmation."""
        dev, held_out, more = self.on_dev, self.held_out, self.optimism
        optimism = (
            f"optimism: {dev.value:.3f} on the rows that it was chosen by, {held_out.value:.3f} held out: "
            f"{more.value:+.3f} ({more.low:+.2f} to {more.high:+.2f})"
        )
        notes = [f"note: {note}" for note in self.notes]
        found = f"found instruction: {self.instruction or '(none)'}"
        return "\n".join([self._tried(), "", str(self.comparison), "", found, optimism, *notes])

    def _tried(self) -> str:
        """One line for each instruction that was kept at least once, and for those that need no search."""
        from rich.text import Text

        last = {text: rung.standings[text] for rung in self.rungs for text in rung.standings}
        order = list(dict.fromkeys(text for rung in reversed(self.rungs) for text in rung.standings))
        kept = {text for rung in self.rungs[1:] or self.rungs for text in rung.standings}
        table = new_table(
            f"{self.task} · {len(order)} instructions on rows of dev · {self.model}",
            caption="accuracy on ever more rows, the better half going on; log p: of the right answer, mean",
        )
        table.add_column("instruction", overflow="fold")
        table.add_column("from", no_wrap=True)
        for rung in self.rungs:
            table.add_column(f"{rung.rows} rows", justify="right", no_wrap=True)
        table.add_column("log p", justify="right", no_wrap=True)
        for text in order:
            if text in kept or self.origins[text] in ("own", "none"):
                figures = [f"{rung.standings[text].accuracy:.3f}" if text in rung.standings else "" for rung in self.rungs]
                table.add_row(Text(text or "(none)"), self.origins[text], *figures, f"{last[text].logprob:.2f}")
        return as_text(table)
