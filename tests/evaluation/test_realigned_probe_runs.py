"""Probes applied to the stored outputs of a finished run, and warnings about the rows that they are fitted on."""

from __future__ import annotations

import json
from dataclasses import replace

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.core.errors import InputError
from promptkit.evaluation.evaluate import evaluate_shard
from promptkit.evaluation.fit_warnings import class_skew
from promptkit.evaluation.merge import merge
from promptkit.models.registry import ENGINES
from promptkit.needs.labeled_rows import ScarceLabels, scarce_labels
from promptkit.runs.shard import Shard
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.probe_runs import LEARNED, predictors, run, write_task


def test_a_finished_run_is_aligned_to_the_same_numbers(full_run):
    again = align(full_run.path, ",".join(LEARNED))
    assert {item.align: item.metrics for item in again.results[1:]} == {item.align: item.metrics for item in full_run.results}
    assert not again.unavailable


def test_fewer_rows_of_a_seed_and_other_probes_on_the_same_outputs_need_no_new_run(tmp_path):
    task = write_task(tmp_path / "task")
    finished = run(task, tmp_path, ["hidden:per_class=8"])
    again = align(finished.path, "linear:per_class=8,hidden:per_class=3")
    assert not again.unavailable
    single = run(task, tmp_path, ["hidden:per_class=3"])
    assert again.results[2].metrics == single.results[0].metrics


def test_missing_outputs_are_listed_with_the_command_that_collects_them(tmp_path):
    finished = run(write_task(tmp_path / "task"), tmp_path, ["hidden:per_class=8"])
    again = align(finished.path, "hidden:layer=0:per_class=8,hidden:per_class=9,linear:seed=1,knn:per_class=8:tokens=7,batch")
    assert [(item.code, item.fields) for item in again.unavailable] == [
        ("missing-hidden-states", {"layer": 0}),
        ("missing-labeled-rows", {"per_class": 9, "seed": 0}),
        ("missing-labeled-rows", {"per_class": 16, "seed": 1}),
        ("missing-tokens", {"tokens": 7, "per_class": 8}),
        ("missing-fit-rows", {"labeled": False}),
    ]
    assert again.command is not None
    assert again.command.endswith("8:layer=0,hidden:per_class=9,linear:seed=1,knn:per_class=8:tokens=7,batch")


def test_tokens_chosen_on_other_rows_and_too_many_neighbors_are_unavailable(tmp_path):
    task = write_task(tmp_path / "task")
    with refused(InputError, "too-few-labeled-rows", calibration="knn", given=8, needed=9) as error:
        run(task, tmp_path, ["knn:per_class=4:tokens=9:k=9"])
    finished = run(task, tmp_path, ["knn:per_class=4:tokens=9"])
    again = align(finished.path, "knn:per_class=3:tokens=9,knn:per_class=4:tokens=9:k=9,knn:per_class=4:tokens=9:k=8")
    tokens, neighbors = again.unavailable
    assert (tokens.code, tokens.fields) == ("missing-tokens", {"tokens": 9, "per_class": 3})
    assert (neighbors.code, neighbors.reason) == (error.value.code, str(error.value))
    assert again.results[1].align == "knn:per_class=4:k=8:tokens=9"


def test_hidden_states_are_not_collectable_from_an_engine_without_them(tmp_path, monkeypatch):
    finished = run(write_task(tmp_path / "task"), tmp_path, ["knn:per_class=4"])
    fake = ENGINES["fake"]
    monkeypatch.setitem(ENGINES._entries, "fake", replace(fake, kinds={"": replace(fake.capabilities, hidden_states=False)}))
    again = align(finished.path, "hidden:per_class=4")
    assert (again.unavailable[0].code, again.unavailable[0].fields) == ("no-hidden-states", {"layer": 0.6})
    assert again.command is None


def test_warnings_and_label_notes_are_the_same_for_new_finished_merged_and_realigned_runs(tmp_path):
    """Nine of ten train rows are `no`: one label is scarce, and the classes are not equal."""
    task = write_task(tmp_path / "task")
    rows = [{"text": f"train {i}", "label": "yes" if i % 10 == 0 else "no"} for i in range(500)]
    (tmp_path / "task" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = pk.task(tmp_path / "task" / "task.yaml")
    calibrations = ["hidden:per_class=50", "knn:per_class=3", "batch", "semantic:per_class=3"]
    subset = sum(row.label == "yes" for row in task.part("fit"))
    first, again = (run(task, tmp_path, calibrations) for _ in range(2))
    chains = [predictor.chain for predictor in predictors(pk.load("fake"), calibrations)]
    fit = [row.label for row in by_hash(task.part("fit"), None)]
    scarce, skewed = scarce_labels(50, ["no", "yes"], fit), class_skew(chains[2].calibration, [], fit, 2)
    assert scarce == ScarceLabels(counts={"yes": subset}, labels=2, needed=50)
    assert skewed is not None
    assert (skewed.calibration, skewed.label) == ("batch", "no")
    shards = [
        evaluate_shard(
            predictors(pk.load("fake"), calibrations), task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False
        )
        for n in (1, 2)
    ]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    labels = [note for note in first.notes if note.startswith("semantic:per_class=3, label ")]
    assert len(labels) == 2
    aligned = align(first.path, ",".join(calibrations))
    for notes in (first.notes, again.notes, merged.notes, again.to_json()["notes"], [*aligned.warnings, *aligned.label_notes]):
        assert {str(skewed), str(scarce), *labels} <= {*notes}
    assert not align(first.path, "knn:per_class=3").warnings
