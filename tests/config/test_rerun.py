"""A run is evaluated again from its folder: equal files, wherever the folder is; what is missing or differs is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.rerun import rerun
from promptkit.core.errors import InputError, RunError
from promptkit.evaluation.evaluate import evaluate
from tests.support.errors import refused
from tests.support.runs import contents

ROWS = [{"text": f"row {number}", "note": "n" * number, "label": ("yes", "no")[number % 3 == 0]} for number in range(24)]
TEMPLATE = "{% block input %}Say: {{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
WORDS = {"negative": "bad", "positive": "good"}


def write(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "own.j2").write_text(TEMPLATE)
    return folder / "rows.jsonl"


def task_file(folder: Path, **source: Any) -> Path:
    write(folder)
    given = {"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", "hold_out": 0.5, **source}
    spec = {"description": "made up", "template": "own.j2", "labels": {"no": "no", "yes": "yes"}, "sources": [given]}
    (folder / "own.yaml").write_text(json.dumps(spec))
    return folder / "own.yaml"


def of_options(task: str | Path, out: Path, **options: Any) -> pk.Run:
    return pk.EvalConfig(task=str(task), model="fake", **options).run(out=out)


def of_objects(task: pk.Task, out: Path, prompt: pk.Prompt | None = None, **options: Any) -> pk.Run:
    model, words = pk.load("fake"), pk.Verbalizer({label: label for label in task.labels})
    chains: list[Any] = [words, [words, pk.calibrate.Batch(rows=4)]]
    return evaluate(
        [pk.Predictor(model, prompt or pk.Prompt(task.spec.template), each) for each in chains], task, out=out, **options
    )


MADE: dict[str, Callable[[Path], pk.Run]] = {
    "a shipped task": lambda tmp: of_options("sentiment", tmp, shots=2, limit=12, calibrate="batch,temperature"),
    "generated texts": lambda tmp: of_options("arithmetic", tmp, shots=1, limit=4, samples=3, max_tokens=8, baselines=False),
    "a data file": lambda tmp: of_options(write(tmp), tmp, shots=2, calibrate="batch"),
    "a template": lambda tmp: of_options(write(tmp), tmp, shots=0, template=str(tmp / "own.j2")),
    "a task file": lambda tmp: of_options(task_file(tmp), tmp, shots=1, seed=3),
    "another division": lambda tmp: of_options(
        write(tmp), tmp, shots=1, split_train="pool=0.8,fit=0.2", calibrate="linear:per_class=2"
    ),
    "objects of a shipped task": lambda tmp: of_objects(pk.task("sentiment"), tmp, limit=9),
    "objects of a data file": lambda tmp: of_objects(pk.task(write(tmp), inputs=["text"]), tmp, folds=3),
    "objects with a template": lambda tmp: of_objects(
        pk.task(write(tmp)), tmp, pk.Prompt(TEMPLATE, demos=pk.demos.Random(k=2, seed=5)), folds=1
    ),
}


@pytest.mark.parametrize("made", MADE)
def test_a_run_that_is_evaluated_again_has_equal_files(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = MADE[made](tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copied = shutil.copytree(run.path, tmp_path / "copies" / "anything")
    again = rerun(copied)
    assert again.path.parent == tmp_path / "copies" / "reruns"
    assert contents(again) == contents(run)
    assert again.notes[-1] == f"all files equal those of {copied}"
    assert again.resumed == 0
    assert (again.baselines is None) == (pk.Run.load(run.path).baselines is None)
    assert contents(rerun(again, out=tmp_path / "third")) == contents(run)


def test_data_that_have_moved_are_named(tmp_path: Path) -> None:
    run = of_options(task_file(tmp_path / "one"), tmp_path, shots=1)
    (tmp_path / "one").rename(tmp_path / "two")
    with refused(RunError, "missing-file", option="task", file=str(tmp_path / "one" / "own.yaml")):
        rerun(run)
    assert contents(rerun(run, task=tmp_path / "two" / "own.yaml")) == contents(run)


def test_a_data_file_may_have_another_name(tmp_path: Path) -> None:
    run = of_options(write(tmp_path / "one"), tmp_path, shots=1)
    (tmp_path / "one" / "rows.jsonl").rename(tmp_path / "renamed.jsonl")
    assert contents(rerun(run, task=tmp_path / "renamed.jsonl")) == contents(run)


def test_a_task_file_of_a_mirror_is_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "mirror" / "set").rename(tmp_path / "mirror" / "set" / "test.jsonl")
    path = task_file(tmp_path / "one", files=None, mirror="set")
    run = of_options(path, tmp_path, shots=0, data=tmp_path / "mirror")
    shutil.rmtree(tmp_path / "one")
    assert contents(rerun(run)) == contents(run)
    (tmp_path / "mirror").rename(tmp_path / "moved")
    with refused(RunError, "missing-file", option="data", file=str(tmp_path / "mirror")):
        rerun(run, out=tmp_path / "again")
    assert contents(rerun(run, data=tmp_path / "moved", out=tmp_path / "again")) == contents(run)


def test_rows_in_memory_can_be_given_as_a_file(tmp_path: Path) -> None:
    run = of_objects(pk.task(ROWS, inputs=["text"]), tmp_path, folds=1)
    with refused(RunError, "cannot-rerun", folder=str(run.path)):
        rerun(run)


def test_changed_data_models_and_settings_are_refused(tmp_path: Path) -> None:
    run = of_options(write(tmp_path), tmp_path, shots=0)
    write(tmp_path, [{**row, "label": "yes"} if row["text"] == "row 3" else row for row in ROWS])
    with refused(RunError, "data-changed", folder=str(run.path)):
        rerun(run)
    write(tmp_path)
    settings = json.loads((run.path / "run.json").read_text())
    for key, value, code in (("model", {"name": "other"}, "model-changed"), ("align", [], "settings-changed")):
        changed = shutil.copytree(run.path, tmp_path / f"changed-{key}")
        seal(changed, {**settings, key: value})
        with refused(RunError, code, folder=str(changed)):
            rerun(changed)
    old = shutil.copytree(run.path, tmp_path / "old")
    seal(old, {**settings, "promptkit": "0.0.1"})
    assert any("0.0.1" in note for note in rerun(old).notes)


def seal(folder: Path, settings: dict[str, Any]) -> None:
    """Writes other settings into a finished run, as if it had been made with them."""
    from promptkit.core.hashing import sha256_hex
    from promptkit.runs.files import to_file

    (folder / "run.json").write_bytes(to_file(settings))
    summary = json.loads((folder / "summary.json").read_text())
    summary["sha256"]["run.json"] = sha256_hex(to_file(settings))
    (folder / "summary.json").write_bytes(to_file(summary))


def test_a_fitted_predictor_without_a_folder_cannot_be_evaluated_again(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer(WORDS), pk.calibrate.Temperature()])
    run = evaluate(predictor.fit(task), task, limit=8, out=tmp_path)
    with refused(RunError, "cannot-rerun", folder=str(run.path)):
        rerun(run)


def test_a_saved_predictor_is_evaluated_again(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    words = [pk.Verbalizer(WORDS), pk.calibrate.Temperature()]
    folder = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), words).fit(task).save(tmp_path / "saved")
    run = pk.EvalConfig(task="sentiment", predictor=str(folder), limit=8).run(out=tmp_path)
    assert contents(rerun(run)) == contents(run)
    folder.rename(tmp_path / "moved")
    with refused(RunError, "missing-file", option="predictor"):
        rerun(run, out=tmp_path / "again")
    assert contents(rerun(run, predictor=tmp_path / "moved", out=tmp_path / "again")) == contents(run)


def test_a_run_of_a_learned_prompt_is_evaluated_again(tmp_path: Path) -> None:
    model = pk.load("fake")
    learned = pk.SoftPrompt(2).with_parameters({"vectors": model.embed([1, 2])}, {"name": "fake"})
    folder = pk.save_manipulation(learned, tmp_path / "learned")
    run = pk.EvalConfig(task="sentiment", model="fake", prompt=[str(folder)], limit=6).run(out=tmp_path)
    assert contents(rerun(run)) == contents(run)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), learned], pk.Verbalizer(WORDS))
    of_object = evaluate(predictor, pk.task("sentiment"), limit=5, out=tmp_path)
    assert contents(rerun(of_object)) == contents(of_object)
    folder.rename(tmp_path / "moved")
    with refused(RunError, "missing-file", option="prompt", file=str(folder)):
        rerun(run, out=tmp_path / "again")
    assert contents(rerun(run, prompt=[tmp_path / "moved"], out=tmp_path / "again")) == contents(run)
    other = pk.SoftPrompt(2).with_parameters({"vectors": model.embed([3, 4])}, {"name": "fake"})
    pk.save_manipulation(other, tmp_path / "other")
    with refused(RunError, "settings-changed", folder=str(run.path)):
        rerun(run, prompt=[tmp_path / "other"], out=tmp_path / "third")


def test_a_file_of_demonstrations_can_have_moved(tmp_path: Path) -> None:
    path = write(tmp_path / "one")
    train = [{"text": f"other {number}", "note": "n", "label": ("yes", "no")[number % 2]} for number in range(20)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    run = of_options(path, tmp_path, shots=2, train=str(tmp_path / "train.jsonl"), inputs="text")
    assert contents(rerun(run)) == contents(run)
    (tmp_path / "train.jsonl").rename(tmp_path / "moved.jsonl")
    with refused(RunError, "missing-file", option="train", file=str(tmp_path / "train.jsonl")):
        rerun(run, out=tmp_path / "again")
    assert contents(rerun(run, train=tmp_path / "moved.jsonl", out=tmp_path / "again")) == contents(run)


def test_the_command_says_whether_the_files_are_equal(tmp_path: Path) -> None:
    run = MADE["a shipped task"](tmp_path)
    result = CliRunner().invoke(app, ["rerun", str(run.path)], catch_exceptions=False)
    assert "all files equal those of" in " ".join(result.stdout.split())
    with refused(InputError, "same-folder", folder=str(run.path)):
        rerun(run, out=tmp_path)
    as_json = CliRunner().invoke(app, ["rerun", str(run.path), "--json"], catch_exceptions=False).stdout
    assert json.loads(as_json)["results"] == run.to_json()["results"]


ELSEWHERE = {
    **{"LC_ALL": "C", "LANG": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "USER": "jürgen", "PYTHONHASHSEED": "7"},
    **{"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX"},
}
"""Another locale, time zone, user, order of sets, and kernels of linear algebra for other processors."""


def test_a_run_has_equal_files_on_another_machine(tmp_path: Path) -> None:
    """Another home, cache, copy of the package and working folder; the run and its data file were moved."""
    file = write(tmp_path / "daten", [{**row, "größe": 1.5} for row in ROWS * 3])
    run = of_options(file, tmp_path / "runs", shots=2, limit=24, calibrate="contextual,linear:per_class=8", baselines=False)
    (home := tmp_path / "jürgen").mkdir()
    copied, moved = shutil.copytree(run.path, home / "copy"), file.rename(home / "Grüße.jsonl")
    for name in ("promptkit", "evals", "templates"):
        (home / name).symlink_to(Path(pk.__file__).parent.parent / name)
    (home / "work").mkdir()
    places = {"HOME": str(home), "PROMPTKIT_CACHE": str(home / "cache"), "PYTHONPATH": str(home)}
    subprocess.run(
        [sys.executable, "-m", "promptkit", "rerun", str(copied), "--task", str(moved), "--out", "../again"],
        cwd=home / "work",
        env={"PATH": os.environ["PATH"], **places, **ELSEWHERE},
        capture_output=True,
        check=True,
    )
    (again,) = map(pk.Run.load, (home / "again").iterdir())
    assert contents(again) == contents(run)
