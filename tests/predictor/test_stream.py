"""Files of rows are predicted in chunks, and an interrupted prediction continues with the same result."""

from __future__ import annotations

import csv
import gzip
import json
import os
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

import promptkit as pk
from promptkit.core.errors import InputError, RunError, TaskError
from promptkit.predictor import journal, stream
from promptkit.predictor.journal import JournaledFile
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.stream import predict_file
from promptkit.predictor.table_reader import measure, open_table
from tests.support.errors import refused
from tests.support.runs import Killed, killed_after

WORDS = {"no": "bad", "yes": "good"}
ROWS = [
    {"id": number, "text": f'film "{number}", ' * (1 + number % 4), "note": "ä" if number % 2 else ""} for number in range(25)
]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 4)


def predictor(model: Any = None, *later: Any) -> pk.Predictor:
    return pk.Predictor(model or pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), *later])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes a table in the format of its suffix."""
    match path.suffixes:
        case [".parquet"]:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            return path
        case [".jsonl"]:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        case [suffix, *_]:
            delimiter = "\t" if suffix == ".tsv" else ","
            lines = [[*rows[0]], *([str(value) for value in row.values()] for row in rows)]
            with (path.parent / "plain").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter=delimiter).writerows(lines)
            text = (path.parent / "plain").read_bytes().decode()
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [*map(json.loads, path.read_text(encoding="utf-8").splitlines())]
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")]


@pytest.mark.parametrize("target", ["out.csv", "out.tsv", "out.jsonl"])
@pytest.mark.parametrize("source", ["rows.csv", "rows.csv.gz", "rows.tsv", "rows.jsonl", "rows.parquet"])
def test_every_column_is_kept_in_every_format(tmp_path: Path, source: str, target: str) -> None:
    result = predict_file(predictor(), write(tmp_path / source, ROWS), tmp_path / target)
    rows = read(tmp_path / target)
    expected = predictor().predict([{"text": row["text"]} for row in ROWS])
    assert [*rows[0]] == ["id", "text", "note", "prediction", "probability", "p_no", "p_yes", "abstained", "error"]
    assert [[str(row[name]) for name in ROWS[0]] for row in rows] == [[str(value) for value in row.values()] for row in ROWS]
    assert tuple(row["prediction"] for row in rows) == expected.predictions
    assert [float(row["p_yes"]) for row in rows] == pytest.approx(expected.probabilities[:, 1], abs=1e-6)
    assert (result.rows, result.errors, sum(result.predicted.values())) == (25, 0, 25)


@pytest.mark.parametrize("batches", range(1, 7))
def test_an_interrupted_prediction_continues_with_the_same_bytes(tmp_path: Path, batches: int) -> None:
    source = write(tmp_path / "rows.csv", [*ROWS[:11], {"id": 0, "text": "", "note": ""}, *ROWS[11:]])
    whole = predict_file(predictor(None, pk.calibrate.Contextual()), source, tmp_path / "whole.csv")
    with pytest.raises(Killed):
        predict_file(predictor(killed_after(batches), pk.calibrate.Contextual()), source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    result = predict_file(predictor(None, pk.calibrate.Contextual()), source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert result.resumed == 4 * max(0, batches - 1)
    assert (result.predicted, result.errors, result.abstained) == (whole.predicted, whole.errors, whole.abstained)
    assert {path.name for path in tmp_path.iterdir()} & {".out.csv.part", ".out.csv.journal"} == set()


def test_a_torn_last_step_is_written_again(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    predict_file(predictor(), source, tmp_path / "whole.csv")
    with pytest.raises(Killed):
        predict_file(predictor(killed_after(3)), source, tmp_path / "out.csv")
    with (tmp_path / ".out.csv.part").open("ab") as file:
        file.write(b"half of a li")
    predict_file(predictor(), source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_journal_of_other_rows_is_discarded(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    with pytest.raises(Killed):
        predict_file(predictor(killed_after(3)), source, tmp_path / "out.csv")
    write(source, ROWS[::-1])
    result = predict_file(predictor(), source, tmp_path / "out.csv")
    assert result.resumed == 0
    assert [row["id"] for row in read(tmp_path / "out.csv")] == [str(row["id"]) for row in ROWS[::-1]]


def test_bad_rows_are_error_cells(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "fine"}\nnot JSON\n[1]\n{"text": null}\n{"other": 1}\n{"text": "bad", "more": [1, "a"]}\n')
    result = predict_file(predictor(), source, tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [*rows[0]][:3] == ["text", "other", "more"]
    assert [row["error"] == "" for row in rows] == [True, False, False, False, False, True]
    assert [row["prediction"] == "" for row in rows] == [False, True, True, True, True, False]
    assert [f"row {number}" in rows[number - 1]["error"] for number in (4, 5)] == [True, True]
    assert rows[5]["more"] == '[1, "a"]'
    assert result.errors == 4


@pytest.mark.parametrize("target", ["out.csv", "out.jsonl"])
def test_half_characters_and_repeated_keys_are_error_cells(tmp_path: Path, target: str) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "a \\ud800"}\n{"text": "a", "text": "b"}\n{"text": "fine", "more": "\\udfff"}\n')
    assert predict_file(predictor(), source, tmp_path / target).errors == 2
    rows = read(tmp_path / target)
    assert [not row["error"] for row in rows] == [False, False, True]
    if target == "out.jsonl":
        assert [rows[0]["text"], rows[2]["more"]] == ["a \ud800", "\udfff"]


def test_a_row_with_another_number_of_cells_is_an_error_cell(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("id,text\n1,fine\n2\n3,fine,more\n")
    predict_file(predictor(), source, tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["error"] == "" for row in rows] == [True, False, False]


def test_a_column_of_the_predictions_must_be_new(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", [{"text": "fine", "prediction": "old"}])
    with refused(InputError, "column-exists", columns=("prediction",)):
        predict_file(predictor(), source, tmp_path / "out.csv")
    predict_file(predictor(), source, tmp_path / "out.csv", prefix="new_")
    (row,) = read(tmp_path / "out.csv")
    assert row["prediction"] == "old"
    assert row["new_prediction"] in WORDS


def test_a_file_without_the_columns_of_the_predictor_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", [{"body": "fine"}])
    with refused(TaskError, "unknown-name", name="text"):
        predict_file(predictor(), source, tmp_path / "out.csv")


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    with refused(InputError, "same-file", file=str(source)):
        predict_file(predictor(), source, source)


@pytest.mark.parametrize("name", ["out.parquet", "out.txt", "out"])
def test_other_types_of_files_are_not_written(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    with refused(InputError, "unsupported-output-type", file=str(tmp_path / name)):
        predict_file(predictor(), source, tmp_path / name)


def test_a_file_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    with JournaledFile(tmp_path / "out.csv", "key").writing(), refused(RunError, "file-locked"):
        predict_file(predictor(), source, tmp_path / "out.csv")


def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, whole, target = write(tmp_path / "rows.csv", ROWS), tmp_path / "whole.csv", tmp_path / "out.csv"
    predict_file(predictor(), source, whole)
    room = len(whole.read_bytes()) // 2

    def write_what_fits(stream: Any, content: memoryview) -> int:
        written = stream.write(content[: max(0, room - stream.tell())])
        if not written:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        return int(written)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_some", write_what_fits)
        with refused(RunError, "cannot-write", file=str(target), reason=os.strerror(ENOSPC)):
            predict_file(predictor(), source, target)
    assert not target.exists()
    done = predict_file(predictor(), source, target)
    assert 0 < done.resumed < done.rows == len(ROWS)
    assert target.read_bytes() == whole.read_bytes()


def test_a_folder_and_a_place_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "folder.csv", tmp_path / "file" / "out.csv"):
        with refused(RunError, "cannot-write", file=str(target)):
            predict_file(predictor(), source, target)


def test_a_rule_abstains_and_gives_label_sets(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", ROWS)
    fitted = predictor()
    confidence = sorted(fitted.predict([row["text"] for row in ROWS]).confidence.tolist())
    result = predict_file(fitted, source, tmp_path / "out.csv", rule=fitted.rule(threshold=confidence[5]))
    rows = read(tmp_path / "out.csv")
    assert result.abstained == sum(value < confidence[5] for value in confidence) > 0
    assert [row["prediction"] == "" for row in rows] == [row["abstained"] == "true" for row in rows]
    assert all(row["p_no"] for row in rows)


def out_of_fold(fitted: pk.Predictor, texts: list[str]) -> OutOfFold:
    probabilities = fitted.predict_proba(texts)
    return OutOfFold(labels=fitted.reader.labels, gold=probabilities.argmax(1), probabilities=probabilities)


def test_rows_that_differ_from_the_labeled_ones_are_noted_also_after_an_interruption(tmp_path: Path) -> None:
    texts = [f"row {number}" for number in range(300)]
    fitted = predictor()
    confidence = fitted.predict_proba(texts).max(1)
    by_confidence = sorted(texts, key=lambda text: confidence[texts.index(text)])
    fitted.out_of_fold = out_of_fold(fitted, by_confidence[150:])
    source = write(tmp_path / "rows.csv", [{"text": text} for text in by_confidence[:150]])
    whole = predict_file(fitted, source, tmp_path / "whole.csv")
    assert any("is below" in note for note in whole.notes)

    def stop(rows: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(fitted, source, tmp_path / "out.csv", progress=stop)
    resumed = predict_file(fitted, source, tmp_path / "out.csv")
    assert 0 < resumed.resumed < resumed.rows
    assert resumed.notes == whole.notes


def test_rows_like_the_labeled_ones_are_not_noted(tmp_path: Path) -> None:
    texts = [f"row {number}" for number in range(300)]
    fitted = predictor()
    fitted.out_of_fold = out_of_fold(fitted, texts[::2])
    source = write(tmp_path / "rows.csv", [{"text": text} for text in texts[1::2]])
    assert predict_file(fitted, source, tmp_path / "out.csv").notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".csv.gz"])
def test_a_file_that_is_not_utf8_or_is_cut_off_is_refused(suffix: str, tmp_path: Path) -> None:
    lines = "text\n" + "grün\n" * 5000 if ".csv" in suffix else '{"text": "grün"}\n' * 5000
    source = tmp_path / f"new{suffix}"
    source.write_bytes(lines.encode("latin-1") if suffix[-1] != "z" else gzip.compress(os.urandom(2000).hex().encode())[:-500])
    with refused(TaskError, "not-gzip" if suffix[-1] == "z" else "not-utf8"):
        measure(open_table(source))
