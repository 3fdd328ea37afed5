import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.errors import RunError
from promptkit.runs.folder import RunFolder
from tests.support.errors import refused

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
lines_of = st.lists(
    st.builds(lambda name, rest: {"id": name, **rest}, st.text(), st.dictionaries(st.text(max_size=1), json_values)), max_size=5
)
LINES = [{"id": "a", "text": "é\n\u2028\ud800"}, {"id": "b", "n": 0.1}, {"id": "c"}]


def files(samples, support):
    return {"samples": samples, "support": support, "predictions": []}


TENSORS = {"results.safetensors": b"numbers"}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs", "sst2", {"seed": 0})


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory):
    return lambda: RunFolder(tmp_path_factory.mktemp("runs", numbered=True), "sst2", {"seed": 0})


# ---- the folder -------------------------------------------------------------------------------------


@given(
    one=st.dictionaries(st.text(max_size=5), json_values, max_size=3), other=st.dictionaries(st.text(), json_values, max_size=3)
)
def test_equal_settings_share_a_folder_and_different_settings_do_not(one, other):
    paths = [RunFolder("runs", "sst2", settings).path for settings in (one, dict(one), other)]
    assert paths[0] == paths[1]
    assert (paths[0] == paths[2]) == (json.dumps(one) == json.dumps(other))


@pytest.mark.parametrize(("task", "start"), [("sst2", "sst2-"), ("glue/sst2", "glue-sst2-")])
def test_a_folder_is_named_after_the_task(tmp_path, task, start):
    path = RunFolder(tmp_path, task, {}).path
    assert path.parent == tmp_path
    assert path.name.startswith(start)


def test_naming_a_folder_writes_nothing(folder):
    assert not folder.finished()
    assert folder.timing() is None
    assert folder.lines("samples") == []
    assert not folder.path.parent.exists()


def test_a_locked_folder_contains_the_settings(folder):
    with folder.locked():
        assert json.loads((folder.path / "run.json").read_bytes()) == {"seed": 0}


def test_a_folder_with_another_run_is_refused_and_unchanged(folder):
    with folder.locked():
        folder.append("samples", LINES)
    (folder.path / "run.json").write_text('{"seed": 1}', "utf-8")
    with refused(RunError, "other-run", folder=str(folder.path)), folder.locked():
        pass
    assert json.loads((folder.path / "run.json").read_bytes()) == {"seed": 1}
    assert folder.lines("samples") == LINES


@given(settings=st.dictionaries(st.text(max_size=5), json_values, max_size=3), pair=st.tuples(st.text(), st.integers()))
def test_a_folder_can_be_locked_again_with_the_same_settings(tmp_path_factory, settings, pair):
    out = tmp_path_factory.mktemp("runs", numbered=True)
    for _ in range(2):
        with RunFolder(out, "sst2", {**settings, "pair": pair}).locked():
            pass
    assert len(list(out.iterdir())) == 1


# ---- lines ------------------------------------------------------------------------------------------


@given(batches=st.lists(lines_of, max_size=4))
def test_records_are_read_as_they_were_appended(make_folder, batches):
    folder = make_folder()
    with folder.locked():
        for batch in batches:
            folder.append("samples", batch)
        assert folder.lines("samples") == [line for batch in batches for line in batch]
        assert folder.lines("support") == []


def test_an_incomplete_last_line_is_removed(make_folder):
    folder = make_folder()
    with folder.locked():
        folder.append("samples", LINES)
        path = folder.path / "samples.jsonl"
        full = path.read_bytes()
        ends = [index + 1 for index, byte in enumerate(full) if byte == ord("\n")]
        assert len(ends) == len(LINES)
        for cut in range(len(full) + 1):
            path.write_bytes(full[:cut])
            kept = sum(end <= cut for end in ends)
            assert folder.lines("samples") == LINES[:kept]
            folder.append("samples", LINES[kept:])
            assert path.read_bytes() == full


def test_an_appended_record_is_in_the_file_immediately(folder):
    with folder.locked():
        folder.append("samples", LINES[:1])
        assert (folder.path / "samples.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"not json\n", id="no JSON"),
        pytest.param(b"{\n", id="half a line"),
        pytest.param(b'{"id": "\xff"}\n', id="no UTF-8"),
        pytest.param(b"42\n", id="no object"),
        pytest.param(b'{"id": 4}\n', id="no id"),
    ],
)
def test_a_damaged_line_is_refused(folder, damage):
    with folder.locked():
        folder.append("samples", LINES)
        path = folder.path / "samples.jsonl"
        first, rest = path.read_bytes().split(b"\n", 1)
        path.write_bytes(first + b"\n" + damage + rest)
        with refused(RunError, "damaged-line", file=str(path), line=2):
            folder.lines("samples")


