"""What runs read of rows beside their scores: the right numbers, of the right rows, whatever befalls the run."""

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
from promptkit.evaluation.merge import merge
from promptkit.evaluation.readings import ReadOutputs
from promptkit.evaluation.support import chosen
from promptkit.models.registry import ENGINES
from promptkit.runs.folder import RunFolder, Shard
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
    """Every fifth test row is a train row too. `flipped` changes the labels of test, `other_fit` those of train."""
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
    return [pk.Predictor(model, prompt, [words, build("calibration", CALIBRATIONS, each)]) for each in spellings]


def run(task: pk.Task, out: Path, spellings: list[str], *, model: Any = None, **options: Any) -> pk.Run:
    model = model or pk.load("fake", batch_tokens=600)
    return evaluate(predictors(model, spellings), task, limit=12, out=out, cache=False, **options)


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FINAL}


def observed(run: pk.Run) -> ReadOutputs:
    return ReadOutputs.read((run.path / "outputs.safetensors").read_bytes())


def asked(spellings: list[str], task: pk.Task, rows: Any) -> dict[str, Any]:
    """The prompt of each row by its id."""
    bound = predictors(pk.load("fake"), spellings)[0].bind(task)
    return {row.id: rendered.input for row, rendered in zip(rows, bound.apply(rows), strict=True)}


# ---- what is said ---------------------------------------------------------------------------------------


