import codecs
import csv
import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.caller import command_line
from promptkit.core.errors import PromptkitError, TaskError
from promptkit.tasks.columns import text, texts
from promptkit.tasks.readers import is_data, read_file, read_mirror
from tests.support.errors import refused

FORMATS = ["jsonl", "csv", "tsv", "parquet"]
every_format = pytest.mark.parametrize("suffix", FORMATS)
every_text_format = pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
separated = pytest.mark.parametrize("suffix", ["csv", "tsv"])

cell = st.text(st.sampled_from("\r\n\t,;\"' ab\x00\ufeff\u2028é")) | st.text(st.characters(exclude_categories=["Cs"]))
tables = st.lists(st.fixed_dictionaries({"text": cell, "a label": cell}), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Writes a file and returns its path: `write("csv", b"...")`."""

    def write_file(suffix, content):
        path = tmp_path_factory.mktemp("rows", numbered=True) / f"rows.{suffix}"
        path.write_bytes(content)
        return path

    return write_file


def serialize(rows, suffix):
    """Serializes rows with a standard library, not with promptkit."""
    if suffix == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return sink.getvalue()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], delimiter={"csv": ",", "tsv": "\t"}[suffix], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


# ---- reading -----------------------------------------------------------------------------------


@given(rows=tables)
def test_all_formats_give_the_same_rows(write, rows):
    for suffix in FORMATS:
        assert [dict(row) for row in read_file(write(suffix, serialize(rows, suffix)))] == rows


@every_text_format
def test_a_byte_order_mark_is_ignored(write, suffix):
    rows = [{"text": "a", "label": "b"}]
    assert read_file(write(suffix, codecs.BOM_UTF8 + serialize(rows, suffix))) == rows


@every_text_format
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("end", [True, False])
def test_line_endings_do_not_matter(write, suffix, newline, end):
    rows = [{"text": "a", "label": "b"}, {"text": "c", "label": "d"}]
    lines = newline.join(serialize(rows, suffix).splitlines())
    assert read_file(write(suffix, lines + newline * end)) == rows


def test_blank_lines_in_jsonl_are_ignored(write):
    assert read_file(write("jsonl", b'\n{"a": 1}\n \n\n{"a": 2}\n\n')) == [{"a": 1}, {"a": 2}]


# ---- errors --------------------------------------------------------------------------------


@separated
@pytest.mark.parametrize(("line", "cells"), [(2, 1), (3, 3), (4, 1)])
def test_a_wrong_number_of_cells_is_refused_with_the_line(write, suffix, line, cells):
    delimiter = {"csv": ",", "tsv": "\t"}[suffix]
    lines = [delimiter.join("xy")] * 5
    lines[line - 1] = delimiter.join(["z"] * cells)
    path = write(suffix, "\n".join(lines).encode())
    with refused(TaskError, "wrong-cell-count", file=str(path), line=line):
        read_file(path)


@separated
def test_an_open_quote_is_refused_with_the_first_line_of_its_row(write, suffix):
    path = write(suffix, b'text\nfine\n"never closed\nand on\n')
    with refused(TaskError, "malformed-row", file=str(path), line=3):
        read_file(path)


def test_suffixes_are_case_insensitive(write):
    assert read_file(write("CSV", b"text\nfine\n")) == [{"text": "fine"}]


@pytest.mark.parametrize("line", ["{", "not json", '{"a": 1} {"b": 2}', "[" * 100_000, '{"a": "\x01"}'])
def test_invalid_json_is_refused_with_the_line(write, line):
    path = write("jsonl", f'{{"a": 1}}\n\n{line}\n{{"a": 2}}\n'.encode())
    with refused(TaskError, "not-json", file=str(path), line=3):
        read_file(path)


@pytest.mark.parametrize("line", ['{"a": 1, "b": 2, "a": 3}', '{"a": 1, "b": {"a": 2, "a": 2}}'])
def test_a_key_with_several_values_is_refused_with_the_line(write, line):
    path = write("jsonl", f'{{"a": 1}}\n\n{line}\n'.encode())
    with refused(TaskError, "duplicate-key", file=str(path), line=3, key="a"):
        read_file(path)


@pytest.mark.parametrize("line", ["[1, 2]", "1", '"text"', "null"])
def test_json_other_than_an_object_is_refused_with_the_line(write, line):
    path = write("jsonl", f'{{"a": 1}}\n{line}\n'.encode())
    with refused(TaskError, "not-a-json-object", file=str(path), line=2):
        read_file(path)


def test_a_number_with_too_many_digits_is_refused_with_the_line(write):
    with refused(TaskError, "not-json", line=1):
        read_file(write("jsonl", b'{"a": ' + b"1" * 5000 + b"}\n"))


@every_text_format
def test_invalid_utf8_is_refused_with_the_byte(write, suffix):
    with refused(TaskError, "not-utf8", position=4, line=1):
        read_file(write(suffix, b"text\xe9\n1\n"))


@every_format
def test_a_file_without_rows_is_refused(write, suffix):
    if suffix == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), sink)
        contents = [sink.getvalue()]
    else:
        contents = [b"", b"\n", b"" if suffix == "jsonl" else b"text\n"]
    for content in contents:
        path = write(suffix, content)
        with refused(TaskError, "no-rows", file=str(path)):
            read_file(path)


@every_format
def test_a_missing_file_and_a_folder_are_refused(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    with refused(TaskError, "unreadable-file", file=str(path)):
        read_file(path)
    path.mkdir()
    with refused(TaskError, "no-rows" if suffix == "parquet" else "unreadable-file", file=str(path)):
        read_file(path)


def test_an_unsupported_file_type_is_refused_with_the_supported_ones(write):
    with refused(TaskError, "unsupported-file-type", suffix=".ods", supported=(".jsonl", ".csv", ".tsv", ".parquet", ".xlsx")):
        read_file(write("ods", b""))


def test_invalid_utf8_in_parquet_is_refused(write):
    offsets, data = pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")
    sink = io.BytesIO()
    table = pyarrow.table({"text": pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, offsets, data])})
    pyarrow.parquet.write_table(table, sink)
    with refused(TaskError, "not-utf8"):
        read_file(write("parquet", sink.getvalue()))


@separated
def test_duplicate_column_names_are_refused(write, suffix):
    delimiter = {"csv": b",", "tsv": b"\t"}[suffix]
    with refused(TaskError, "duplicate-column", columns=("text", "text")):
        read_file(write(suffix, delimiter.join([b"text", b"text"]) + b"\n" + delimiter.join([b"1", b"2"]) + b"\n"))


@every_format
@given(content=st.binary(max_size=60) | st.text('{}[]",:\n\r\tab01 -e', max_size=60).map(str.encode))
def test_any_file_is_read_or_refused(write, suffix, content):
    try:
        rows = read_file(write(suffix, content))
    except PromptkitError:
        return
    assert rows
    assert all(isinstance(row, dict) for row in rows)


@given(data=st.data())
def test_a_truncated_parquet_file_is_refused(write, data):
    content = serialize([{"text": "a", "label": "b"}] * 3, "parquet")
    with refused(TaskError, "not-parquet"):
        read_file(write("parquet", content[: data.draw(st.integers(0, len(content) - 1))]))


# ---- a mirror ---------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "validation.jsonl").write_bytes(b'{"sentence": "fine", "label": 1}\n')
    return tmp_path


def test_a_mirror_has_one_file_per_split(mirror):
    assert read_mirror(mirror, "sst2", "validation") == [{"sentence": "fine", "label": 1}]


def test_an_unknown_split_of_a_mirror_is_refused_with_similar_names(mirror):
    where = {"data": str(mirror), "folder": "sst2"}
    with refused(TaskError, "unknown-name", kind="split", name="valid", close=["validation"], **where):
        read_mirror(mirror, "sst2", "valid")


def test_a_missing_mirror_folder_is_refused_with_the_option_name(mirror):
    with refused(TaskError, "no-such-folder", data=str(mirror), folder="trec") as error:
        read_mirror(mirror, "trec", "test")
    assert "Check data (" in str(error.value)
    with command_line(), refused(TaskError, "no-such-folder") as error:
        read_mirror(mirror, "trec", "test")
    assert "Check --data (" in str(error.value)


# ---- quotes, delimiters, compression and binary columns ---------------------------------------------------------

FIVE_ROWS = 'text\tlabel\n"Wow\tgood\nfine film\tgood\nso they say"\tbad\nnice\tgood\nlast\tbad\n'


def test_a_tsv_file_whose_quotes_join_rows_is_refused(write):
    path = write("tsv", FIVE_ROWS.encode())
    with refused(TaskError, "ambiguous-quotes", file=str(path), quoted=3, literal=5):
        read_file(path)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('text\tlabel\n"a ""b"" c"\tgood\nd\tbad\n', [("a " + '"b" c', "good"), ("d", "bad")]),
        ('text\tlabel\n"a\nb"\tgood\nd\tbad\n', [("a\nb", "good"), ("d", "bad")]),
        ('text\tlabel\n"a\tb"\tgood\nd\tbad\n', [("a\tb", "good"), ("d", "bad")]),
        ('text\tlabel\nsay "a"\tgood\n5" disk\tbad\n', [('say "a"', "good"), ('5" disk', "bad")]),
        ('"text"\t"label"\n"a\tgood\nb"\t"bad"\n', [("a\tgood\nb", "bad")]),
    ],
)
def test_quotes_of_tsv_files_enclose_cells(write, content, rows):
    assert [(row["text"], row["label"]) for row in read_file(write("tsv", content.encode()))] == rows


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_the_header_is_detected(write, suffix, delimiter):
    content = delimiter.join(["text", "label"]) + "\n" + delimiter.join(["a", "good"]) + "\n"
    assert read_file(write(suffix, content.encode())) == [{"text": "a", "label": "good"}]


def test_the_delimiter_of_the_suffix_takes_precedence(write):
    assert read_file(write("csv", b"a;b,c\n1;2,3\n")) == [{"a;b": "1;2", "c": "3"}]
    assert read_file(write("csv", b"text\na; b\n")) == [{"text": "a; b"}]
    with refused(TaskError, "wrong-cell-count", line=2, delimiter=";"):
        read_file(write("csv", b"text;label\na,b\n"))


@every_text_format
@pytest.mark.parametrize("name", ["{}", "{}.gz"])
def test_gzip_is_decompressed(write, suffix, name):
    rows = [{"text": "a", "label": "é"}]
    path = write(name.format(suffix), gzip.compress(serialize(rows, suffix)))
    assert read_file(path) == rows
    assert is_data(path.name)
    assert is_data(path.name.upper())


def test_damaged_gzip_is_refused(write):
    path = write("csv.gz", gzip.compress(b"text\n" + bytes(range(32, 90)))[:-12])
    with refused(TaskError, "not-gzip", file=str(path)):
        read_file(path)


def test_gzip_of_other_files_is_no_data(write):
    assert not is_data("rows.gz")
    assert not is_data("rows.parquet.gz")
    with refused(TaskError, "unsupported-file-type", suffix=".gz"):
        read_file(write("parquet.gz", gzip.compress(b"")))


def test_binary_columns_are_decoded_as_utf8(write):
    row = read_file(write("parquet", serialize([{"text": "café".encode(), "many": [b"a", b"b"]}], "parquet")))[0]
    assert text(row, "text", "row 1") == "café"
    assert texts(row, "many", "row 1") == ("a", "b")


def test_binary_columns_that_are_not_text_are_refused(write):
    row = read_file(write("parquet", serialize([{"text": b"\x89PNG"}], "parquet")))[0]
    with refused(TaskError, "not-utf8", column="text", where="row 1", position=0):
        text(row, "text", "row 1")