@pytest.mark.parametrize("damage", [b"{", b"\xff", b"", b"42", b"{}"])
def test_a_damaged_summary_is_refused(folder, damage):
    with folder.locked():
        folder.finish(files(LINES, []), {}, TENSORS)
        (folder.path / "summary.json").write_bytes(damage)
    with refused(RunError, "damaged-file", file=str(folder.path / "summary.json")):
        folder.finished()


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x + x, lambda x: x.replace(b"0.1", b"0.2"), lambda x: b""])
def test_a_file_changed_after_the_run_finished_is_refused_and_unchanged(folder, change):
    with folder.locked():
        folder.finish(files(LINES, []), {}, TENSORS)
    path = folder.path / "samples.jsonl"
    changed = change(path.read_bytes())
    path.write_bytes(changed)
    with refused(RunError, "changed-file", file=str(path)):
        folder.finished()
    assert path.read_bytes() == changed


@pytest.mark.parametrize("file", ["samples.jsonl", "support.jsonl", "predictions.jsonl", *TENSORS, "summary.json"])
def test_a_run_without_one_of_its_files_is_not_finished(folder, file):
    with folder.locked():
        folder.finish(files(LINES, []), {}, TENSORS)
    (folder.path / file).unlink()
    assert not folder.finished()


# ---- finishing --------------------------------------------------------------------------------------


def test_finishing_orders_the_records_and_marks_the_run_as_finished(folder):
    with folder.locked():
        folder.append("samples", LINES)
        folder.finish(files(LINES[::-1], LINES[:1]), {"accuracy": 1.0}, TENSORS)
        folder.record_timing({"seconds": 2})
    assert folder.lines("samples") == LINES[::-1]
    assert folder.lines("support") == LINES[:1]
    assert folder.finished()
    assert json.loads((folder.path / "summary.json").read_text())["accuracy"] == 1.0
    assert folder.timing() == {"seconds": 2}
    names = {path.name for path in folder.path.iterdir()} - {".lock"}
    assert names == {"run.json", "samples.jsonl", "support.jsonl", *TENSORS, "predictions.jsonl", "summary.json", "timing.json"}


@pytest.mark.parametrize("blocked", ["samples.jsonl", "support.jsonl", "predictions.jsonl", *TENSORS, "summary.json"])
def test_a_run_that_cannot_be_written_is_not_finished_and_keeps_its_records(folder, blocked):
    with folder.locked():
        folder.append("samples", LINES)
        folder.append("support", LINES[:1])
        (folder.path / f".{blocked}.part").mkdir()  # no file can be written there
        with refused(RunError, "cannot-write", folder=str(folder.path)):
            folder.finish(files(LINES[::-1], LINES[:1]), {"accuracy": 1.0}, TENSORS)
    assert not folder.finished()
    assert sorted(line["id"] for line in folder.lines("samples")) == ["a", "b", "c"]
    assert folder.lines("support") == LINES[:1]


@given(lines=lines_of, order=st.randoms(use_true_random=False))
def test_the_bytes_of_a_finished_run_do_not_depend_on_the_order_of_appending(make_folder, lines, order):
    contents = []
    for shuffle in (False, True):
        folder = make_folder()
        appended = list(lines)
        if shuffle:
            order.shuffle(appended)
        with folder.locked():
            for line in appended:
                folder.append("samples", [line])
            folder.finish(files(lines, []), {"n": len(lines)}, TENSORS)
        contents.append({path.name: path.read_bytes() for path in folder.path.iterdir()})
    assert contents[0] == contents[1]


# ---- the lock ---------------------------------------------------------------------------------------


def test_a_locked_folder_cannot_be_locked_again(folder):
    second = RunFolder(folder.path.parent, "sst2", {"seed": 0})
    with folder.locked():
        with refused(RunError, "run-locked", folder=str(second.path)), second.locked():
            pass
        folder.append("samples", LINES)
    with second.locked():
        assert second.lines("samples") == LINES


def test_another_process_is_refused(folder):
    code = (
        "from promptkit.core.errors import RunError\nfrom promptkit.runs.folder import RunFolder\n"
        f"folder = RunFolder({str(folder.path.parent)!r}, 'sst2', {{'seed': 0}})\n"
        "try:\n    with folder.locked(): print('locked')\nexcept RunError as error: print(error.code)"
    )

    def other_process():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    with folder.locked():
        assert other_process() == "run-locked"
    assert other_process() == "locked"


def test_a_lock_is_released_after_an_error(folder):
    with pytest.raises(RuntimeError), folder.locked():
        raise RuntimeError
    with folder.locked():
        pass


def test_runs_with_different_settings_do_not_lock_each_other(folder):
    with folder.locked(), RunFolder(folder.path.parent, "sst2", {"seed": 1}).locked():
        pass


# ---- folders that cannot be written -----------------------------------------------------------------


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    folder = RunFolder(tmp_path / "file" / "runs", "sst2", {})
    with refused(RunError, "cannot-write", folder=str(folder.path), reason="Not a directory"), folder.locked():
        pass


def test_a_record_that_cannot_be_written_is_refused(folder):
    with folder.locked():
        (folder.path / "samples.jsonl").mkdir()
        with refused(RunError, "cannot-write", folder=str(folder.path)):
            folder.append("samples", LINES)