def test_what_calibrations_are_fitted_on_is_said_beside_the_figures_however_they_are_come_by(tmp_path):
    """Labels of few rows, and classes that are not equal: nine of ten train rows are `no`."""
    task = write_task(tmp_path / "task")
    rows = [{"text": f"train {i}", "label": "yes" if i % 10 == 0 else "no"} for i in range(500)]
    (tmp_path / "task" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task, wanted = pk.task(tmp_path / "task" / "task.yaml"), ["hidden:per_class=50", "knn:per_class=3", "batch"]
    few = sum(row.label == "yes" for row in task.part("fit"))
    first, again = (run(task, tmp_path, wanted) for _ in range(2))
    skewed, scarce = (note for note in again.notes if "calibration batch takes" in note or "to learn from" in note)
    assert scarce == f"1 of 2 labels have fewer than 50 rows to learn from: yes ({few})"
    shards = [
        evaluate_shard(predictors(pk.load("fake"), wanted), task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False)
        for n in (1, 2)
    ]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    for told in (
        first.notes,
        again.notes,
        merged.notes,
        again.to_json()["notes"],
        align(first.path, ",".join(wanted)).warnings,
    ):
        assert {skewed, scarce} <= {*told}
    assert not align(first.path, "knn:per_class=3").warnings


# ---- the numbers --------------------------------------------------------------------------------------


def test_tokens_are_the_likeliest_by_mean_probability_over_the_labeled_rows_and_states_the_models(tmp_path):
    task = write_task(tmp_path / "task")
    learned = ["blm:per_class=4:tokens=7", "knn:per_class=2:seed=1:tokens=3", "hidden:layer=0", "linear", "linear:layer=-1"]
    made = run(task, tmp_path, learned)
    seen, model = observed(made), pk.load("fake")
    tested = {row.id for row in task.rows("test")}
    fit: list[LabeledExample] = [row for row in task.part("fit") if row.id not in tested]
    every = tuple(range(259))
    prompts = asked(["hidden"], task, [*task.part("fit"), *task.rows("test")])

    def ask(row: str, verb: Read) -> Any:
        ((_, (output,)),) = model.answer([Request(input=prompts[row.removeprefix("fit ")], verb=verb)])
        return output

    for top, names in seen.names().items():
        rows = [fit[place] for place in chosen(top.of, [(row.id, row.label) for row in fit])]
        assert Counter(row.label for row in rows) == {"no": top.of.rows, "yes": top.of.rows}
        shares = np.exp([ask(row.id, Read(token_ids=every)).logprobs for row in rows])
        kept = np.where(shares >= np.sort(shares)[:, [-top.most]], shares, 0)
        best = np.argsort(-kept.sum(0), kind="stable")[: top.most]
        tokens = [seen.told["token_ids"][place] for _, places in seen.sets() if len(places) == top.most for place in places]
        assert tokens == best.tolist()
        assert len(names) == top.most
        assert [*names] == [seen.told["names"][seen.told["token_ids"].index(token)] for token in tokens]
    ids = seen.told["rows"]
    assert [row for row in ids if not row.startswith("fit ")] == [*made.ids]
    states = seen.hidden(ids)
    read = seen.tokens(ids)
    for number, row in enumerate(ids):
        for layer, counted in {0: 0, 0.6: 1, -1: -1}.items():
            np.testing.assert_allclose(states[layer][number], ask(row, Read(hidden_layer=counted)).hidden.numpy(), rtol=1e-6)
        for top, places in seen.sets():
            tokens = tuple(seen.told["token_ids"][place] for place in places)
            np.testing.assert_allclose(read[top][number], ask(row, Read(token_ids=tokens)).logprobs, rtol=1e-6)


def test_names_are_vectors_of_their_texts_alone(tmp_path):
    seen = observed(run(write_task(tmp_path / "task"), tmp_path, [f"semantic:{FEW}:tokens=5"]))
    (top,) = seen.names()
    assert top == TopTokens(5, PerClass(4, 0))
    assert seen.told["texts"] == [*seen.names()[top], "bad", "good"]
    model = pk.load("fake")
    encoded = [256, *b"good"]
    ((_, (output,)),) = model.answer([Request(input=TextInput(ids=tuple(encoded)), verb=Read(hidden_layer=-1, mean_from=1))])
    np.testing.assert_allclose(seen.vectors(["good"])[0], output.hidden.numpy(), rtol=1e-6)


# ---- what a result may depend on ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    folder = tmp_path_factory.mktemp("whole")
    return run(write_task(folder / "task"), folder, LEARNED)


def results(run: pk.Run) -> dict[str, Any]:
    return {result.align: result.logprobs for result in run.results}


def test_every_read_out_gives_numbers(whole):
    assert len(results(whole)) == len(LEARNED)
    assert all(np.isfinite(logprobs).all() for logprobs in results(whole).values())


@pytest.mark.parametrize("spelling", LEARNED)
def test_a_read_out_is_the_same_alone_and_beside_others(whole, tmp_path, spelling):
    (alone,) = run(write_task(tmp_path / "task"), tmp_path, [spelling]).results
    np.testing.assert_allclose(alone.logprobs, results(whole)[alone.align], atol=1e-9)


def test_no_label_of_a_test_row_changes_a_read_out_and_labels_of_the_fit_part_do(whole, tmp_path):
    flipped = run(write_task(tmp_path / "a", flipped=True), tmp_path / "a", LEARNED)
    assert flipped.gold != whole.gold
    for name, logprobs in results(flipped).items():
        np.testing.assert_array_equal(logprobs, results(whole)[name], err_msg=name)
    other = results(run(write_task(tmp_path / "b", other_fit=True), tmp_path / "b", LEARNED))
    blind = {"random-map", "semantic"}
    for name, logprobs in other.items():
        if "sources=words" not in name:  # where every row's likeliest word is one and the same, labels tell nothing
            assert (logprobs == results(whole)[name]).all() == (name.split(":")[0] in blind), name


def test_a_read_out_of_few_rows_is_that_of_many(whole, tmp_path):
    task = write_task(tmp_path / "task")
    few = evaluate(predictors(pk.load("fake"), LEARNED), task, limit=5, out=tmp_path, cache=False)
    for name, logprobs in results(few).items():
        np.testing.assert_allclose(logprobs, results(whole)[name][:5], atol=1e-9, err_msg=name)


# ---- what may befall a run ------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that no code catches."""


def killed(*_: object) -> None:
    raise Killed


def killed_after(batches: int) -> Any:
    model: Any = pk.load("fake", batch_tokens=600)
    whole, given = model.answer, iter(range(batches))

    def answer(*arguments: Any) -> Any:
        for batch in whole(*arguments):
            if next(given, None) is None:
                raise Killed
            yield batch

    model.answer = answer
    return model


@pytest.mark.parametrize("batches", [0, 5, 9])
def test_a_killed_run_continues_to_the_same_bytes(whole, tmp_path, batches):
    task = write_task(tmp_path / "task")
    with pytest.raises(Killed):
        run(task, tmp_path, LEARNED, model=killed_after(batches))
    resumed = run(task, tmp_path, LEARNED)
    assert contents(resumed.path) == contents(whole.path)
    assert not (resumed.path / "outputs.jsonl").exists()


def test_a_finished_run_is_read_and_asks_no_model(whole, tmp_path):
    task = write_task(tmp_path / "task")
    run(task, tmp_path, LEARNED)
    again = run(task, tmp_path, LEARNED, model=killed_after(0))
    assert again.to_json()["results"] == whole.to_json()["results"]


def test_merged_shards_are_the_run_of_one_process(whole, tmp_path):
    task, made = write_task(tmp_path / "task"), predictors(pk.load("fake", batch_tokens=600), LEARNED)
    shards = [evaluate_shard(made, task, Shard(n, 2), limit=12, out=tmp_path / f"{n}", cache=False) for n in (1, 2)]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged.path) == contents(whole.path)
    assert merged.to_json()["results"] == whole.to_json()["results"]


