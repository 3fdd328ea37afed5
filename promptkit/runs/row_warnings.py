"""Warnings about individual rows of a run, such as demonstrations that did not fit the context."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.examples import inputs_of
from promptkit.runs.schema import RowRecord


def row_warnings(samples: Sequence[RowRecord]) -> list[str]:
    """Returns one sentence for each problem, with the number of rows that have it."""
    counts = {
        "lost demonstrations because the prompt would not fit the model's context": sum(bool(row["dropped"]) for row in samples),
        "were scored from an earlier token because a label merges with the prompt": sum(bool(row["boundary"]) for row in samples),
        "have fewer demonstrations than others because the pool has too few different rows": _short_of_demos(samples),
        "have a demonstration that is itself evaluated: train and test overlap": _evaluated_demos(samples),
        "reached the maximum number of generated tokens (max_tokens)": sum(
            any(text["ended"] == "length" for text in row.get("generations", ())) for row in samples
        ),
    }
    notes = [f"{count} of {len(samples)} rows {problem}" for problem, count in counts.items() if count]
    prefix = _prefix_of_another([scored["text"] for scored in samples[0].get("continuations", ())])
    if prefix is not None:
        notes.append(f"The answer {prefix!r} is a prefix of another answer, which can therefore never have a higher summed score")
    return notes


def _short_of_demos(samples: Sequence[RowRecord]) -> int:
    counts = [len(row["demos"]) + len(row["dropped"]) for row in samples]
    return sum(count < max(counts) for count in counts)


def _evaluated_demos(samples: Sequence[RowRecord]) -> int:
    evaluated = {inputs_of(row["id"]) for row in samples}
    return sum(any(inputs_of(demo) in evaluated for demo in row["demos"]) for row in samples)


def _prefix_of_another(texts: Sequence[str]) -> str | None:
    return next((text for text in texts if any(other != text and other.startswith(text) for other in texts)), None)
