"""Equal rows are equal tasks and runs, in all file formats and libraries."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
import math
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, MissingPackage, TaskError
from promptkit.runs.recorded import ORIGIN, TASK_FILE
from promptkit.tasks.options import TableOptions
from promptkit.tasks.starter import starter_files
from tests.support.errors import refused

try:
    import polars
except ImportError:
    polars = None

Rows = Sequence[dict[str, Any]]
NAME = "rows"


def separated(rows: Rows, delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, [*rows[0]], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*rows]), sink)
    return sink.getvalue()


FILES: dict[str, Callable[[Rows], bytes]] = {
    ".csv": lambda rows: separated(rows, ","),
    ".tsv": lambda rows: separated(rows, "\t"),
    ".csv.gz": lambda rows: gzip.compress(separated(rows, ",")),
    ".jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    ".parquet": parquet,
}
IN_MEMORY: dict[str, Callable[[Rows], object]] = {
    "pandas": lambda rows: pd.DataFrame([*rows]),
    "pandas with another index": lambda rows: pd.DataFrame([*rows], index=[f"i{number}" for number in range(len(rows))]),
    "datasets": lambda rows: datasets.Dataset.from_list([*rows]),
    "arrow": lambda rows: pyarrow.Table.from_pylist([*rows]),
    "rows": list,
    **({} if polars is None else {"polars": lambda rows: polars.DataFrame([*rows], infer_schema_length=None)}),
}


def workbook(rows: Rows, path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append([*rows[0]])
    for row in rows:
        book.active.append([*row.values()])
    book.save(path)
    return path


def sources(rows: Rows, folder: Path) -> dict[str, object]:
    """Container -> the rows in it."""
    found: dict[str, object] = {name: create(rows) for name, create in IN_MEMORY.items()}
    for suffix, create in FILES.items():
        (folder / f"{NAME}{suffix}").write_bytes(create(rows))
        found[suffix] = folder / f"{NAME}{suffix}"
    return found


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6).filter(
    lambda value: value not in ("True", "False")
)
row = st.fixed_dictionaries(
    {
        "text": text | st.none(),
        "count": st.integers(-(10**9), 10**9) | st.none(),
        "flag": st.booleans() | st.none(),
        "score": st.floats(-1e9, 1e9).filter(lambda value: not value.is_integer()) | st.none(),
        "kind": st.sampled_from(["bug", "feature, small", "question"]),
    }
)


def content(task: pk.Task) -> object:
    rows = {split: [(row.id, dict(row.inputs), row.label) for row in task.rows(split)] for split in ("train", "test")}
    return task.labels, task.spec.template, task.identity(), rows


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(row, min_size=4, max_size=12))
def test_equal_rows_are_equal_tasks(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    assume(len({row["kind"] for row in rows}) > 1)
    assume(any(row["text"] for row in rows))
    made = sources(rows, tmp_path_factory.mktemp("rows"))
    try:
        expected = content(pk.task(made["rows"], label="kind", name=NAME))
    except TaskError as error:  # too few distinct rows to hold some out
        for source in made.values():
            with refused(TaskError, error.code):
                content(pk.task(source, label="kind", name=NAME))
        return
    for name, source in made.items():
        assert content(pk.task(source, label="kind", name=NAME)) == expected, name


TICKETS: Rows = [
    {
        "id": 100 + number,
        "Ticket text": f"text {number}",
        "urgent": number % 7 == 0,
        "amount": None if number % 5 == 0 else number,
        "kind": ["bug", "feature", "question, other"][number % 3],
    }
    for number in range(60)
]


def run_bytes(task: pk.Task, out: Path) -> dict[str, bytes]:
    """The name of the folder and the files of a run, without its duration and the files that say where its rows were."""
    predictor = pk.Predictor(
        pk.load("fake"), pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=3)), task.spec.labels or {}
    )
    run = pk.evaluate(predictor, task, out=out, cache=False)
    left_out = {"timing.json", ORIGIN, TASK_FILE}
    files = {
        path.name: path.read_bytes() for path in sorted(run.path.iterdir()) if path.is_file() and path.name not in left_out
    }
    return {"folder": run.path.name.encode(), **files}


def test_equal_rows_are_equal_runs_byte_for_byte(tmp_path: Path) -> None:
    made = sources(TICKETS, tmp_path) | {".xlsx": workbook(TICKETS, tmp_path / f"{NAME}.xlsx")}
    (tmp_path / "elsewhere").mkdir()
    made["moved"] = tmp_path / "elsewhere" / f"{NAME}.csv"
    (tmp_path / "elsewhere" / f"{NAME}.csv").write_bytes(FILES[".csv"](TICKETS))
    for path, written in starter_files(tmp_path / f"{NAME}.csv", TableOptions(label_column="kind")).items():
        path.write_text(written, "utf-8", newline="")
    expected = run_bytes(pk.task(tmp_path / f"{NAME}.yaml"), tmp_path / "task init")
    for name, source in made.items():
        assert run_bytes(pk.task(source, label="kind", name=NAME), tmp_path / "runs" / name) == expected, name


def test_the_splits_of_a_mapping_are_the_splits_of_the_task() -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes", "never"])})
    data = {"text": [f"text {number}" for number in range(8)], "label": [0, 1] * 4}
    split = datasets.Dataset.from_dict(data, features=features)
    task = pk.task(datasets.DatasetDict(train=split, validation=split.select([0, 1, 2]), extra=split))
    assert task.labels == ("no", "yes", "never")
    assert [row.label for row in task.rows("test")] == [row.label for row in task.rows("validation")] == ["no", "yes", "no"]
    assert len(task.rows("train")) == 8
    only_train = pk.task({"train": pd.DataFrame(data)})
    assert len(only_train.rows("train")) + len(only_train.rows("test")) == 8
    assert only_train.labels == ("0", "1")


@pytest.mark.parametrize("missing", [None, math.nan, np.nan, pd.NA, pd.NaT])
def test_every_kind_of_missing_value_is_an_empty_text(missing: object) -> None:
    rows = [
        {"text": f"text {number}", "more": "x" if number % 2 else missing, "label": "ab"[number % 2]} for number in range(8)
    ]
    for data in (rows, pd.DataFrame(rows)):
        task = pk.task(data, inputs=["text", "more"])
        assert {row.inputs["more"] for split in ("train", "test") for row in task.rows(split)} <= {"", "x"}
    for empty in (missing, "", "  "):
        with refused(TaskError, "empty-cells", empty=4):
            pk.task([{**row, "label": row["more"] if number % 2 else empty} for number, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([True, False, None], ["true", "false", ""]),
        ([1, 2, None], ["1", "2", ""]),
        ([1.0, 2.5, 3.0], ["1.0", "2.5", "3.0"]),
        ([np.float32(0.1), np.float32(2.5), np.float32(1e-8)], ["0.1", "2.5", "1e-08"]),
        ([datetime(2024, 1, 2), datetime(2024, 1, 3), None], ["2024-01-02", "2024-01-03", ""]),
        ([datetime(2024, 1, 2, 3, 4), datetime(2024, 1, 3), None], ["2024-01-02 03:04:00", "2024-01-03 00:00:00", ""]),
        (["1.10", "007", "NA"], ["1.10", "007", "NA"]),
    ],
)
def test_the_text_of_a_value_does_not_depend_on_its_container(values: list[Any], texts: list[str]) -> None:
    rows = [{"value": value, "text": f"t{number}", "label": "ab"[number % 2]} for number, value in enumerate([*values] * 4)]
    frame = pd.DataFrame(rows)
    for data in (rows, frame, frame.convert_dtypes(), *([] if polars is None else [polars.from_pandas(frame)])):
        task = pk.task(data, inputs=["value", "text"])
        found = {row.inputs["text"]: row.inputs["value"] for split in ("train", "test") for row in task.rows(split)}
        assert [found[f"t{number}"] for number in range(3)] == texts


@pytest.mark.parametrize("data", [5, True, None, object(), [1], [{1: "a"}], {"test": "x"}, pd.Series(["a"])])
def test_other_objects_are_refused(data: object) -> None:
    with refused(InputError, "not-a-table"):
        pk.task(data)


def test_empty_data_and_repeated_columns_are_refused() -> None:
    for empty in ([], pd.DataFrame({"text": []}), {}):
        with refused(TaskError, "no-rows"):
            pk.task(empty)
    with refused(TaskError, "duplicate-column", columns=("text", "text")):
        pk.task(pd.DataFrame([["a", "b"]], columns=["text", "text"]))


def test_a_workbook_needs_openpyxl_and_names_for_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "openpyxl", None)
        with refused(MissingPackage, "missing-package", package="openpyxl"):
            pk.task(tmp_path / "rows.xlsx")
    path = workbook([{"text": "a", None: "b"}], tmp_path / "rows.xlsx")  # type: ignore[dict-item]
    with refused(TaskError, "unnamed-column", column=2):
        pk.task(path)
    path.write_bytes(b"PK")
    with refused(TaskError, "not-xlsx", file=str(path)):
        pk.task(path)


def test_a_workbook_is_closed_after_it_is_read(tmp_path: Path) -> None:
    path = workbook(TICKETS, tmp_path / "rows.xlsx")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pk.task(path, label="kind")
        gc.collect()
    assert not [warning for warning in caught if issubclass(warning.category, ResourceWarning)]


@pytest.mark.parametrize("column", ["text", "label"])
def test_half_a_character_is_refused(column: str) -> None:
    rows = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(8)]
    rows[5][column] += "\ud83d"
    with refused(TaskError, "not-utf8", column=column):
        pk.task(rows, labels=("a", "b", "b\ud83d")).labeled_rows()