def test_what_was_read_is_in_the_score_cache(tmp_path):
    task, made = write_task(tmp_path / "task"), predictors(pk.load("fake"), LEARNED)
    first = evaluate(made, task, limit=12, out=tmp_path / "a")
    made[0].model.answer = killed_after(0).answer  # type: ignore[method-assign]
    second = evaluate(made, task, limit=12, out=tmp_path / "b")
    assert contents(second.path) == contents(first.path)


def test_tensors_that_were_changed_are_refused(tmp_path):
    task = write_task(tmp_path / "task")
    path = run(task, tmp_path, ["hidden"]).path / "outputs.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with refused(RunError, "changed-file", file=str(path)):
        run(task, tmp_path, ["hidden"])


def test_tensors_that_are_gone_are_read_again(whole, tmp_path):
    task = write_task(tmp_path / "task")
    path = run(task, tmp_path, LEARNED).path
    (path / "outputs.safetensors").unlink()
    assert contents(run(task, tmp_path, LEARNED).path) == contents(whole.path)


@pytest.mark.parametrize(
    ("key", "broken"), [("hidden", "!!!!"), ("hidden", "AAA"), ("hidden", "AAAAAA=="), ("logprobs", ""), ("logprobs", "é")]
)
def test_a_line_of_what_was_read_that_is_broken_is_computed_again(whole, tmp_path, key, broken, monkeypatch):
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
    assert contents(run(task, tmp_path, LEARNED).path) == contents(whole.path)


def test_a_run_without_learned_read_outs_has_no_tensors(tmp_path):
    made = run(write_task(tmp_path / "task"), tmp_path, ["contextual"])
    assert not (made.path / "outputs.safetensors").exists()
    (made.path / "outputs.safetensors").write_bytes(b"of another run")
    assert align(made.path, "contextual").results[1].metrics == made.results[0].metrics


@pytest.mark.parametrize("spelling", ["hidden", "prototypical", "soft-verbalizer", "linear", "semantic"])
def test_hidden_states_are_refused_up_front_of_an_engine_that_has_none(spelling):
    model: Any = pk.load("fake")
    model.hidden_states = False
    with refused(Unsupported, "no-hidden-states", model="fake", aligner=spelling):
        predictors(model, [spelling])
    assert predictors(model, ["knn", "blm", "linear:on=tokens"])


def test_a_map_says_what_its_tokens_mean(tmp_path):
    from promptkit.align.labelmap import Bayesian
    from promptkit.evaluation.support import collected

    task = write_task(tmp_path / "task")
    made = run(task, tmp_path, [f"blm:{FEW}:tokens=20"])
    samples, lines = (
        [json.loads(x) for x in (made.path / f"{f}.jsonl").read_text().splitlines()] for f in ("samples", "support")
    )
    chain = predictors(pk.load("fake"), [f"blm:{FEW}:tokens=20"])[0].chain
    support, labels = collected([chain], samples, lines, observed(made))
    found = Bayesian(per_class=4, tokens=20).fit(support, labels).label_map
    assert found is not None
    assert found.table(most=3).keys() == WORDS.keys()
    assert set(found.table()["no"]) <= set(support.names[TopTokens(20, PerClass(4, 0))])


# ---- aligning a finished run anew -----------------------------------------------------------------------


def test_a_finished_run_is_aligned_anew_to_the_same_numbers_and_without_a_model(whole):
    again = align(whole.path, ",".join(LEARNED))
    assert {each.align: each.metrics for each in again.results[1:]} == {each.align: each.metrics for each in whole.results}
    assert not again.lacking


