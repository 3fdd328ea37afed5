"""Reports of several runs, of tuning and of training."""

from __future__ import annotations

import shutil
import zlib
from base64 import b64decode
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.core.errors import CheckpointError, InputError, RunError
from promptkit.display.png import png_url
from promptkit.tuning.result import Tuned
from promptkit.tuning.tune import tune_space
from tests.reports.conftest import Open
from tests.reports.pages import evaluated, items, visible
from tests.reports.test_browser import show_all, violations
from tests.support.errors import refused
from tests.support.heavy_packages import modules_after
from tests.training.test_image_programs import CONFIG, LABELS, model, pictures
from tests.tuning.test_tune import ROWS, tuning

pytest.importorskip("vl_convert")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[pk.Run]:
    out = tmp_path_factory.mktemp("runs")
    return [evaluated(out, shots=shots, limit=60) for shots in (0, 2)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pk.Study:
    def build(k: object, instruction: str, seed: int) -> pk.Predictor:
        prompt = pk.Prompt("sentiment/review", demos=pk.demos.Random(k=int(str(k)), seed=seed), instruction=instruction)
        return pk.Predictor(pk.load("fake"), prompt, {"negative": "Negative", "positive": "Positive"})

    grid: dict[str, Any] = {"k": [1, 2], "instruction": ["A secret.", "Another secret."], "seed": [0, 1]}
    out = tmp_path_factory.mktemp("study")
    return pk.study(build, pk.task("sentiment"), limit=16, out=out, cache=False, progress=False, **grid)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune_space(tuning(ROWS[:40]), out=tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pk.TrainingResult:
    (images, labels), (test_images, test_labels) = pictures(range(200)), pictures(range(200, 240))
    task = pk.image_task(images, labels, test_images=test_images, test_labels=test_labels, label_names=LABELS)
    predictor = pk.Predictor(model(), [pk.ImageProcessor(), pk.Watermark()], [pk.Classes(LABELS), pk.labelmap.Full()])
    return pk.train(predictor, task, out=tmp_path_factory.mktemp("trained"), **CONFIG)


def test_two_runs_are_compared_row_by_row(runs: list[pk.Run], tmp_path: Path) -> None:
    page = pk.report([run.path for run in runs], tmp_path / "report.html").read_bytes()
    comparison, text = compare_runs(runs), unescape(visible(page))
    other = comparison.branches[1]
    assert other.difference is not None
    assert f"{other.difference.value:+.3f} <small>" in text
    assert f"{len(other.flips)} different predictions" in text
    counts = Counter(zip(runs[0].results[0].correct, runs[1].results[0].correct, strict=True))
    assert all(f"<td>{count}</td>" in text for count in counts.values())
    data = items(page)
    assert data["runs"] == [run.path.name for run in runs]
    assert [branch["run"] for branch in data["branches"]] == [0, 1]
    assert all(len(row["r"]) == len(row["a"]) == 2 for row in data["rows"])


def test_runs_of_different_tasks_are_not_compared(runs: list[pk.Run], tmp_path: Path) -> None:
    other = evaluated(tmp_path / "runs", task="arithmetic", limit=4)
    with refused(RunError, "different-tasks"):
        pk.report([runs[0].path, other.path], tmp_path / "report.html")


def test_the_report_of_tuning_has_the_leaderboard_and_the_estimate(tuned: Tuned, tmp_path: Path) -> None:
    text = unescape(visible(tuned.report(tmp_path / "report.html").read_bytes()))
    assert all(each.name in text for each in tuned.standings)
    figure = tuned.result.estimate
    assert f"{figure.value:.3f} <small>{figure.low:.2f}–{figure.high:.2f}</small>" in text
    assert f"{tuned.result.optimism:.3f}" in text
    assert [row.id in text for row in tuned.result.hard_rows] == [True] * len(tuned.result.hard_rows)
    without = visible(tuned.report(tmp_path / "figures.html", text=False).read_bytes())
    assert tuned.result.prompt
    assert tuned.result.prompt.splitlines()[-2] in text
    assert not [row.text for row in tuned.result.hard_rows if row.text in unescape(without)]
    assert tuned.result.prompt.splitlines()[-2] not in unescape(without)


def study_folder(study: pk.Study) -> Path:
    (folder,) = study.cells[0].run.path.parent.glob("study-*")
    return folder


def test_a_study_is_read_from_its_folder(study: pk.Study, tmp_path: Path) -> None:
    read = pk.Study.load(study_folder(study))
    assert str(read.table()) == str(study.table())
    assert str(read.variance()) == str(study.variance())
    assert read.dimensions == study.dimensions
    with refused(InputError, "no-task"):
        read.baselines()
    with refused(RunError, "not-a-study"):
        pk.Study.load(tmp_path)
    folder = shutil.copytree(study_folder(study).parent, tmp_path / "runs")
    (folder / study.cells[0].run.path.name / "predictions.jsonl").unlink()
    with refused(RunError, "missing-file"):
        pk.Study.load(folder / study_folder(study).name)


def test_the_report_of_a_study_has_its_figures(study: pk.Study, tmp_path: Path) -> None:
    page = study.report(tmp_path / "report.html").read_bytes()
    text = unescape(visible(page))
    for table in (study.table(), study.variance(), study.best(over=["k", "instruction"])):
        shown = [cell.partition("\n")[0] for row in table.texts() for cell in row]
        assert all(f">{cell}" in text for cell in shown)
    assert page.count(b"data-chart=") == 4
    assert "A secret." in text
    assert "secret" not in study.report(tmp_path / "figures.html", text=False).read_text("utf-8")


def test_unfinished_tuning_has_a_banner_and_changed_files_are_refused(tuned: Tuned, tmp_path: Path) -> None:
    copy = shutil.copytree(tuned.path, tmp_path / "copy")
    (copy / "leaderboard.jsonl").write_text("{}\n")
    with refused(RunError, "changed-file"):
        pk.report(copy, tmp_path / "report.html")
    tune = (copy / "tune.json").read_text()
    (copy / "tune.json").write_text(tune[: tune.index(' "task": "sentiment"')].rstrip().rstrip(",") + "}")
    lines = (copy / "race.jsonl").read_bytes().splitlines(keepends=True)
    proposed = b'{"proposed": [["Say it."]], "requests": 1, "tokens": 9}\n'
    left_out = b'{"left_out": "soft", "reason": "Its training would take too long"}\n'
    (copy / "race.jsonl").write_bytes(proposed + lines[0] + lines[1] + left_out + lines[2][:40])
    text = visible(pk.report(copy, tmp_path / "report.html").read_bytes())
    assert 'class="banner"' in text
    assert "16 rows have been answered" in text


def test_the_report_of_training_has_its_course_and_its_program(trained: pk.TrainingResult, tmp_path: Path) -> None:
    text = unescape(visible(trained.report(tmp_path / "report.html").read_bytes()))
    first, best = trained.dev_evaluations[0], trained.best
    assert all(f"<td>{each.loss:.3f}</td>" in text for each in (first, best))
    assert trained.stop_reason in text
    (delta,) = trained.learned[0].parameters.values()
    highest = np.abs(delta.numpy()).max()
    assert f"from {-highest:+.3f} to {highest:+.3f}" in text
    assert text.count('<img src="data:image/png;base64,') == 1
    copy = shutil.copytree(trained.path, tmp_path / "copy")
    content = bytearray((copy / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "checkpoint.safetensors").write_bytes(content)
    with refused(CheckpointError, "damaged-checkpoint"):
        pk.report(copy, tmp_path / "report.html")


def test_pixels_become_a_png_image() -> None:
    pixels = np.linspace(0, 1, 2 * 3 * 3).reshape(3, 2, 3)
    content = b64decode(png_url(pixels).partition(",")[2])
    start = content.index(b"IDAT") + 4
    data = zlib.decompress(content[start : content.index(b"IEND") - 8])
    lines = np.frombuffer(data, np.uint8).reshape(2, 1 + 9)
    assert (lines[:, 0] == 0).all()
    assert (lines[:, 1:].reshape(2, 3, 3).transpose(2, 0, 1) == np.rint(pixels * 255)).all()


def test_no_model_is_loaded_for_any_report(
    runs: list[pk.Run], study: pk.Study, tuned: Tuned, trained: pk.TrainingResult, tmp_path: Path
) -> None:
    for number, folders in enumerate(([run.path for run in runs], [study_folder(study)], [tuned.path], [trained.path])):
        assert not {"torch", "transformers", "vllm"} & {*modules_after("report", *folders, "-o", tmp_path / f"{number}.html")}


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_report_is_drawn_and_accessible(
    runs: list[pk.Run],
    study: pk.Study,
    tuned: Tuned,
    trained: pk.TrainingResult,
    tmp_path: Path,
    opened: Open,
    width: int,
    scheme: str,
) -> None:
    for folders in ([run.path for run in runs], [study_folder(study)], [tuned.path], [trained.path]):
        page: Any = opened(pk.report(folders, tmp_path / "report.html"), width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []


@pytest.mark.browser
def test_flipped_rows_are_listed(runs: list[pk.Run], tmp_path: Path, opened: Open) -> None:
    page = opened(pk.report([run.path for run in runs], tmp_path / "report.html"))
    page.select_option("#show", "flipped")
    assert show_all(page) == [flip.id for flip in compare_runs(runs).branches[1].flips]
