"""Assigns ids to rows and divides them into splits and parts, by hashes of their inputs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.hashing import sha256_hex
from promptkit.core.values import Value, value_identity

_PART_BOUNDS: Mapping[Part, tuple[float, float]] = {"pool": (0.0, 0.6), "fit": (0.6, 0.8), "dev": (0.8, 1.0)}


def assign_ids(rows: Sequence[LabeledExample]) -> list[str]:
    """Returns the id of each row: a hash of its inputs and choices.

    Repeats are numbered in the order of their labels, so ids do not depend on the order of the rows.
    """
    digests = [_hash({**row.inputs, **{f"choice {i}": text for i, text in enumerate(row.choices)}})[:12] for row in rows]
    counts: Counter[str] = Counter()
    ids = [""] * len(rows)
    for index in sorted(range(len(rows)), key=lambda i: (digests[i], rows[i].label)):
        digest = digests[index]
        counts[digest] += 1
        ids[index] = digest if counts[digest] == 1 else f"{digest}#{counts[digest]}"
    return ids


def rows_of_part(rows: Sequence[LabeledExample], part: Part) -> list[LabeledExample]:
    """Returns the rows of a train split that belong to a part, in order. Equal inputs belong to the same part."""
    low, high = _PART_BOUNDS[part]
    return [row for row in rows if low <= _hash_fraction(row) < high]


def divide_train_test(rows: Sequence[LabeledExample], hold_out: float) -> dict[str, list[LabeledExample]]:
    """Divides rows into train, those with the smallest hashes of their inputs, and test.

    Args:
        rows: The rows.
        hold_out: The number (int) or fraction (float) of train rows. Train is larger if equal inputs would be divided.

    Raises:
        TaskError: One of the splits would be empty.
    """
    ranks = [_hash({"hold out": "", **row.inputs}) for row in rows]
    count = hold_out if isinstance(hold_out, int) else round(hold_out * len(rows))
    if not 0 < count < len(rows):
        raise TaskError(
            f"{count} of {len(rows)} rows cannot be held out for demonstrations: each part needs at least one row",
            code="invalid-hold-out",
            hint="Change hold_out in the task, add rows, or give the demonstrations their own file (--train)",
            hold_out=count,
            rows=len(rows),
        )
    last = sorted(ranks)[count - 1]
    if last == max(ranks):
        raise TaskError(
            "Too few rows differ to hold some out for demonstrations: rows with equal inputs stay together",
            code="too-few-distinct-rows",
            got=f"{len(set(ranks))} distinct rows of {len(rows)}",
            hint="Add rows, or give the demonstrations their own file (--train)",
            distinct=len(set(ranks)),
            rows=len(rows),
        )
    return {
        "train": [row for row, rank in zip(rows, ranks, strict=True) if rank <= last],
        "test": [row for row, rank in zip(rows, ranks, strict=True) if rank > last],
    }


def _hash(inputs: Mapping[str, Value]) -> str:
    identities = {variable: value_identity(value) for variable, value in inputs.items()}
    return sha256_hex(json.dumps(identities, sort_keys=True, ensure_ascii=False))


def _hash_fraction(row: LabeledExample) -> float:
    """The hash of a row's inputs as a number in [0, 1)."""
    return int(_hash({"part": "", **row.inputs})[:13], 16) / 16**13
