"""Equal values of old and new rows have equal texts in every type of file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.predictor.columns import Columns
from promptkit.predictor.stream import predict_file
from promptkit.predictor.table_reader import open_table
from promptkit.predictor.tables import rows_of
from promptkit.tasks.typed_columns import column_type, typed_value, uniform_column

COLUMNS = {
    "paid": [True, False, True, None],
    "count": [1, 2, 3, 40],
    "missing": [1.0, None, 3.0, 4.0],
    "price": [1.0, 2.0, 0.5, 3.0],
    "day": [datetime(2024, 1, day) for day in (1, 2, 3, 4)],
    "time": [datetime(2024, 1, 1, hour) for hour in (0, 1, 2, 3)],
    "text": ["True", "1.0", "x", "2024-01-01"],
}
FRAME = pd.DataFrame({**COLUMNS, "paid": pd.array(COLUMNS["paid"], dtype="boolean"), "label": ["a", "b", "a", "b"]})


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"rows{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(path)
    elif suffix == ".xlsx":
        FRAME.to_excel(path, index=False)
    elif suffix == ".csv":
        FRAME.to_csv(path, index=False)
    else:
        rows = json.loads(FRAME.astype({"day": str, "time": str}).to_json(orient="records"))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def columns_of(task: pk.Task) -> Columns:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template or ""), pk.Verbalizer({"a": "a", "b": "b"}))
    return predictor.fit(task).columns


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".xlsx"])
def test_rows_of_the_labeled_file_are_read_equally(suffix: str, tmp_path: Path) -> None:
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
    path = write(tmp_path, suffix)
    task = pk.task(path, label="label", inputs=[*COLUMNS])
    columns = columns_of(task)
    expected = [row.unlabeled() for row in task.labeled_rows()]
    read = [columns.example(row.values, "row", tmp_path) for row in open_table(path).rows()]
    assert [dict(row.inputs) for row in read] == [dict(row.inputs) for row in expected]
    assert [row.content for row in read] == [row.content for row in expected]
    if suffix == ".parquet":
        framed = [columns.example(row, "row", tmp_path) for row in rows_of(FRAME.drop(columns="label"), columns)]
        assert [dict(row.inputs) for row in framed] == [dict(row.inputs) for row in expected]


def test_a_new_file_of_another_type_has_the_same_texts(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    task = pk.task(write(tmp_path, ".parquet"), label="label", inputs=["paid", "count", "missing", "price", "day"])
    columns = columns_of(task)
    expected = [dict(row.inputs) for row in task.labeled_rows()]
    for suffix in (".csv", ".xlsx"):
        rows = [columns.example(row.values, "row", tmp_path) for row in open_table(write(tmp_path, suffix)).rows()]
        names = ("paid", "day") if suffix == ".csv" else (*expected[0],)
        assert [{name: row.inputs[name] for name in names} for row in rows] == [
            {name: row[name] for name in names} for row in expected
        ]
    single = {"paid": "True", "count": 2.0, "missing": 3.0, "price": 1, "day": datetime(2024, 1, 1)}
    assert dict(columns.example(single, "row", tmp_path).inputs) == {
        "paid": "true", "count": "2", "missing": "3", "price": "1.0", "day": "2024-01-01",
    }  # fmt: skip


def test_a_file_is_predicted_as_it_is_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text", "paid", "label"], *([f"t {n}", n % 3 == 0, "ab"[n % 2]] for n in range(20))])
    task = pk.task(path, inputs=["text", "paid"])
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template or ""), pk.Verbalizer({"a": "a", "b": "b"})).fit(
        task
    )
    run = pk.evaluate(predictor, task, folds=5, out=tmp_path / "runs")
    saved = pk.Predictor.load(predictor.save(tmp_path / "saved"))
    predict_file(saved, path, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as stream:
        predicted = [row["prediction"] for row in csv.DictReader(stream)]
    evaluated = dict(zip(run.ids, run.results[0].predictions, strict=True))
    assert predicted == [evaluated[row.id] for row in task.labeled_rows()]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.sampled_from([1.0, 2.0, "1", "1.0", "True", "true", "x"])
)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_value_has_the_text_that_it_has_in_its_column(values: Sequence[object]) -> None:
    def text(value: object) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    texts = [*map(text, uniform_column(values))]
    kind = column_type(texts)
    assert [text(typed_value(value, kind)) for value in values] == texts
