"""A folder of images by class is a task, and `promptkit task init` writes a task file for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.errors import InputError, TaskError
from promptkit.inputs.image import image_input
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task
from promptkit.tasks.starter import starter_files
from promptkit.tasks.task_files import load_task
from tests.support.errors import refused
from tests.support.image_files import squares, write_folder

IMAGES, LABELS = squares(12)


@pytest.mark.parametrize("splits", [(), ("train", "test"), ("train", "val")])
def test_a_folder_is_a_task_like_its_task_file(tmp_path: Path, splits: tuple[str, ...]) -> None:
    root = tmp_path / "my photos"
    for number, split in enumerate(splits or ("",)):
        part = slice(number * 6, number * 6 + 6) if splits else slice(None)
        write_folder(root / split if split else root, IMAGES[part], LABELS[part])
    task = resolve_task(str(root), DataOptions())
    assert [row.id for row in pk.task(root).rows("test")] == [row.id for row in task.rows("test")]
    assert (task.name, task.labels, task.spec.modality) == ("my photos", ("left", "right"), "image")
    for path, content in starter_files(root).items():
        assert path == tmp_path / "my photos.yaml"
        path.write_text(content, "utf-8")
    written = load_task(tmp_path / "my photos.yaml")
    for split in ("train", "test"):
        assert [row.id for row in written.rows(split)] == [row.id for row in task.rows(split)]
        assert len(task.rows(split)) == (6 if splits else len(task.rows(split))) > 0
    assert len(task.rows("train")) + len(task.rows("test")) == 12


def test_a_folder_without_classes_or_without_test_images_is_refused(tmp_path: Path) -> None:
    with refused(TaskError, "is-a-folder", file=str(tmp_path)):
        resolve_task(str(tmp_path), DataOptions())
    with refused(TaskError, "is-a-folder"):
        starter_files(tmp_path)
    write_folder(tmp_path / "few", IMAGES[::2], LABELS[::2])
    with refused(TaskError, "one-class", folder=str(tmp_path / "few"), label="left"):
        resolve_task(str(tmp_path / "few"), DataOptions())
    (tmp_path / "few").rename(tmp_path.with_name("elsewhere"))
    for name in ("sentiment-1", "sentiment-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    with refused(TaskError, "is-a-folder"):
        pk.task(tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path.with_name("runs"))
    write_folder(tmp_path / "train", IMAGES, LABELS)
    with refused(TaskError, "no-test-images", folder=str(tmp_path)):
        resolve_task(str(tmp_path), DataOptions())


def test_options_of_data_files_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, IMAGES, LABELS)
    with refused(InputError, "option-needs-data-file", option="labels"):
        resolve_task(str(tmp_path), DataOptions(labels="a,b"))
    with refused(InputError, "option-needs-task", option="data"):
        resolve_task(str(tmp_path), DataOptions(data=tmp_path))


def test_the_command_writes_a_task_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", IMAGES, LABELS)
    result = CliRunner().invoke(app, ["task", "init", str(tmp_path / "photos")])
    assert result.exit_code == 0, result.output
    assert load_task(tmp_path / "photos.yaml").labels == ("left", "right")


def test_a_task_file_in_the_current_folder_reads_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "photos", IMAGES, LABELS)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["task", "init", "photos"]).exit_code == 0
    rows = load_task("photos.yaml").rows("test")
    assert {image_input(row.inputs["image"], row.id).pixels.shape for row in rows} == {(3, 6, 6)}


def test_a_file_with_a_column_of_images_becomes_a_task_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "photos", IMAGES, LABELS)
    paths = sorted(folder.rglob("*.png"))
    lines = [f"{number},{path.relative_to(tmp_path)},{path.parent.name}" for number, path in enumerate(paths)]
    (tmp_path / "rows.csv").write_text("\n".join(["number,file name,kind", *lines]), "utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["task", "init", "rows.csv", "--label-column", "kind"])
    assert result.exit_code == 0, result.output
    task = load_task("rows.yaml")
    assert (task.spec.modality, task.labels) == ("image", ("left", "right"))
    expected = {row.id for split in ("train", "test") for row in resolve_task("photos", DataOptions()).rows(split)}
    assert {row.id for split in ("train", "test") for row in task.rows(split)} == expected


def test_images_have_no_tokens_to_render(tmp_path: Path) -> None:
    write_folder(tmp_path, IMAGES, LABELS)
    result = CliRunner().invoke(app, ["render", str(tmp_path), "--tokens", "--model", "vision:demo"])
    assert isinstance(result.exception, InputError)
    assert (result.exception.code, result.exception.fields["option"]) == ("option-not-applicable", "tokens")
