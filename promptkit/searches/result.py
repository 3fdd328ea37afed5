"""The result of a search for an instruction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from promptkit.analysis.comparison import Comparison
from promptkit.core.hashing import short_hash
from promptkit.core.paths import expanded
from promptkit.display.notes import note_lines
from promptkit.display.table import Entry, Table
from promptkit.manipulate.instruction_file import ChosenInstruction
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.selection import Corrected
from promptkit.predictor.predictor import Predictor
from promptkit.searches.halving import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best instruction of a search.

    It is chosen by its score on dev rows and confirmed on rows of the evaluated split, which the search does not use otherwise.
    Printing it shows the scores of the instructions, the confirmation and the estimate of the score on new rows.
    """

    task: str
    """Name of the task."""
    model: str
    """Name of the model."""
    settings: Mapping[str, object]
    """The settings of the search: method, candidates, by, seed, dev_rows."""
    origins: Mapping[str, str]
    """Instruction -> origin: `own` (the prompt's instruction), `none` (no instruction), `labels` (derived from the labels),
    `list` (given by the user), `ape` or `opro` (proposed by the model)."""
    metric: Metric
    """The main metric."""
    rungs: tuple[Rung, ...]
    """The scores of the instructions on more and more dev rows."""
    corrected: Corrected
    """The metric of the best instruction on the dev rows, and what it is on new rows, estimated from the dev rows alone."""
    predictor: Predictor
    """The predictor with the best instruction."""
    comparison: Comparison
    """Compares the prompt's instruction and the best one on the evaluated split."""
    notes: tuple[str, ...]
    """Remarks on the search, such as how many proposals were usable."""

    @property
    def instruction(self) -> str:
        """The best instruction; "" for none."""
        return self.rungs[-1].best

    @property
    def held_out(self) -> Estimate:
        """The metric of the best instruction on the evaluated split."""
        return self.comparison.branches[-1].metrics[self.metric.name].value

    @property
    def optimism(self) -> float:
        """By how much the metric is better on the dev rows that the instruction was chosen by than expected on new rows."""
        return self.corrected.optimism if self.metric.higher_is_better else -self.corrected.optimism

    def save(self, out: str | Path) -> Path:
        """Writes the best instruction to a file, with the rows that it was chosen by, for `--instruction file:FILE`.

        Args:
            out: The folder of the file.

        Returns:
            The path of the file.
        """
        chosen = ChosenInstruction(self.instruction, self.predictor.fitted_on)
        key = short_hash(json.dumps([self.model, self.instruction, sorted(map(str, chosen.fitted_on))]))
        path = expanded(out) / f"instruction-{self.task}-{key[:8]}.json"
        chosen.save(path)
        return path

    def to_json(self) -> dict[str, object]:
        """Returns the result as JSON values, as `promptkit search --json` prints them."""
        return {
            "task": self.task,
            "model": self.model,
            **self.settings,
            "instruction": self.instruction,
            "from": self.origins[self.instruction],
            "metric": self.metric.name,
            "dev": self.corrected.own,
            "new_rows": asdict(self.corrected.estimate),
            "optimism": self.optimism,
            "held_out": asdict(self.held_out),
            "rungs": [self._rung_to_json(rung) for rung in self.rungs],
            "comparison": self.comparison.to_json(),
            "runs": [str(run.path) for run in self.comparison.runs],
            "notes": list(self.notes),
        }

    def _rung_to_json(self, rung: Rung) -> dict[str, object]:
        instructions = [
            {"instruction": text, "from": self.origins[text], **score._asdict()} for text, score in rung.standings.items()
        ]
        return {"rows": rung.rows, "instructions": instructions}

    def __str__(self) -> str:
        """Returns the table of instructions, the comparison and the estimate of the score on new rows."""
        dev, new = self.corrected.own, self.corrected.estimate
        summary = (
            f"{self.metric.title} on the dev rows that it was chosen by: {dev:.3f}; on new rows, estimated from them: "
            f"{new.value:.3f} ({new.low:.2f} to {new.high:.2f}); optimism: {self.optimism:+.3f}; "
            f"held out: {self.held_out.value:.3f}"
        )
        notes = note_lines(self.notes)
        best = f"best instruction: {self.instruction or '(none)'}"
        return "\n".join([str(self.table()), "", str(self.comparison), "", best, summary, *notes])

    def table(self) -> Table:
        """Returns one row for each instruction that passed the first rung, for the prompt's instruction and for none."""
        order = list(dict.fromkeys(text for rung in reversed(self.rungs) for text in rung.standings))
        shown = {text for rung in self.rungs[1:] or self.rungs for text in rung.standings}
        last = {text: score for rung in self.rungs for text, score in rung.standings.items()}
        rows: list[tuple[Entry, ...]] = []
        for text in order:
            if text in shown or self.origins[text] in ("own", "none"):
                figures = (rung.standings[text].metric if text in rung.standings else None for rung in self.rungs)
                rows.append((text or "(none)", self.origins[text], *figures, last[text].logprob))
        direction = "" if self.metric.higher_is_better else ", lower is better"
        kept = f"{self.metric.title} per rung{direction}, the better half is kept"
        return Table(
            title=f"{self.task} · {len(order)} instructions on dev rows · {self.model}",
            columns=("instruction", "from", *(f"{rung.rows} rows" for rung in self.rungs), "log p"),
            rows=tuple(rows),
            names=2,
            caption=f"{kept}; log p: mean log-probability of the correct answer",
        )
