"""A finished run that is read from its files equals the run that was evaluated, for every kind of task."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.labelmap import Frequency
from promptkit.core.errors import RunError
from promptkit.core.state import to_state
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.runs.shard import Shard
from tests.models.vision.tiny import convolutional
from tests.support.errors import refused
from tests.support.image_runs import LABELS, Brightness
from tests.support.image_runs import write_task as write_image_task
from tests.support.runs import lines

TIMINGS = {"seconds", "examples_per_second", "resumed"}
"""What differs between executions of a run."""


def table(out: Path) -> pk.Run:
    rows = [{"text": f"row {number}", "label": ("yes", "no")[number % 3 == 0]} for number in range(40)]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pk.EvalConfig(task=str(out / "rows.jsonl"), model="fake", shots=2, calibrate="batch,linear").run(out=out)


def choices(out: Path) -> pk.Run:
    rows = [
        {"text": f"row {number}", "options": ["red", "blue", "green"][: 2 + number % 2], "label": 1} for number in range(12)
    ]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "t.j2").write_text("{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", "choices": {"column": "options"}}
    (out / "t.yaml").write_text(json.dumps({"description": "made up", "template": "t.j2", "sources": [source]}))
    return pk.EvalConfig(task=str(out / "t.yaml"), model="fake", shots=0, calibrate="pmi").run(out=out)


def shipped(task: str, **options: Any) -> Callable[[Path], pk.Run]:
    return lambda out: pk.EvalConfig(task=task, model="fake", **options).run(out=out)


def too_long(out: Path) -> pk.Run:
    options: dict[str, Any] = {"set": {"context_length": "260"}, "on_too_long": "skip"}
    return pk.EvalConfig(task="sentiment", model="fake", shots=1, limit=30, calibrate="batch", **options).run(out=out)


def images(out: Path) -> pk.Run:
    task, model = write_image_task(out / "task"), convolutional(batch_size=4)
    aligners = [Frequency(per_class=2), pk.probes.HiddenCalibration(per_class=3)]
    return evaluate(
        [pk.Predictor(model, Brightness(), [pk.Classes(LABELS), each]) for each in aligners], task, limit=12, out=out
    )


def small(out: Path) -> pk.Run:
    """A task without train rows, for which there are no baselines."""
    (out / "rows.jsonl").write_text(
        "".join(json.dumps({"t": f"row {number}", "label": "ab"[number % 2]}) + "\n" for number in range(6))
    )
    (out / "t.j2").write_text("{% block input %}{{ t }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    source = {"files": {"test": "rows.jsonl", "train": "none.jsonl"}, "inputs": {"t": "t"}, "label": "label"}
    (out / "none.jsonl").write_text(json.dumps({"t": "row 1", "label": "b"}) + "\n")
    spec = {"description": "made up", "template": "t.j2", "labels": {"a": "a", "b": "b"}, "sources": [source]}
    (out / "t.yaml").write_text(json.dumps(spec))
    run = pk.EvalConfig(task=str(out / "t.yaml"), model="fake", shots=0).run(out=out)
    assert run.baselines is None
    return run


def several(out: Path) -> pk.Run:
    labels = [["a"], ["b", "c"], [], ["a", "b", "c"]]
    rows = [{"text": f"row {number} of some", "label": labels[number % 4]} for number in range(24)]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pk.EvalConfig(task=str(out / "rows.jsonl"), model="fake", shots=2, multi_label=True).run(out=out)


def scale(out: Path) -> pk.Run:
    rows = [{"text": f"row {number} of some", "label": str(1 + number % 3)} for number in range(24)]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pk.EvalConfig(task=str(out / "rows.jsonl"), model="fake", shots=1, ordinal=True, calibrate="batch").run(out=out)


KINDS: dict[str, Callable[[Path], pk.Run]] = {
    "labels": shipped("sentiment", shots=2, limit=20, calibrate="batch,temperature,blm:tokens=20,random-map"),
    "folds": table,
    "choices": choices,
    "texts": shipped("capitals", shots=2, limit=8, max_tokens=8),
    "votes": shipped("arithmetic", shots=1, limit=6, samples=3, max_tokens=16),
    "too long": too_long,
    "images": images,
    "no baselines": small,
    "sets of labels": several,
    "a scale": scale,
}


def assert_equal(read: pk.Run, run: pk.Run) -> None:
    """Compares everything in two runs but the timings; numbers must be equal bit for bit."""
    for field in fields(run):
        if field.name not in (*TIMINGS, "results", "baselines"):
            assert getattr(read, field.name) == getattr(run, field.name), field.name
    assert str(read) == str(run)
    assert {**read.to_json(), **dict.fromkeys(TIMINGS)} == {**run.to_json(), **dict.fromkeys(TIMINGS)}
    for one, other in zip(read.results, run.results, strict=True):
        assert one.predictions == other.predictions
        states = [to_state((each.metric_input, each.label_maps)) for each in (one, other)]
        assert states[0].value == states[1].value
        for name, array in states[1].arrays.items():
            np.testing.assert_array_equal(states[0].arrays[name], array, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_read_equals_the_run_that_was_evaluated(kind: str, tmp_path: Path) -> None:
    run = KINDS[kind](tmp_path)
    assert_equal(pk.Run.load(run.path), run)
    assert_equal(KINDS[kind](tmp_path), run)  # the finished run is read again
    moved = run.path.rename(tmp_path / "moved")
    assert pk.Run.load(moved).to_json()["results"] == run.to_json()["results"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_predictions_show_the_inputs_and_the_probabilities(kind: str, tmp_path: Path) -> None:
    run = KINDS[kind](tmp_path)
    for index, record in enumerate(lines(run, "predictions.jsonl")):
        assert (record["id"], record["gold"]) == (run.ids[index], run.gold[index])
        assert all(record["inputs"].values())
        for result in run.results:
            assert record["predictions"][result.align] == result.predictions[index]
            if "probabilities" not in record:
                assert not result.logprobs.shape[1]
                continue
            shown = record["probabilities"][result.align]
            assert tuple(shown) == (() if result.predictions[index] is None else run.labels or tuple(record["choices"]))
            expected = result.metric_input.probabilities[index][: len(shown)]
            np.testing.assert_allclose([*shown.values()], expected, rtol=1e-5)


def test_the_notes_of_a_run_are_printed(tmp_path: Path) -> None:
    run = too_long(tmp_path)
    assert run.notes
    assert str(run).splitlines()[-len(run.notes) :] == [f"note: {note}" for note in run.notes]


def test_reading_a_run_needs_no_model_and_no_heavy_package(tmp_path: Path) -> None:
    run = KINDS["labels"](tmp_path)
    code = (
        f"import sys, promptkit as pk; run = pk.Run.load({str(run.path)!r}); print(run); run.to_json();"
        "print(sorted({'torch', 'transformers', 'sklearn', 'datasets'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("predictions.jsonl", "changed-file"),
        ("results.safetensors", "changed-file"),
        ("samples.jsonl", "changed-file"),
        ("summary.json", "damaged-file"),
    ],
)
def test_a_damaged_run_is_refused(file: str, code: str, tmp_path: Path) -> None:
    run = shipped("sentiment", shots=0, limit=5)(tmp_path)
    content = (run.path / file).read_bytes()
    (run.path / file).write_bytes(content[: len(content) // 2])
    with refused(RunError, code, file=str(run.path / file)):
        pk.Run.load(run.path)


def test_unfinished_runs_shards_and_other_folders_are_refused(tmp_path: Path) -> None:
    run = shipped("sentiment", shots=0, limit=5)(tmp_path)
    (run.path / "summary.json").unlink()
    with refused(RunError, "unfinished-run", folder=str(run.path)):
        pk.Run.load(run.path)
    with refused(RunError, "not-a-run", folder=str(tmp_path)):
        pk.Run.load(tmp_path)
    predictor = pk.Predictor(
        pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer({"negative": "bad", "positive": "good"})
    )
    shard = evaluate_shard(predictor, pk.task("sentiment"), Shard(1, 2), limit=6, out=tmp_path)
    with refused(RunError, "unmerged-shard", folder=str(shard.path)):
        pk.Run.load(shard.path)
