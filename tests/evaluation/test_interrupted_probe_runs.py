"""Runs with probes that were interrupted, split into shards or damaged give the same bytes."""

from __future__ import annotations

import json

import pytest

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.core.errors import RunError
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.runs.folder import RunFolder
from promptkit.runs.shard import Shard
from tests.support.errors import refused
from tests.support.probe_runs import LEARNED, contents, predictors, run, write_task
from tests.support.runs import Killed, killed_after


def killed(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize("batches", [0, 5, 9])
def test_a_killed_run_continues_to_the_same_bytes(full_run, tmp_path, batches):
    task = write_task(tmp_path / "task")
    with pytest.raises(Killed):
        run(task, tmp_path, LEARNED, model=killed_after(batches, batch_tokens=600))
    resumed = run(task, tmp_path, LEARNED)
    assert contents(resumed) == contents(full_run)
    assert not (resumed.path / "outputs.jsonl").exists()


def test_a_finished_run_is_read_without_querying_the_model(full_run, tmp_path):
    task = write_task(tmp_path / "task")
    run(task, tmp_path, LEARNED)
    again = run(task, tmp_path, LEARNED, model=killed_after(0, batch_tokens=600))
    assert again.to_json()["results"] == full_run.to_json()["results"]


def test_merged_shards_equal_the_run_of_one_process(full_run, tmp_path):
    task, branches = write_task(tmp_path / "task"), predictors(pk.load("fake", batch_tokens=600), LEARNED)
    shards = [evaluate_shard(branches, task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False) for n in (1, 2)]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(full_run)
    assert merged.to_json()["results"] == full_run.to_json()["results"]


def test_read_numbers_are_in_the_score_cache(tmp_path):
    task, branches = write_task(tmp_path / "task"), predictors(pk.load("fake"), LEARNED)
    first = evaluate(branches, task, limit=12, out=tmp_path / "a")
    branches[0].model.answer = killed_after(0, batch_tokens=600).answer
    second = evaluate(branches, task, limit=12, out=tmp_path / "b")
    assert contents(second) == contents(first)


def test_changed_tensors_are_refused(tmp_path):
    task = write_task(tmp_path / "task")
    path = run(task, tmp_path, ["hidden"]).path / "outputs.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with refused(RunError, "changed-file", file=str(path)):
        run(task, tmp_path, ["hidden"])


def test_missing_tensors_are_computed_again(full_run, tmp_path):
    task = write_task(tmp_path / "task")
    path = run(task, tmp_path, LEARNED).path
    (path / "outputs.safetensors").unlink()
    assert contents(run(task, tmp_path, LEARNED)) == contents(full_run)


@pytest.mark.parametrize(
    ("key", "broken"), [("hidden", "!!!!"), ("hidden", "AAA"), ("hidden", "AAAAAA=="), ("logprobs", ""), ("logprobs", "é")]
)
def test_a_damaged_record_of_read_numbers_is_computed_again(full_run, tmp_path, key, broken, monkeypatch):
    task = write_task(tmp_path / "task")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", killed)
        with pytest.raises(Killed):
            run(task, tmp_path, LEARNED)
    (path,) = tmp_path.glob("task-*/outputs.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    place = next(i for i, line in enumerate(lines) if line.get(key))
    lines[place][key] = broken
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert contents(run(task, tmp_path, LEARNED)) == contents(full_run)


def test_a_run_without_probes_has_no_tensors(tmp_path):
    finished = run(write_task(tmp_path / "task"), tmp_path, ["contextual"])
    assert not (finished.path / "outputs.safetensors").exists()
    (finished.path / "outputs.safetensors").write_bytes(b"of another run")
    assert align(finished.path, "contextual").results[1].metrics == finished.results[0].metrics
