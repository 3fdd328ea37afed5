"""The three biases of in-context predictors (Zhao et al. 2021, 2102.09690, section 4), from what a finished run stored.

Each names the labels that a prompt would favor in a row: those that most of its demonstrations have (majority label), that
of its last demonstration (recency), and the one that is likeliest behind the prompt's end alone (common token). A predictor
has the bias as far as it predicts favoured labels more often than they are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from promptkit.align.chain import chain_from_settings
from promptkit.analysis.compare import located, read_branch
from promptkit.core.alignment import Scorer
from promptkit.core.errors import RunError
from promptkit.display.text_table import as_text, new_table, with_interval
from promptkit.evaluation import support
from promptkit.metrics.intervals import Estimate, paired_difference, wilson
from promptkit.runs.command import eval_command, explained, without_premise
from promptkit.runs.folder import damaged, read_outputs

KEPT = frozenset({"id", "demos", "demo_labels", "logprobs"})
"""What is read of the lines of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """How much more often favoured labels are predicted than they are right."""

    name: str
    favoured: Mapping[str, int]
    """Label -> in how many rows it is favoured."""
    rows: int
    """Rows in which some labels are favoured and others are not."""
    predicted: float
    """The share of these in which a favoured label is predicted."""
    right: float
    """The share of these in which one is right."""
    excess: Estimate | None
    """The one less the other; None where there are no such rows."""
    reason: str
    """Why there are none, if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """One label of a run."""

    label: str
    right: int
    """Rows that have it."""
    predicted: int
    """Rows that it is predicted for."""
    accuracy: Estimate | None
    """Of the rows that have it; None where none has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Biases:
    """A branch of a finished run, by the labels that it predicts."""

    run: str
    task: str
    split: str
    n: int
    contexts: int
    """How many different lists of demonstrations its rows are read behind."""
    biases: tuple[Bias, ...]
    labels: tuple[Recall, ...]

    @property
    def caution(self) -> str:
        """What one context cannot tell."""
        if self.contexts > 1:
            return ""
        return (
            "all rows are read behind the same demonstrations, so that an excess may be a preference of the model's own: "
            "vary the seed, or use --demos random-each"
        )

    def to_json(self) -> dict[str, object]:
        """What `promptkit bias --json` prints."""
        return asdict(self) | {"caution": self.caution}

    def __str__(self) -> str:
        """Both tables, and what to know besides."""
        from rich.text import Text

        title = f"{self.task} · {self.split} · {self.n} rows · {self.run}"
        biases = new_table(title, caption="excess: the share predicted less the share right, with its 95% interval")
        for name in ("bias", "favours", "rows", "predicted", "right", "excess"):
            biases.add_column(name, justify="left" if name in ("bias", "favours") else "right")
        for each in self.biases:
            if each.excess is None:
                biases.add_row(each.name, Text(f"({each.reason})"))
            else:
                low, high = each.excess.low, each.excess.high
                favoured = ", ".join(list(each.favoured)[:4]) + (" …" if len(each.favoured) > 4 else "")
                shares = (f"{each.predicted:.3f}", f"{each.right:.3f}", f"{each.excess.value:+.3f} {low:+.2f} to {high:+.2f}")
                biases.add_row(each.name, Text(favoured), str(each.rows), *shares)
        labels = new_table("by label")
        for name in ("label", "right", "predicted", "accuracy of those that have it"):
            labels.add_column(name, justify="left" if name == "label" else "right")
        for recall in self.labels:
            accuracy = "" if recall.accuracy is None else with_interval(asdict(recall.accuracy))
            labels.add_row(Text(recall.label), str(recall.right), str(recall.predicted), accuracy)
        return "\n\n".join([as_text(biases), as_text(labels), *([f"note: {self.caution}"] if self.caution else [])])

    __repr__ = __str__


def bias(spelling: str) -> Biases:
    """Of RUN, or of its branch RUN:BRANCH. Raises for a run whose rows have answers of their own."""
    path, _ = located(spelling)
    branch = read_branch(spelling)
    settings, samples, besides = read_outputs(path, KEPT)
    try:
        reading = chain_from_settings(settings["align"][0]).reader
    except (TypeError, LookupError, AttributeError):
        raise damaged(path / "run.json", "it is not the settings of a run") from None
    if not isinstance(reading, Scorer) or not reading.labels:
        raise RunError(
            f"The run {path} does not have the same labels for every row, which biases need",
            code="no-fixed-labels",
            got=f"answers read by {reading.name}",
            hint="Use a run of a task that declares labels",
            folder=str(path),
            aligner=reading.name,
        )
    rows = [branch.rows[line["id"]] for line in samples]
    said, gold = [str(row.said) for row in rows], [row.gold for row in rows]
    shown = [line.get("demo_labels", []) for line in samples]
    common = _common(besides, reading.labels)
    command = explained(eval_command(settings, ["pmi"], beside=path.parent) or "evaluate it again with the calibration pmi")
    unread = without_premise(settings) or f"the run has not read its premise: {command}"
    none = "no row is shown demonstrations"
    return Biases(
        run=spelling,
        task=branch.task,
        split=branch.split,
        n=len(rows),
        contexts=len({support.context_of(line["demos"]) for line in samples}),
        biases=(
            _measured(
                "majority label",
                [_majority(each, reading.labels) for each in shown],
                said,
                gold,
                "every label is shown as often as the others" if any(shown) else none,
            ),
            _measured("recency", [{each[-1]} if each else set() for each in shown], said, gold, none),
            _measured("common token", [common] * len(rows), said, gold, unread),
        ),
        labels=tuple(_recall(label, said, gold) for label in reading.labels),
    )


def _majority(shown: Sequence[str], labels: Sequence[str]) -> set[str]:
    """The labels that most demonstrations have, unless all have them equally."""
    counts = Counter(shown)
    most = {label for label in labels if shown and counts[label] == max(counts.values())}
    return most if len(most) < len(labels) else set()


def _common(besides: Sequence[Any], labels: Sequence[str]) -> set[str]:
    """The label that is likeliest behind the premise; nothing where the run has not read it."""
    premise = next((line["logprobs"] for line in besides if line["id"] == support.PREMISE), None)
    return set() if premise is None else {max(labels, key=lambda label: premise[label])}


def _measured(name: str, favoured: Sequence[set[str]], said: Sequence[str], gold: Sequence[str], reason: str) -> Bias:
    rows = [index for index, labels in enumerate(favoured) if labels]
    predicted, right = (np.array([each[index] in favoured[index] for index in rows], float) for each in (said, gold))
    counts = Counter(label for labels in favoured for label in sorted(labels))
    return Bias(
        name=name,
        favoured=dict(counts.most_common()),
        rows=len(rows),
        predicted=float(predicted.mean()) if rows else 0.0,
        right=float(right.mean()) if rows else 0.0,
        excess=paired_difference(predicted, right) if rows else None,
        reason="" if rows else reason,
    )


def _recall(label: str, said: Sequence[str], gold: Sequence[str]) -> Recall:
    held = gold.count(label)
    hits = sum(one == other == label for one, other in zip(said, gold, strict=True))
    return Recall(label=label, right=held, predicted=said.count(label), accuracy=wilson(hits, held) if held else None)
