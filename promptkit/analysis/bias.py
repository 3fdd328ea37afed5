"""Measures three biases of in-context learning (Zhao et al. 2021, arXiv 2102.09690, section 4) in a finished run.

Each bias favors some labels in a row: the labels of most of its demonstrations (majority label), the label of its last
demonstration (recency), and the likeliest label without instruction, demonstrations and inputs (common token). The
excess is the share of rows in which a favored label is predicted minus the share of rows in which one is correct.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from promptkit.align.chain import chain_from_settings
from promptkit.analysis.branches import locate, read_branch
from promptkit.analysis.stored_run import check_fixed_labels, check_single_label
from promptkit.core.caller import setting
from promptkit.core.need_context import context_id
from promptkit.core.records import RowRecord, answered
from promptkit.core.shown_text import label_text
from promptkit.display.notes import note_lines
from promptkit.display.table import Entry, Table
from promptkit.metrics.intervals import Estimate, paired_difference, wilson
from promptkit.needs.premise import Premise, premise_id
from promptkit.runs.command import eval_command, explained
from promptkit.runs.files import expect
from promptkit.runs.finished import read_rows
from promptkit.runs.folder import SETTINGS
from promptkit.runs.recorded import read_options
from promptkit.runs.schema import RunSettings

KEYS = frozenset({"id", "skipped", "no_answer", "demos", "demo_labels", "logprobs"})
"""The keys of a run's records that are read."""
NO_DEMOS = "no row has demonstrations"
BALANCED = "all labels have equally many demonstrations"
MOST_LABELS_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """How much more often favored labels are predicted than they are correct."""

    name: str
    favored: Mapping[str, int]
    """Label -> number of rows in which it is favored."""
    rows: int
    """Number of rows in which some labels are favored and others are not."""
    predicted: float
    """Share of these rows in which a favored label is predicted."""
    correct: float
    """Share of these rows in which a favored label is correct."""
    excess: Estimate | None
    """`predicted` minus `correct`; None if there are no such rows."""
    reason: str
    """Why there are no such rows; empty if there are some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """The accuracy of one label."""

    label: str
    gold: int
    """Number of rows with this label."""
    predicted: int
    """Number of rows that it is predicted for."""
    accuracy: Estimate | None
    """Accuracy over the rows with this label; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Biases:
    """The biases of one branch of a finished run. `print(biases)` shows two tables."""

    run: str
    task: str
    split: str
    n: int
    """Number of rows."""
    contexts: int
    """Number of different lists of demonstrations."""
    biases: tuple[Bias, ...]
    labels: tuple[Recall, ...]

    @property
    def caution(self) -> str:
        """What cannot be concluded if all rows have the same demonstrations; empty if they differ."""
        if self.contexts > 1:
            return ""
        return (
            "all rows have the same demonstrations, so an excess may also be a general preference of the model: "
            f"vary the seed, or use {setting('demos', 'random-each')}"
        )

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit bias --json` prints."""
        return asdict(self) | {"caution": self.caution}

    def __str__(self) -> str:
        notes = note_lines([self.caution] if self.caution else [])
        return "\n\n".join([str(self.table()), str(self.label_table()), *notes])

    __repr__ = __str__

    def table(self) -> Table:
        """Returns a table with a row for each bias."""
        rows: list[tuple[Entry, ...]] = []
        for bias in self.biases:
            if bias.excess is None:
                rows.append((bias.name, f"({bias.reason})", None, None, None, None))
                continue
            more = " …" if len(bias.favored) > MOST_LABELS_SHOWN else ""
            favored = ", ".join(map(label_text, list(bias.favored)[:MOST_LABELS_SHOWN])) + more
            rows.append((bias.name, favored, bias.rows, bias.predicted, bias.correct, bias.excess))
        return Table(
            title=f"{self.task} · {self.split} · {self.n} rows · {self.run}",
            columns=("bias", "favors", "rows", "predicted", "correct", "excess"),
            rows=tuple(rows),
            names=2,
            caption="excess: share predicted minus share correct, below it its 95% interval",
            signed=("excess",),
        )

    def label_table(self) -> Table:
        """Returns a table with a row for each label."""
        return Table(
            title="by label",
            columns=("label", "gold", "predicted", "accuracy"),
            rows=tuple((recall.label, recall.gold, recall.predicted, recall.accuracy) for recall in self.labels),
            names=1,
            labels=("label",),
        )


def bias(spelling: str) -> Biases:
    """Measures the biases of a finished run, on the rows that have an answer.

    Args:
        spelling: The run's folder, or RUN:BRANCH for one of its branches.

    Raises:
        RunError: If the run is not finished, or its rows do not have the same labels.
    """
    path, branch_name = locate(spelling)
    branch = read_branch(path, branch_name, name=spelling)
    settings, evaluated, support = read_rows(path, KEYS)
    samples = answered(evaluated)
    labels = _fixed_labels(path, settings)
    rows = [branch.rows[record["id"]] for record in samples]
    predicted, gold = [str(row.predicted) for row in rows], [row.gold for row in rows]
    demo_labels = [record.get("demo_labels", []) for record in samples]
    majority = [_majority(shown, labels) for shown in demo_labels]
    recency = [set(shown[-1:]) for shown in demo_labels]
    common = [_likeliest_without_inputs(support, labels)] * len(rows)
    return Biases(
        run=spelling,
        task=branch.task,
        split=branch.split,
        n=len(rows),
        contexts=len({context_id(record.get("demos", ())) for record in samples}),
        biases=(
            _measure("majority label", majority, predicted, gold, BALANCED if any(demo_labels) else NO_DEMOS),
            _measure("recency", recency, predicted, gold, NO_DEMOS),
            _measure("common token", common, predicted, gold, _why_no_premise(settings, path)),
        ),
        labels=tuple(_recall(label, predicted, gold) for label in labels),
    )


def _fixed_labels(path: Path, settings: RunSettings) -> tuple[str, ...]:
    with expect(path / SETTINGS, "the settings of a run"):
        reader = chain_from_settings(settings["align"][0]).reader
    check_fixed_labels(path, reader, "which measuring biases needs")
    check_single_label(reader, "Measuring biases")
    return reader.labels


def _why_no_premise(settings: RunSettings, path: Path) -> str:
    command = eval_command(settings, ["pmi"], folder=path, recorded=read_options(path))
    collect = explained(command) if command else "evaluate it again with the calibration pmi"
    impossible = Premise().impossible(settings["manipulate"])
    return impossible.text if impossible else f"the run does not contain the scores of the premise: {collect}"


def _majority(demo_labels: Sequence[str], labels: Sequence[str]) -> set[str]:
    """The labels of most demonstrations, unless all labels have equally many."""
    counts = Counter(demo_labels)
    most = {label for label in labels if demo_labels and counts[label] == max(counts.values())}
    return most if len(most) < len(labels) else set()


def _likeliest_without_inputs(support: Sequence[RowRecord], labels: Sequence[str]) -> set[str]:
    """The label with the highest score after the premise; empty if the run does not contain the premise."""
    scores = next((record["logprobs"] for record in support if record["id"] == premise_id()), None)
    return set() if scores is None else {max(labels, key=lambda label: scores[label])}


def _measure(name: str, favored: Sequence[set[str]], predicted: Sequence[str], gold: Sequence[str], reason: str) -> Bias:
    rows = [index for index, labels in enumerate(favored) if labels]
    hits, truths = (np.array([labels[i] in favored[i] for i in rows], float) for labels in (predicted, gold))
    counts = Counter(label for labels in favored for label in sorted(labels))
    return Bias(
        name=name,
        favored=dict(counts.most_common()),
        rows=len(rows),
        predicted=float(hits.mean()) if rows else 0.0,
        correct=float(truths.mean()) if rows else 0.0,
        excess=paired_difference(hits, truths) if rows else None,
        reason="" if rows else reason,
    )


def _recall(label: str, predicted: Sequence[str], gold: Sequence[str]) -> Recall:
    count = gold.count(label)
    hits = sum(one == other == label for one, other in zip(predicted, gold, strict=True))
    accuracy = wilson(hits, count) if count else None
    return Recall(label=label, gold=count, predicted=predicted.count(label), accuracy=accuracy)
