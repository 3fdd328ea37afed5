"""Reads rows of columns from a data file, a mirror folder or the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError, first_line, json_reason, unknown
from promptkit.tasks.arrow import rows_of_table
from promptkit.tasks.hub import go_offline_if_unreachable
from promptkit.tasks.separated import separated_rows
from promptkit.tasks.typed_columns import boolean_columns, uniform_rows
from promptkit.tasks.workbook import workbook_rows

GZIP = ".gz"
_MIRROR_SUFFIXES = (".jsonl", ".parquet")
Row = Mapping[str, object]
"""Column -> value."""


def is_data(name: str) -> bool:
    """Returns whether a file name has the suffix of a data file."""
    return data_suffix(Path(name)) in _READERS


def read_file(path: Path) -> Sequence[Row]:
    """Reads the rows of a .jsonl, .csv, .tsv, .parquet or .xlsx file, in order; text files may be compressed (.csv.gz).

    All rows have the same columns, and the values do not depend on the format as far as its types allow; see `typed_columns`.

    Raises:
        MissingPackage: The package that reads .xlsx files is not installed.
        TaskError: The file cannot be read or parsed, or has no rows.
    """
    reader = _READERS.get(data_suffix(path))
    if reader is None and not path.exists():
        raise TaskError(
            f"There is no file {path}", code="no-such-file", hint=f"Supported types: {', '.join(_READERS)}", file=str(path)
        )
    if reader is None:
        raise unreadable(path)
    try:
        rows = reader(path)
    except OSError as error:
        reason = f"The file {path} cannot be read: {error.strerror or error}"
        raise TaskError(reason, code="unreadable-file", file=str(path)) from None
    if not rows:
        raise TaskError(f"The file {path} has no rows", code="no-rows", file=str(path))
    return rows


def unreadable(path: Path) -> TaskError:
    """Returns the error for a file of an unsupported type."""
    kind = path.suffix or path.name
    return TaskError(
        f"Data files of type {kind!r} are not supported",
        code="unsupported-file-type",
        hint=f"Supported types: {', '.join(_READERS)}",
        file=str(path),
        suffix=kind,
        supported=tuple(_READERS),
    )


def read_mirror(data: Path, folder: str, split: str) -> Sequence[Row]:
    """Reads the rows of DATA/FOLDER/SPLIT.jsonl or SPLIT.parquet, the layout of a local mirror of datasets.

    Raises:
        TaskError: There is no such folder or split, or the file cannot be read.
    """
    root = data / folder
    if not root.is_dir():
        hint = f"Check {setting('data')} (or PROMPTKIT_DATA), or leave it out to read from the hub"
        reason = f"The data folder {data} has no folder {folder}"
        raise TaskError(reason, code="no-such-folder", hint=hint, data=str(data), folder=folder)
    paths = [root / f"{split}{suffix}" for suffix in _MIRROR_SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = [file.stem for file in root.iterdir() if file.suffix in _MIRROR_SUFFIXES]
        hint = f"It was searched for in {root}"
        raise unknown("split", split, known, hint=hint, error=TaskError, data=str(data), folder=folder)
    return read_file(path)


def read_hub(name: str, config: str | None, revision: str | None, split: str, obtain: str | None = None) -> list[Row]:
    """Reads the rows of a dataset on the Hugging Face hub. Images are not decoded: their cells are {"bytes": ..., "path": ...}.

    Args:
        name: The dataset.
        config: Its configuration, if it has several.
        revision: Its branch, tag or commit.
        split: The split.
        obtain: How to get the data elsewhere, for the error that the hub cannot be reached.

    Raises:
        TaskError: The dataset cannot be loaded.
    """
    go_offline_if_unreachable()
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(name, config, revision=revision, split=split)
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        return list(rows)
    except Exception as error:
        reason = first_line(error)
        raise TaskError(
            f"The dataset {name} could not be read from the hub: {reason}",
            code="unreadable-dataset",
            hint=obtain
            or f"Check the network, or read a local mirror with {setting('data', 'DIR')} (or PROMPTKIT_DATA); the "
            f"task sentiment "
            "needs neither",
            dataset=name,
            split=split,
        ) from error


def data_suffix(path: Path) -> str:
    """Returns the suffix of a data file in lower case, without `.gz`: `.csv` for `rows.csv.gz`."""
    name = Path(path.name.lower())
    return name.with_suffix("").suffix if name.suffix == GZIP and name.with_suffix("").suffix in _TEXT_READERS else name.suffix


def data_stem(path: Path) -> str:
    """Returns the name of a data file without its suffix: `rows` for `rows.csv.gz`."""
    return path.name[: path.name.lower().rindex(data_suffix(path))]


def _decompressed(path: Path) -> bytes:
    """Returns the contents of a file, decompressed if it is compressed with gzip under any name."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise not_gzip(path, error) from None


