"""Sources of images: the id of an image depends only on its content, and files are decoded when they are needed."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.values import FileReference
from promptkit.inputs.image import image_input
from promptkit.tasks.images.idx import read_idx
from promptkit.tasks.readers import read_hub
from promptkit.tasks.task import Task
from promptkit.tasks.task_files import load_task
from tests.support.errors import refused
from tests.support.image_files import idx, png, squares, write_folder, write_idx, write_task

IMAGES, LABELS = squares(12)
NAMES = ("left", "right")
PNGS = [png(image) for image in IMAGES]


def all_rows(task: Task) -> list[LabeledExample]:
    return [*task.rows("train"), *task.rows("test")]


def contents(task: Task) -> dict[str, str]:
    """Id -> label."""
    rows = all_rows(task)
    assert len({row.id for row in rows}) == len(rows) == len(IMAGES)
    return {row.id: row.label for row in rows}


@pytest.fixture(scope="module")
def from_folder(tmp_path_factory: pytest.TempPathFactory) -> Task:
    root = tmp_path_factory.mktemp("folder")
    write_folder(root / "pictures", IMAGES, LABELS)
    (root / "pictures" / ".hidden").mkdir()
    (root / "pictures" / "left" / ".DS_Store").write_bytes(b"x")
    (root / "pictures" / "left" / "Thumbs.db").write_bytes(b"x")
    return load_task(write_task(root / "task.yaml", folder="pictures"))


@pytest.fixture(scope="module")
def from_arrays() -> Task:
    return pk.image_task(IMAGES, LABELS, label_names=NAMES)


def columns(root: Path, kind: str) -> Task:
    """The images in a column of a data file, in reverse order and in other folders."""
    cells = [{"bytes": content, "path": f"{number}.png"} for number, content in enumerate(PNGS)]
    if kind == "parquet":
        table = {"picture": cells[::-1], "label": LABELS.tolist()[::-1]}
        features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
        datasets.Dataset.from_dict(table, features).to_parquet(root / "rows.parquet")
    elif kind == "bytes":
        datasets.Dataset.from_dict({"picture": PNGS[::-1], "label": LABELS.tolist()[::-1]}).to_parquet(root / "rows.parquet")
        kind = "parquet"
    else:
        (root / "elsewhere").mkdir()
        for number, content in enumerate(PNGS):
            (root / "elsewhere" / f"n{number}.PNG").write_bytes(content)
        rows = [{"picture": f"elsewhere/n{n}.PNG", "label": NAMES[LABELS[n]]} for n in reversed(range(len(PNGS)))]
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = ["picture,label", *(",".join(row.values()) for row in rows)]
        (root / f"rows.{kind}").write_text("\n".join(lines))
    (root / "tasks").mkdir()
    files = {"test": f"../rows.{kind}"}
    return load_task(write_task(root / "tasks" / "task.yaml", files=files, inputs={"image": "picture"}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "bytes"])
def test_equal_files_have_equal_ids_in_every_source(tmp_path: Path, kind: str, from_folder: Task) -> None:
    task = columns(tmp_path, kind)
    assert contents(task) == contents(from_folder)
    assert {row.id for row in task.rows("test")} == {row.id for row in from_folder.rows("test")}
    inputs = {row.id: image_input(row.inputs["image"], row.id) for row in all_rows(task)}
    assert inputs == {row.id: image_input(row.inputs["image"], row.id) for row in all_rows(from_folder)}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["data", "task"])
def test_equal_arrays_have_equal_ids_in_every_source(tmp_path: Path, compressed: bool, place: str, from_arrays: Task) -> None:
    data = tmp_path / "data"
    for part, split in ((slice(4), "train"), (slice(4, None), "test")):
        root = (data if place == "data" else tmp_path) / "here"
        write_idx(root, split, IMAGES[part], LABELS[part], compressed=compressed)
    files = {split: {"images": f"{split}-images", "labels": f"{split}-labels"} for split in ("train", "test")}
    path = write_task(tmp_path / "task.yaml", idx=files, folders=["nowhere", "here"], hold_out=None)
    task = load_task(path, data=data if place == "data" else None)
    assert (len(task.rows("train")), len(task.rows("test"))) == (4, 8)
    assert contents(task) == contents(from_arrays)
    with refused(TaskError, "unknown-name", kind="split", name="validation"):
        task.rows("validation")


def test_the_pixels_do_not_depend_on_the_source(from_folder: Task, from_arrays: Task) -> None:
    files, in_memory = (
        sorted((row.label, image_input(row.inputs["image"], row.id).fingerprint()) for row in all_rows(task))
        for task in (from_folder, from_arrays)
    )
    assert files == in_memory


@given(order=st.permutations(range(len(IMAGES))))
@settings(max_examples=20)
def test_ids_and_splits_do_not_depend_on_the_order(order: list[int], from_arrays: Task) -> None:
    shuffled = pk.image_task(IMAGES[order][..., None], LABELS[order].tolist(), label_names=NAMES)
    assert contents(shuffled) == contents(from_arrays)
    assert {row.id for row in shuffled.rows("test")} == {row.id for row in from_arrays.rows("test")}


def test_files_are_not_decoded_when_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "pictures", IMAGES, LABELS)
    (tmp_path / "pictures" / "left" / "000.png").write_bytes(b"broken")
    monkeypatch.setattr("PIL.Image.open", None)
    task = load_task(write_task(tmp_path / "task.yaml", folder="pictures"))
    values = [row.inputs["image"] for row in all_rows(task)]
    assert len(values) == len(IMAGES)
    assert all(isinstance(value, FileReference) and value.content is None for value in values)
    monkeypatch.undo()
    broken = next(row for row in all_rows(task) if str(row.inputs["image"]).find("000.png") > 0)
    with refused(TaskError, "unreadable-image", file=str(tmp_path / "pictures" / "left" / "000.png"), where=broken.id):
        image_input(broken.inputs["image"], broken.id)


def test_a_missing_or_unsupported_file_names_file_and_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("picture,label\nmissing.png,left\n")
    path = write_task(tmp_path / "task.yaml", files={"test": "rows.csv"}, inputs={"image": "picture"}, hold_out=None)
    with refused(TaskError, "unreadable-image", file=str(tmp_path / "missing.png"), where="row 1 of the test split of task"):
        load_task(path).rows("test")
    (tmp_path / "rows.csv").write_text("picture,label\nphoto.heic,left\n")
    with refused(TaskError, "unreadable-image", file=str(tmp_path / "photo.heic"), where="row 1 of the test split of task"):
        load_task(path).rows("test")
    for content in ('{"picture": 3, "label": "left"}', '{"picture": "", "label": "left"}', '{"picture": {}, "label": "left"}'):
        (tmp_path / "rows.jsonl").write_text(content)
        path = write_task(tmp_path / "task.yaml", files={"test": "rows.jsonl"}, inputs={"image": "picture"}, hold_out=None)
        with refused(TaskError, "not-an-image", column="picture", where="row 1 of the test split of task"):
            load_task(path).rows("test")


def test_a_folder_can_have_a_folder_for_each_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures" / "train", IMAGES[:6], LABELS[:6])
    write_folder(tmp_path / "pictures" / "test", IMAGES[6:], LABELS[6:])
    task = load_task(write_task(tmp_path / "task.yaml", folder="pictures", hold_out=None))
    assert [row.label for row in task.rows("test")] == ["left"] * 3 + ["right"] * 3
    assert len(task.rows("train")) == 6
    with refused(TaskError, "unknown-name", kind="split", name="dev"):
        task.rows("dev")


def test_classes_can_have_the_names_of_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures", IMAGES, LABELS, names=("test", "train"))
    task = load_task(write_task(tmp_path / "task.yaml", folder="pictures"))
    with refused(TaskError, "unknown-name", kind="label", name="test"):
        task.rows("test")


def test_a_folder_without_images_names_its_key(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path / "task.yaml", folder="pictures"))
    with refused(TaskError, "unreadable-folder", place="sources[0].folder"):
        task.rows("test")
    with refused(TaskError, "unreadable-folder", place="sources[0].folder"):
        task.part("pool")
    (tmp_path / "pictures" / "left").mkdir(parents=True)
    with refused(TaskError, "no-images", place="sources[0].folder"):
        task.rows("test")


def test_images_of_a_dataset_are_not_decoded(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    cells = [{"bytes": content, "path": None} for content in PNGS]
    rows = datasets.Dataset.from_dict({"image": cells, "label": LABELS.tolist()}, features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    read = read_hub(str(tmp_path), None, None, "test")
    assert [row["image"]["bytes"] for row in read] == PNGS
    assert [row["label"] for row in read] == LABELS.tolist()


def test_a_mirror_can_contain_parquet_files(tmp_path: Path, from_folder: Task) -> None:
    (tmp_path / "mine").mkdir()
    cells = [{"bytes": content, "path": f"{number}.png"} for number, content in enumerate(PNGS)]
    datasets.Dataset.from_dict({"image": cells, "label": LABELS.tolist()}).to_parquet(tmp_path / "mine" / "test.parquet")
    task = load_task(write_task(tmp_path / "task.yaml", mirror="mine"), data=tmp_path)
    assert contents(task) == contents(from_folder)


# ---- IDX files --------------------------------------------------------------------------------------


@given(values=arrays(np.uint8, st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)), compressed=st.booleans())
def test_an_idx_file_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, compressed: bool
) -> None:
    import gzip

    path = tmp_path_factory.mktemp("idx", numbered=True) / "values"
    target = path.with_name("values.gz") if compressed else path
    target.write_bytes(gzip.compress(idx(values)) if compressed else idx(values))
    assert np.array_equal(read_idx(path), values)
    assert np.array_equal(read_idx(path.with_name("values.gz")), values)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x00", b"\x00\x00\x07\x01\x00\x00\x00\x00", b"\x01" + idx(IMAGES)[1:], idx(IMAGES)[:-1], idx(IMAGES) + b"\x00"],
)
def test_a_broken_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "values").write_bytes(content)
    with refused(TaskError, "not-idx", file=str(tmp_path / "values")):
        read_idx(tmp_path / "values")


@pytest.mark.parametrize(
    ("images", "labels", "code"),
    [(IMAGES, LABELS[:-1], "different-lengths"), (LABELS.astype(np.uint8), LABELS, "not-idx"), (IMAGES, IMAGES, "not-idx")],
)
def test_idx_files_that_do_not_fit_together_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, code: str
) -> None:
    write_idx(tmp_path, "test", images, labels)
    task = load_task(write_task(tmp_path / "task.yaml", idx={"test": {"images": "test-images", "labels": "test-labels"}}))
    with refused(TaskError, code):
        task.rows("test")


# ---- arrays -----------------------------------------------------------------------------------------


def test_test_images_are_the_test_split() -> None:
    task = pk.image_task(IMAGES[:8] / 255, LABELS[:8], test_images=IMAGES[8:] / 255, test_labels=LABELS[8:])
    assert (len(task.rows("train")), len(task.rows("test"))) == (8, 4)
    assert task.labels == ("0", "1")
    changed = pk.image_task(IMAGES[:8] / 255, LABELS[:8], test_images=IMAGES[:4] / 255, test_labels=LABELS[:4])
    assert {row.id for row in changed.rows("test")} != {row.id for row in task.rows("test")}


@pytest.mark.parametrize("labels", [("9", "10"), ("-1", "1"), ("0.5", "1"), ("2", "b")])
def test_numbers_as_labels_are_sorted_by_value(labels: tuple[str, str]) -> None:
    given = [labels[index] for index in LABELS]
    assert pk.image_task(IMAGES, given).labels == labels


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"images": IMAGES[0, 0]}, "wrong-image-shape"),
        ({"images": np.zeros((12, 3, 6, 6), np.uint8)}, "wrong-image-shape"),
        ({"images": IMAGES[:0]}, "wrong-image-shape"),
        ({"images": IMAGES.astype(float)}, "invalid-pixels"),
        ({"images": IMAGES.astype(int) - 100}, "invalid-pixels"),
        ({"images": np.full(IMAGES.shape, np.nan)}, "invalid-pixels"),
        ({"images": IMAGES > 100}, "invalid-pixels"),
        ({"labels": LABELS[:-1]}, "wrong-number-of-labels"),
        ({"test_images": IMAGES}, "half-a-split"),
        ({"test_labels": LABELS}, "half-a-split"),
        ({"hold_out": 0.0}, "invalid-image-task"),
        ({"hold_out": 0.5, "test_images": IMAGES, "test_labels": LABELS}, "unused-hold-out"),
        ({"labels": [0] * len(IMAGES)}, "too-few-labels"),
        ({"labels": LABELS[:, None]}, "wrong-label-shape"),
        ({"classes": {"0": "cat"}}, "invalid-image-task"),
    ],
)
def test_arguments_that_are_not_images_with_labels_are_refused(change: dict[str, object], code: str) -> None:
    with refused(InputError, code):
        pk.image_task(**{"images": IMAGES, "labels": LABELS, **change})
