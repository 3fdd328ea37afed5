"""Predicts the rows of a file in chunks, and writes them with their predictions.

Memory does not grow with the number of rows. An interrupted prediction continues with the first chunk that is not complete, and
gives the same bytes as one that was not interrupted.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.hashing import file_sha256_hex, short_hash
from promptkit.core.version import __version__
from promptkit.display.progress import Progress, reporting
from promptkit.predictor.decide.drift import Drift
from promptkit.predictor.decide.rule import Rule
from promptkit.predictor.in_chunks import CHUNK
from promptkit.predictor.journal import JournaledFile
from promptkit.predictor.predictions import Predictions
from promptkit.predictor.row_predictor import RowPredictor, RowSession
from promptkit.predictor.session import Unreadable
from promptkit.predictor.table_reader import InputRow, TableSize, measure, open_table
from promptkit.predictor.table_writer import DIGITS, TableWriter, suffix_of
from promptkit.predictor.tables import chunks
from promptkit.tasks.readers import Row

PREDICTED = "predicted "
"""The prefix of a count's name: the number of rows for which a label is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedFile:
    """The result of predicting the rows of a file."""

    path: Path
    """The file with the predictions."""
    rows: int
    """Number of rows of the file."""
    resumed: int
    """Number of rows that an earlier, interrupted prediction had computed."""
    predicted: dict[str, int]
    """Label -> number of rows that it is predicted for; empty for choices and generated texts."""
    abstained: int
    """Number of rows that were read and have no prediction."""
    errors: int
    """Number of rows that could not be read."""
    seconds: float
    rows_per_second: float
    notes: tuple[str, ...]
    """The guarantees of the predictions, differences from the labeled rows, and notes of the model."""

    def to_json(self) -> dict[str, object]:
        """Returns the result as a JSON object."""
        return {**asdict(self), "path": str(self.path), "notes": [*self.notes]}


def predict_file(
    predictor: RowPredictor,
    source: Path,
    target: Path,
    *,
    rule: Rule | None = None,
    prefix: str = "",
    progress: Progress | Literal[False] | None = None,
) -> PredictedFile:
    """Predicts the rows of a file and writes them to another one, with all columns and in the same order.

    Args:
        predictor: A fitted predictor.
        source: A .csv, .tsv, .jsonl, .parquet or .xlsx file with the columns that the predictor reads.
        target: A .csv, .tsv or .jsonl file. An existing file is replaced when all rows are predicted.
        rule: Decides which rows are answered; every row by default.
        prefix: The prefix of the names of the columns of the predictions.
        progress: Called after each chunk.

    Raises:
        InputError: The predictor is not fitted, or the columns of the predictions are columns of the source already.
        TaskError: The source cannot be read, or a column is missing.
        RunError: Another process is writing the target.
    """
    started = time.perf_counter()
    suffix = suffix_of(target)
    table = open_table(source)
    size = measure(table)
    predictor.columns.check(dict.fromkeys(size.columns), str(source))
    added = _added_columns(predictor, rule, prefix, size)
    _check_same_file(source, target)
    session = predictor.session()
    writer = TableWriter(suffix, size.columns, added)
    file = JournaledFile(target, _key(predictor, source, suffix, rule, prefix))
    with file.writing() as stream, reporting(progress) as report:
        resumed = file.rows
        drift = Drift(predictor.out_of_fold, file.counts) if predictor.out_of_fold else None
        if not stream.tell():
            file.complete_step(stream, writer.header().encode(), 0)
        for rows in chunks(islice(table.rows(), resumed, None), CHUNK):
            predictions = _predict(predictor, session, rows, file.rows + 1, source.parent)
            predictions = predictions if rule is None else predictions.decided(rule)
            file.counts = _add(file.counts, predictions, drift)
            content = writer.lines([row.values for row in rows], _values(predictions, prefix))
            file.complete_step(stream, content.encode(errors="backslashreplace"), len(rows))  # a lone surrogate, as JSON has it
            report(file.rows, size.rows)
    file.finish()
    seconds = time.perf_counter() - started
    return PredictedFile(
        path=target,
        rows=size.rows,
        resumed=resumed,
        predicted={label: file.counts.get(f"{PREDICTED}{label}", 0) for label in predictor.predict([]).labels},
        abstained=file.counts.get("abstained", 0),
        errors=file.counts.get("errors", 0),
        seconds=seconds,
        rows_per_second=(size.rows - resumed) / seconds,
        notes=(*(rule.notes() if rule else ()), *(drift.notes() if drift else ()), *predictor.notes()),
    )


def _add(counts: Mapping[str, int], predictions: Predictions, drift: Drift | None) -> dict[str, int]:
    """Returns the counts of a file after further rows, and adds the rows to the comparison with labeled rows."""
    lists = predictions.label_lists or [None if label is None else (label,) for label in predictions.predictions]
    labels = [label for each in lists for label in each or ()] if predictions.labels else []
    total = Counter(counts)
    total.update(f"{PREDICTED}{label}" for label in labels)
    total["abstained"] += int(predictions.abstained.sum())
    total["errors"] += sum(error is not None for error in predictions.errors)
    if drift is None:
        return dict(total)
    drift.add(predictions.probabilities[[error is None for error in predictions.errors]])
    return {**total, **drift.counts()}


def _predict(predictor: RowPredictor, session: RowSession, rows: Sequence[InputRow], first: int, folder: Path) -> Predictions:
    examples: list[Example | Unreadable] = []
    for number, row in enumerate(rows, start=first):
        if row.problem is None:
            examples += predictor.read_rows([row.values], first=number, folder=folder)
        else:
            examples.append(Unreadable(row.problem))
    return session.predict(examples)


def _values(predictions: Predictions, prefix: str) -> list[Row]:
    """Returns the values of the columns of the predictions for each row, with probabilities rounded."""
    columns = {
        f"{prefix}{name}": [round(value, DIGITS) if isinstance(value, float) else value for value in values]
        for name, values in predictions.to_columns().items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _added_columns(predictor: RowPredictor, rule: Rule | None, prefix: str, size: TableSize) -> list[str]:
    """Returns the names of the columns of the predictions; raises InputError if the source has one of them."""
    empty = predictor.predict([])
    names = [f"{prefix}{name}" for name in (empty if rule is None else empty.decided(rule)).to_columns()]
    taken = tuple(name for name in names if name in size.columns)
    if taken:
        raise InputError(
            f"The file already has a column named {taken[0]}, which the predictions need",
            code="column-exists",
            got=", ".join(size.columns),
            hint=f"Give the new columns a prefix, such as {setting('prefix', 'new_')}, or rename {taken[0]}",
            columns=taken,
        )
    return names


def _check_same_file(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        raise InputError(
            f"The predictions would replace the file {source} that they are made for",
            code="same-file",
            hint="Write them to another file",
            file=str(source),
        )


def _key(predictor: RowPredictor, source: Path, suffix: str, rule: Rule | None, prefix: str) -> str:
    """Returns a hash of everything that determines the content of the target."""
    settings = {
        "promptkit": __version__,
        "source": file_sha256_hex(source),
        **predictor.identity(),
        "columns": repr(predictor.columns),
        "chunk": CHUNK,
        "suffix": suffix,
        "rule": repr(rule),
        "prefix": prefix,
    }
    return short_hash(json.dumps(settings, sort_keys=True, default=str))
