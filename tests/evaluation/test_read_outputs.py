"""Token log-probabilities and hidden states of runs: correct values for each row, also after interruptions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.analysis.realign import align
from promptkit.core.alignment import PerClass, TopTokens
from promptkit.core.errors import InputError, RunError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.registry import build
from promptkit.core.requests import Read, Request
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.fit_data import collect_fit_data
from promptkit.evaluation.fit_rows import draw_per_class
from promptkit.evaluation.fit_warnings import ScarceLabels, class_skew, scarce_labels
from promptkit.evaluation.merge import merge
from promptkit.evaluation.read_outputs import ReadOutputs
from promptkit.models.registry import ENGINES
from promptkit.runs.folder import RunFolder
from promptkit.runs.shard import Shard
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.tiny import save

WORDS = {"no": "bad", "yes": "good"}
FINAL = ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "outputs.safetensors", "summary.json")
FEW = "per_class=4"
LEARNED = [
    *(f"{name}:{FEW}" for name in ("knn", "hidden", "prototypical", "soft-verbalizer", "linear")),
    *(f"{name}:{FEW}:tokens=20" for name in ("linear:on=tokens", "automatic", "random-map", "frequency", "iterative")),
    *(f"{name}:{FEW}:tokens=20" for name in ("blm", "blm+", "semantic", "blm+:manual=0.5")),
    *(f"{name}:{FEW}" for name in ("linear:on=words", "blm:sources=words", "semantic:sources=words", "hidden:layer=0")),
]


def write_task(folder: Path, *, flipped: bool = False, other_fit: bool = False) -> pk.Task:
    """Every fifth test row is also a train row. `flipped` changes the labels of test, `other_fit` those of train."""
    train = [{"text": f"train{i}", "label": "yes" if (i % 2) ^ other_fit else "no"} for i in range(120)]
    test = [
        {"text": f"{'train' if i % 5 == 0 else 'test'}{i}", "label": "yes" if (i % 3 == 0) ^ flipped else "no"}
        for i in range(40)
    ]
    folder.mkdir(exist_ok=True, parents=True)
    for split, rows in (("train", train), ("test", test)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"text": "text"}, "label": "label"}
    spec = {"description": "d", "template": "sentiment/review", "labels": WORDS, "sources": [source]}
    (folder / "task.yaml").write_text(json.dumps(spec))
    return pk.task(folder / "task.yaml")


def predictors(model: Any, spellings: list[str]) -> list[pk.Predictor]:
    prompt, words = pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS)
    return [pk.Predictor(model, prompt, [words, build("calibration", CALIBRATIONS, item)]) for item in spellings]


def run(task: pk.Task, out: Path, spellings: list[str], *, model: Any = None, **options: Any) -> pk.Run:
    model = model or pk.load("fake", batch_tokens=600)
    return evaluate(predictors(model, spellings), task, limit=12, out=out, cache=False, **options)


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FINAL}


def read_outputs(run: pk.Run) -> ReadOutputs:
    return ReadOutputs.from_bytes((run.path / "outputs.safetensors").read_bytes())


def prompts_of(spellings: list[str], task: pk.Task, rows: Any) -> dict[str, Any]:
    """The prompt of each row by its id."""
    bound = predictors(pk.load("fake"), spellings)[0].bind(task)
    return {row.id: rendered.input for row, rendered in zip(rows, bound.apply(rows), strict=True)}


# ---- warnings -------------------------------------------------------------------------------------------


def test_fit_warnings_are_the_same_for_new_finished_merged_and_realigned_runs(tmp_path):
    """Nine of ten train rows are `no`: one label is scarce, and the classes are not equal."""
    task = write_task(tmp_path / "task")
    rows = [{"text": f"train {i}", "label": "yes" if i % 10 == 0 else "no"} for i in range(500)]
    (tmp_path / "task" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task, calibrations = pk.task(tmp_path / "task" / "task.yaml"), ["hidden:per_class=50", "knn:per_class=3", "batch"]
    subset = sum(row.label == "yes" for row in task.part("fit"))
    first, again = (run(task, tmp_path, calibrations) for _ in range(2))
    chains = [predictor.chain for predictor in predictors(pk.load("fake"), calibrations)]
    fit = [row.label for row in by_hash(task.part("fit"), None)]
    scarce, skewed = scarce_labels(chains, fit), class_skew(chains[2].calibration, [], fit, 2)
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
    for notes in (
        first.notes,
        again.notes,
        merged.notes,
        again.to_json()["notes"],
        align(first.path, ",".join(calibrations)).warnings,
    ):
        assert {str(skewed), str(scarce)} <= {*notes}
    assert not align(first.path, "knn:per_class=3").warnings


# ---- the numbers --------------------------------------------------------------------------------------


def test_tokens_are_the_likeliest_over_the_labeled_rows_and_numbers_equal_the_model(tmp_path):
    task = write_task(tmp_path / "task")
    learned = ["blm:per_class=4:tokens=7", "knn:per_class=2:seed=1:tokens=3", "hidden:layer=0", "linear", "linear:layer=-1"]
    finished = run(task, tmp_path, learned)
    outputs, model = read_outputs(finished), pk.load("fake")
    tested = {row.id for row in task.rows("test")}
    fit: list[LabeledExample] = [row for row in task.part("fit") if row.id not in tested]
    every = tuple(range(259))
    prompts = prompts_of(["hidden"], task, [*task.part("fit"), *task.rows("test")])

    def ask(row: str, verb: Read) -> Any:
        ((_, (output,)),) = model.answer([Request(input=prompts[row.removeprefix("fit ")], verb=verb)])
        return output

    for top, names in outputs.names().items():
        rows = [fit[place] for place in draw_per_class(top.rows, [(row.id, row.label) for row in fit])]
        assert Counter(row.label for row in rows) == {"no": top.rows.rows, "yes": top.rows.rows}
        shares = np.exp([ask(row.id, Read(token_ids=every)).logprobs for row in rows])
        kept = np.where(shares >= np.sort(shares)[:, [-top.size]], shares, 0)
        best = np.argsort(-kept.sum(0), kind="stable")[: top.size]
        tokens = [
            outputs.metadata["token_ids"][place]
            for _, positions in outputs.sets()
            if len(positions) == top.size
            for place in positions
        ]
        assert tokens == best.tolist()
        assert len(names) == top.size
        assert [*names] == [outputs.metadata["names"][outputs.metadata["token_ids"].index(token)] for token in tokens]
    ids = outputs.metadata["rows"]
    assert [row for row in ids if not row.startswith("fit ")] == [*finished.ids]
    states = outputs.hidden(ids)
    read = outputs.tokens(ids)
    for number, row in enumerate(ids):
        for layer, counted in {0: 0, 0.6: 1, -1: -1}.items():
            np.testing.assert_allclose(states[layer][number], ask(row, Read(hidden_layer=counted)).hidden.numpy(), rtol=1e-6)
        for top, positions in outputs.sets():
            tokens = tuple(outputs.metadata["token_ids"][place] for place in positions)
            np.testing.assert_allclose(read[top][number], ask(row, Read(token_ids=tokens)).logprobs, rtol=1e-6)


def test_vectors_of_texts_are_mean_hidden_states_of_the_texts(tmp_path):
    outputs = read_outputs(run(write_task(tmp_path / "task"), tmp_path, [f"semantic:{FEW}:tokens=5"]))
    (top,) = outputs.names()
    assert top == TopTokens(5, PerClass(4, 0))
    assert outputs.metadata["texts"] == [*outputs.names()[top], "bad", "good"]
    model = pk.load("fake")
    encoded = [256, *b"good"]
    ((_, (output,)),) = model.answer([Request(input=TextInput(ids=tuple(encoded)), verb=Read(hidden_layer=-1, mean_from=1))])
    np.testing.assert_allclose(outputs.vectors(["good"])[0], output.hidden.numpy(), rtol=1e-6)


# ---- dependence of results ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    folder = tmp_path_factory.mktemp("runs")
    return run(write_task(folder / "task"), folder, LEARNED)


def results(run: pk.Run) -> dict[str, Any]:
    return {result.align: result.logprobs for result in run.results}


def test_every_probe_gives_finite_numbers(full_run):
    assert len(results(full_run)) == len(LEARNED)
    assert all(np.isfinite(logprobs).all() for logprobs in results(full_run).values())


@pytest.mark.parametrize("spelling", LEARNED)
def test_a_probe_gives_the_same_results_with_and_without_other_probes(full_run, tmp_path, spelling):
    (single,) = run(write_task(tmp_path / "task"), tmp_path, [spelling]).results
    np.testing.assert_allclose(single.logprobs, results(full_run)[single.align], atol=1e-9)


def test_labels_of_the_fit_part_change_a_probe_and_labels_of_test_rows_do_not(full_run, tmp_path):
    flipped = run(write_task(tmp_path / "a", flipped=True), tmp_path / "a", LEARNED)
    assert flipped.gold != full_run.gold
    for name, logprobs in results(flipped).items():
        np.testing.assert_array_equal(logprobs, results(full_run)[name], err_msg=name)
    other = results(run(write_task(tmp_path / "b", other_fit=True), tmp_path / "b", LEARNED))
    blind = {"random-map", "semantic"}
    for name, logprobs in other.items():
        if "sources=words" not in name:  # all rows have the same likeliest word, so labels have no effect
            assert (logprobs == results(full_run)[name]).all() == (name.split(":")[0] in blind), name


def test_a_probe_gives_the_same_numbers_with_a_smaller_limit(full_run, tmp_path):
    task = write_task(tmp_path / "task")
    subset = evaluate(predictors(pk.load("fake"), LEARNED), task, limit=5, out=tmp_path, cache=False)
    for name, logprobs in results(subset).items():
        np.testing.assert_allclose(logprobs, results(full_run)[name][:5], atol=1e-9, err_msg=name)


# ---- interrupted and damaged runs ------------------------------------------------------------------------


class Killed(BaseException):
    """Simulates a signal, which no code catches."""


def killed(*_: object) -> None:
    raise Killed


def killed_after(batches: int) -> Any:
    model: Any = pk.load("fake", batch_tokens=600)
    original, remaining = model.answer, iter(range(batches))

    def answer(*arguments: Any) -> Any:
        for batch in original(*arguments):
            if next(remaining, None) is None:
                raise Killed
            yield batch

    model.answer = answer
    return model


@pytest.mark.parametrize("batches", [0, 5, 9])
def test_a_killed_run_continues_to_the_same_bytes(full_run, tmp_path, batches):
    task = write_task(tmp_path / "task")
    with pytest.raises(Killed):
        run(task, tmp_path, LEARNED, model=killed_after(batches))
    resumed = run(task, tmp_path, LEARNED)
    assert contents(resumed.path) == contents(full_run.path)
    assert not (resumed.path / "outputs.jsonl").exists()


def test_a_finished_run_is_read_without_querying_the_model(full_run, tmp_path):
    task = write_task(tmp_path / "task")
    run(task, tmp_path, LEARNED)
    again = run(task, tmp_path, LEARNED, model=killed_after(0))
    assert again.to_json()["results"] == full_run.to_json()["results"]


def test_merged_shards_equal_the_run_of_one_process(full_run, tmp_path):
    task, branches = write_task(tmp_path / "task"), predictors(pk.load("fake", batch_tokens=600), LEARNED)
    shards = [evaluate_shard(branches, task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False) for n in (1, 2)]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged.path) == contents(full_run.path)
    assert merged.to_json()["results"] == full_run.to_json()["results"]


def test_read_numbers_are_in_the_score_cache(tmp_path):
    task, branches = write_task(tmp_path / "task"), predictors(pk.load("fake"), LEARNED)
    first = evaluate(branches, task, limit=12, out=tmp_path / "a")
    branches[0].model.answer = killed_after(0).answer
    second = evaluate(branches, task, limit=12, out=tmp_path / "b")
    assert contents(second.path) == contents(first.path)


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
    assert contents(run(task, tmp_path, LEARNED).path) == contents(full_run.path)


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
    assert contents(run(task, tmp_path, LEARNED).path) == contents(full_run.path)


def test_a_run_without_probes_has_no_tensors(tmp_path):
    finished = run(write_task(tmp_path / "task"), tmp_path, ["contextual"])
    assert not (finished.path / "outputs.safetensors").exists()
    (finished.path / "outputs.safetensors").write_bytes(b"of another run")
    assert align(finished.path, "contextual").results[1].metrics == finished.results[0].metrics


@pytest.mark.parametrize("spelling", ["hidden", "prototypical", "soft-verbalizer", "linear", "semantic"])
def test_hidden_states_are_refused_for_an_engine_without_them(spelling):
    model: Any = pk.load("fake")
    model.hidden_states = False
    with refused(Unsupported, "no-hidden-states", model="fake", aligner=spelling):
        predictors(model, [spelling])
    assert predictors(model, ["knn", "blm", "linear:on=tokens"])


def test_a_label_map_lists_its_tokens(tmp_path):
    from promptkit.align.labelmap import Bayesian

    task = write_task(tmp_path / "task")
    finished = run(task, tmp_path, [f"blm:{FEW}:tokens=20"])
    samples, lines = (
        [json.loads(x) for x in (finished.path / f"{f}.jsonl").read_text().splitlines()] for f in ("samples", "support")
    )
    chain = predictors(pk.load("fake"), [f"blm:{FEW}:tokens=20"])[0].chain
    support, labels = collect_fit_data([chain], samples, lines, read_outputs(finished))
    actual = Bayesian(per_class=4, tokens=20).fit(support, labels).label_map
    assert actual is not None
    assert actual.table(most=3).keys() == WORDS.keys()
    assert set(actual.table()["no"]) <= set(support.names[TopTokens(20, PerClass(4, 0))])


# ---- calibrating a finished run --------------------------------------------------------------------------


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
    monkeypatch.setitem(ENGINES, "fake", ENGINES["fake"]._replace(hidden_states=False))
    again = align(finished.path, "hidden:per_class=4")
    assert (again.unavailable[0].code, again.unavailable[0].fields) == ("no-hidden-states", {"layer": 0.6})
    assert again.command is None


# ---- transformers -----------------------------------------------------------------------------------------


def test_numbers_read_in_a_batch_with_a_shared_prefix_equal_numbers_of_single_rows(tmp_path):
    task, model = write_task(tmp_path / "task"), pk.load(str(save(tmp_path / "model", "llama")))
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.balanced(k=2))
    calibration = build("calibration", CALIBRATIONS, "knn:per_class=2:tokens=9")
    states = build("calibration", CALIBRATIONS, "hidden:per_class=2:layer=-1")
    branches = [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), item]) for item in (calibration, states)]
    run = evaluate(branches, task, limit=6, out=tmp_path, cache=False)
    outputs = read_outputs(run)
    rows = {row.id: row for row in (*task.rows("test"), *task.part("fit"))}
    bound = branches[0].bind(task)
    ((top, positions),) = outputs.sets()
    tokens = tuple(outputs.metadata["token_ids"][place] for place in positions)
    for row, logprobs, hidden in zip(
        outputs.metadata["rows"],
        outputs.tokens(outputs.metadata["rows"])[top],
        outputs.hidden(outputs.metadata["rows"])[-1],
        strict=True,
    ):
        (rendered,) = bound.apply([rows[row.removeprefix("fit ")]])
        ((_, (single,)),) = model.answer([Request(input=rendered.input, verb=Read(token_ids=tokens, hidden_layer=-1))])
        np.testing.assert_allclose(logprobs, single.logprobs, atol=1e-4)
        np.testing.assert_allclose(hidden, single.hidden.numpy(), atol=1e-4)
