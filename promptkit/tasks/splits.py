"""Assigns ids to rows and divides them into splits and parts, by hashes of what they show to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample, Part, content_id
from promptkit.tasks.division import DEFAULT, Division


def with_ids(rows: Sequence[LabeledExample]) -> list[LabeledExample]:
    """Returns rows with their ids: hashes of what they show to a model and of their choices.

    Repeats are numbered in the order of their labels, so ids do not depend on the order of the rows.
    """
    digests = [*map(content_id, rows)]
    repeated = {digest for digest, count in Counter(digests).items() if count > 1}
    ids = [*digests]
    numbers: Counter[str] = Counter()
    repeats = [index for index, digest in enumerate(digests) if digest in repeated]
    for index in sorted(repeats, key=lambda index: _repeat_order(rows[index])):
        digest = digests[index]
        numbers[digest] += 1
        ids[index] = digest if numbers[digest] == 1 else f"{digest}#{numbers[digest]}"
    return [replace(row, id=row_id) for row, row_id in zip(rows, ids, strict=True)]


def rows_of_part(rows: Sequence[LabeledExample], part: Part, division: Division = DEFAULT) -> list[LabeledExample]:
    """Returns the rows of a train split that belong to a part, in order. Equal rows belong to the same part."""
    low, high = division.bounds(part)
    return [row for row in rows if low <= row.content.fraction("part") < high]


def divide_train_test(rows: Sequence[LabeledExample], hold_out: float) -> dict[str, tuple[LabeledExample, ...]]:
    """Divides rows into train and test, by their hashes.

    With a fraction, the split of a row does not depend on the other rows, so that it stays the same when a file grows. Only
    if all rows would be in one split, one of them is put into the other.

    Args:
        rows: The rows.
        hold_out: The number (int) or approximate fraction (float) of train rows. With a number, train is larger if equal rows
            would be divided.

    Raises:
        TaskError: One of the splits would be empty.
    """
    ranks = [row.content.fraction("hold out") for row in rows]
    if isinstance(hold_out, int) and not 0 < hold_out < len(rows):
        raise TaskError(
            f"{hold_out} of {len(rows)} rows cannot be held out for demonstrations: each part needs at least one row",
            code="invalid-hold-out",
            hint=f"Change hold_out in the task, add rows, or give the demonstrations their own file ({setting('train')})",
            hold_out=hold_out,
            rows=len(rows),
        )
    lowest, highest = min(ranks), max(ranks)
    last = sorted(ranks)[hold_out - 1] if isinstance(hold_out, int) else hold_out
    if lowest == highest or (isinstance(hold_out, int) and last == highest):
        raise TaskError(
            "Too few rows differ to hold some out for demonstrations: equal rows stay together",
            code="too-few-distinct-rows",
            got=f"{len(set(ranks))} distinct rows of {len(rows)}",
            hint=f"Add rows, or give the demonstrations their own file ({setting('train')})",
            distinct=len(set(ranks)),
            rows=len(rows),
        )
    in_train = [rank == lowest or (rank <= last and rank != highest) for rank in ranks]
    return {
        "train": tuple(row for row, is_train in zip(rows, in_train, strict=True) if is_train),
        "test": tuple(row for row, is_train in zip(rows, in_train, strict=True) if not is_train),
    }


def _repeat_order(row: LabeledExample) -> tuple[str, str]:
    """Sorts rows that show the same, without the order of the file: by label, and then by the inputs."""
    return row.label, row.identity()


def with_row_ids(rows: Sequence[LabeledExample], row_ids: Sequence[str] | None) -> list[LabeledExample]:
    """Returns rows with the user's own ids, if there are any."""
    return [*rows] if row_ids is None else [replace(row, row_id=own) for row, own in zip(rows, row_ids, strict=True)]