def not_gzip(path: Path, error: Exception) -> TaskError:
    """Returns the error for a compressed file that is damaged."""
    return TaskError(
        f"The file {path} cannot be decompressed: {error}",
        code="not-gzip",
        hint="Check that the file is complete",
        file=str(path),
    )


def _text(path: Path) -> str:
    content = _decompressed(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TaskError(
            f"The file {path} is not UTF-8: byte {error.start}, in line {line}, cannot be decoded",
            code="not-utf8",
            hint="Save it as UTF-8",
            file=str(path),
            position=error.start,
            line=line,
        ) from None


class DuplicateKeyError(Exception):
    """A key occurs twice in a JSON object."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Returns a JSON object; refuses repeated keys, of which Python's decoder silently keeps the last."""
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        raise DuplicateKeyError(counts.most_common(1)[0][0])
    return dict(pairs)


def json_value(line: str) -> object:
    """Returns the value of a line of JSON.

    Raises:
        DuplicateKeyError: A key occurs twice in an object.
        ValueError: The line is not JSON.
    """
    return json.loads(line, object_pairs_hook=_object)


def _jsonl(path: Path) -> Sequence[Row]:
    return uniform_rows(_objects(path))


def _objects(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json_value(line)
        except DuplicateKeyError as error:
            raise TaskError(
                f"{path}, line {number} has several values of {error.key!r}",
                code="duplicate-key",
                hint="Remove or rename all but one",
                file=str(path),
                line=number,
                key=error.key,
            ) from None
        except (ValueError, RecursionError) as error:
            raise TaskError(
                f"{path}, line {number} is not JSON: {json_reason(error)}",
                code="not-json",
                got=line[:60],
                hint="Write one JSON object per line",
                file=str(path),
                line=number,
            ) from None
        if not isinstance(row, dict):
            raise TaskError(
                f"{path}, line {number} is not a JSON object",
                code="not-a-json-object",
                got=line[:60],
                hint='Write lines like {"text": "fine"}',
                file=str(path),
                line=number,
            )
        yield row


def _separated(path: Path, delimiter: str) -> Sequence[Row]:
    return boolean_columns(list(separated_rows(_text(path), path, delimiter)))


def _parquet(path: Path) -> Sequence[Row]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        return rows_of_table(pyarrow.parquet.read_table(path), str(path))
    except pyarrow.lib.ArrowException as error:
        reason = f"The file {path} cannot be read as Parquet: {error}"
        raise TaskError(reason, code="not-parquet", file=str(path)) from None
    except UnicodeDecodeError as error:
        reason = f"The file {path} contains text that is not UTF-8: {error.reason}"
        raise TaskError(reason, code="not-utf8", file=str(path)) from None


_TEXT_READERS: Mapping[str, Callable[[Path], Sequence[Row]]] = {
    ".jsonl": _jsonl,
    ".csv": partial(_separated, delimiter=","),
    ".tsv": partial(_separated, delimiter="\t"),
}
_READERS: Mapping[str, Callable[[Path], Sequence[Row]]] = {**_TEXT_READERS, ".parquet": _parquet, ".xlsx": workbook_rows}