def test_fewer_rows_of_a_seed_and_other_techniques_on_the_same_outputs_need_no_new_run(tmp_path):
    task = write_task(tmp_path / "task")
    made = run(task, tmp_path, ["hidden:per_class=8"])
    again = align(made.path, "linear:per_class=8,hidden:per_class=3")
    assert not again.lacking
    alone = run(task, tmp_path, ["hidden:per_class=3"])
    assert again.results[2].metrics == alone.results[0].metrics


def test_what_a_run_has_not_read_is_named_with_the_command_that_would_read_it(tmp_path):
    made = run(write_task(tmp_path / "task"), tmp_path, ["hidden:per_class=8"])
    again = align(made.path, "hidden:layer=0:per_class=8,hidden:per_class=9,linear:seed=1,knn:per_class=8:tokens=7,batch")
    assert [each.reason for each in again.lacking] == [
        "the run has not read hidden states of layer 0",
        "the run has not read 9 labeled rows of each label",
        "the run has not read 16 labeled rows of each label",
        "the run has not read the log-probabilities of the 7 tokens that are likeliest for 8 labeled rows of each label",
        "the run has not read rows of the fit part",
    ]
    assert again.command is not None
    assert again.command.endswith("8:layer=0,hidden:per_class=9,linear:seed=1,knn:per_class=8:tokens=7,batch")


def test_tokens_chosen_on_other_rows_and_too_many_neighbors_are_said_to_be_what_is_missing(tmp_path):
    task = write_task(tmp_path / "task")
    with refused(InputError, "too-few-labeled-rows", calibration="knn", given=8, needed=9) as error:
        run(task, tmp_path, ["knn:per_class=4:tokens=9:k=9"])
    made = run(task, tmp_path, ["knn:per_class=4:tokens=9"])
    again = align(made.path, "knn:per_class=3:tokens=9,knn:per_class=4:tokens=9:k=9,knn:per_class=4:tokens=9:k=8")
    assert [each.reason for each in again.lacking] == [
        "the run has not read the log-probabilities of the 9 tokens that are likeliest for 3 labeled rows of each label",
        str(error.value),
    ]
    assert again.results[1].align == "knn:per_class=4:k=8:tokens=9"


def test_hidden_states_are_not_promised_of_an_engine_that_has_none(tmp_path, monkeypatch):
    made = run(write_task(tmp_path / "task"), tmp_path, ["knn:per_class=4"])
    monkeypatch.setitem(ENGINES, "fake", ENGINES["fake"]._replace(hidden_states=False))
    again = align(made.path, "hidden:per_class=4")
    assert again.lacking[0].reason == "its engine gives no hidden states of layer 0.6"
    assert again.command is None


# ---- transformers -----------------------------------------------------------------------------------------


def test_what_a_batch_over_a_shared_prefix_has_read_is_what_each_row_alone_gives(tmp_path):
    task, model = write_task(tmp_path / "task"), pk.load(str(save(tmp_path / "model", "llama")))
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.balanced(k=2))
    calibration = build("calibration", CALIBRATIONS, "knn:per_class=2:tokens=9")
    states = build("calibration", CALIBRATIONS, "hidden:per_class=2:layer=-1")
    made = [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), each]) for each in (calibration, states)]
    run = evaluate(made, task, limit=6, out=tmp_path, cache=False)
    seen = observed(run)
    rows = {row.id: row for row in (*task.rows("test"), *task.part("fit"))}
    bound = made[0].bind(task)
    ((top, places),) = seen.sets()
    tokens = tuple(seen.told["token_ids"][place] for place in places)
    for row, logprobs, hidden in zip(
        seen.told["rows"], seen.tokens(seen.told["rows"])[top], seen.hidden(seen.told["rows"])[-1], strict=True
    ):
        (rendered,) = bound.apply([rows[row.removeprefix("fit ")]])
        ((_, (alone,)),) = model.answer([Request(input=rendered.input, verb=Read(token_ids=tokens, hidden_layer=-1))])
        np.testing.assert_allclose(logprobs, alone.logprobs, atol=1e-4)
        np.testing.assert_allclose(hidden, alone.hidden.numpy(), atol=1e-4)
