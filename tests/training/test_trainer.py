"""Training: gradients that are transformers' own, and one result whatever was interrupted."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import CheckpointError, InputError, TaskError, TrainingError
from promptkit.core.inputs import Interventions, TextInput
from promptkit.core.requests import Request, Score
from promptkit.models.hf.tensors import array_of
from promptkit.training.recipe import TrainingConfig
from promptkit.training.trainer import check
from tests.support.errors import refused
from tests.support.tiny import CONFIGS, make_model, save, save_reviews


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training")
    save(path / "model", "gemma3")
    save_reviews(path, 120)
    save_reviews(path, 120, template="t.j2", answer="first_line")
    (path / "t.j2").write_text("{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}")
    return path


def predictor(folder: Path, *changes: Any, model: Any = None, align: Any = None) -> pk.Predictor:
    loaded = model or pk.load(str(folder / "model"))
    words = align or pk.Verbalizer({"no": "bad", "yes": "good"})
    return pk.Predictor(loaded, [pk.Prompt("sentiment/review"), *(changes or (pk.SoftPrompt(3),))], words)


def trained(folder: Path, out: Path, **recipe: Any) -> Any:
    given = {"steps": 8, "batch_size": 6, "eval_every": 2, "dev": 12, **recipe}
    return pk.train(predictor(folder), pk.task(folder / "task.yaml"), out=out, cache=False, **given)


# ---- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_and_gradients_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    """Frozen tokens before the vectors, vectors in the middle, labels of several tokens, in parts of a batch."""
    model: Any = pk.load(str(save(tmp_path, kind)), batch_tokens=50)
    rows = torch.randn((3, 32), generator=torch.Generator().manual_seed(1))
    head, words = tuple(range(20, 32)), ((5, 6), (5, 7, 8), (9,))
    asked = [
        Request(
            input=TextInput(ids=(*head, -1, -2, 40 + i, -3, *range(50, 53 + i)), vectors=array_of(rows)),
            verb=Score(continuations=words),
        )
        for i in range(4)
    ]
    weight = torch.randn(6, generator=torch.Generator().manual_seed(2))
    learned = rows.clone().requires_grad_()
    forward = model.differentiable(asked)
    found = {}
    for part in forward.batches(range(4)):
        for index, scores in zip(part, forward.scores(part, Interventions(vectors=learned)), strict=True):
            found[index] = torch.cat(scores)
            (found[index] @ weight).backward(retain_graph=True)
    own, expected = make_model(kind), rows.clone().requires_grad_()
    for index, request in enumerate(asked):
        scores = []
        for word in words:
            whole = torch.tensor([(*request.input.ids, *word)])
            embeds = own.get_input_embeddings()(whole.clamp(min=0)).clone()
            embeds[whole < 0] = expected[-1 - whole[whole < 0]]
            logprobs = own(inputs_embeds=embeds).logits[0].log_softmax(-1)
            first = len(request.input.ids) - 1
            scores += [logprobs[first + place, token] for place, token in enumerate(word)]
        assert found[index].tolist() == pytest.approx([score.item() for score in scores], abs=1e-4)
        (torch.stack(scores) @ weight).backward()
    assert learned.grad is not None
    assert torch.allclose(learned.grad, expected.grad, atol=1e-3, rtol=1e-3)
    assert not any(weight.grad is not None or weight.requires_grad for weight in model._forward.model.parameters())


def test_what_is_frozen_before_the_vectors_is_computed_once(folder: Path) -> None:
    model: Any = pk.load(str(folder / "model"))
    ids = (*range(20, 40), -1, 7)
    asked = [
        Request(input=TextInput(ids=(*ids, i), vectors=array_of(torch.ones(1, 32))), verb=Score(continuations=((5,),)))
        for i in (60, 61)
    ]
    assert model.differentiable(asked)._reuse == 20


# ---- whole trainings ---------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 3))
def test_so_many_rows_of_each_label_are_drawn_by_the_seed_from_the_pool(folder: Path, count: int, seed: int) -> None:
    task = pk.task(folder / "task.yaml")

    def drawn(count: int, seed: int) -> list[Any]:
        rows, _ = check(predictor(folder), task, split=None, recipe=TrainingConfig(per_class=count, seed=seed))
        return [*rows.pool]

    rows = drawn(count, seed)
    assert {row.id for row in rows} <= {row.id for row in task.part("pool")}
    assert [row.label for row in rows].count("yes") == [row.label for row in rows].count("no") == count
    assert {row.id for row in rows} < {row.id for row in drawn(count + 1, seed)}
    assert {row.id for row in drawn(count, seed + 1)} != {row.id for row in rows}


def test_it_learns_from_the_pool_alone_and_leaves_the_model_as_it_was(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    before = {name: weight.clone() for name, weight in make_model("gemma3").state_dict().items()}
    fit = trained(folder, tmp_path, steps=20, learning_rate=0.3)
    assert fit.chosen.loss < fit.looks[0].loss
    assert fit.chosen.better == max(look.better for look in fit.looks)
    model: Any = fit.predictor.model
    assert all(torch.equal(weight, before[name]) for name, weight in model._forward.model.state_dict().items())
    assert fit.rows == {"pool": len(task.part("pool")), "dev": 12}
    run = pk.evaluate(fit.predictor, task, out=tmp_path, split="train", cache=False)
    assert len(run.ids) == len(task.rows("train"))


def test_fewer_rows_of_a_label_than_were_asked_for_are_noted(folder: Path, tmp_path: Path) -> None:
    counts = Counter(row.label for row in pk.task(folder / "task.yaml").part("pool"))
    fit = trained(folder, tmp_path, steps=1, per_class=counts["no"] + 1)
    fewer = [label for label in ("no", "yes") if counts[label] <= counts["no"]]
    told = f"{len(fewer)} of 2 labels have fewer than {counts['no'] + 1} rows to train on: "
    assert fit.notes == (told + ", ".join(f"{label} ({counts[label]})" for label in fewer),)
    assert str(fit).endswith(f"note: {fit.notes[0]}")
    assert fit.to_json()["notes"] == [*fit.notes]
    assert trained(folder, tmp_path, steps=1, per_class=2).notes == ()


def test_labels_outside_pool_and_dev_change_nothing(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    kept = {row.inputs["text"] for part in ("pool", "dev") for row in task.part(part)}  # type: ignore[arg-type]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    other = [row if row["text"] in kept else {**row, "label": "no"} for row in rows]
    assert other != rows
    save_reviews(tmp_path, 120)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    changed = pk.train(
        predictor(folder),
        pk.task(tmp_path / "task.yaml"),
        out=tmp_path,
        cache=False,
        steps=8,
        batch_size=6,
        eval_every=2,
        dev=12,
    )
    assert changed.learned == trained(folder, tmp_path / "own").learned


def test_small_batches_of_tokens_come_to_the_same_losses(folder: Path, tmp_path: Path) -> None:
    task, recipe = pk.task(folder / "task.yaml"), {"steps": 3, "batch_size": 6, "dev": 8}
    fits = [
        pk.train(predictor(folder, model=pk.load(str(folder / "model"), **more)), task, out=tmp_path, cache=False, **recipe)
        for more in ({}, {"batch_tokens": 40}, {"attention": "eager"})
    ]
    for fit in fits[1:]:
        assert fit.losses == pytest.approx(fits[0].losses, abs=1e-3)


def test_two_are_learned_at_once_and_both_are_used(folder: Path, tmp_path: Path) -> None:
    parts = (pk.SoftPrompt(2, init="random"), pk.SoftPrompt(3, place="start"))
    task = pk.task(folder / "task.yaml")
    fit = pk.train(predictor(folder, *parts), task, out=tmp_path, cache=False, steps=3, batch_size=4, dev=8)
    loaded = [pk.load_manipulation(path) for path in fit.saved]
    assert tuple(loaded) == fit.learned
    assert [dict(each.settings())["length"] for each in loaded] == [2, 3]
    again = pk.train(predictor(folder, *loaded), task, out=tmp_path, cache=False, steps=1, batch_size=4, dev=8)
    assert again.looks[0].loss == pytest.approx(fit.chosen.loss, abs=1e-5)


def test_a_text_that_is_to_be_written_becomes_likelier(folder: Path, tmp_path: Path) -> None:
    written = pk.Predictor(
        pk.load(str(folder / "model")), [pk.Prompt(folder / "t.j2"), pk.SoftPrompt(3)], pk.extract.first_line()
    )
    fit = pk.train(written, pk.task(folder / "texts.yaml"), out=tmp_path, cache=False, steps=20, dev=8, learning_rate=0.3)
    assert fit.chosen.loss < fit.looks[0].loss
    assert fit.chosen.accuracy is None
    assert f"dev loss on 8 rows: {fit.looks[0].loss:.3f} before, {fit.chosen.loss:.3f} after" in str(fit)
    assert "accuracy" not in str(fit)


def test_several_are_saved_beside_nothing_of_another_training(folder: Path, tmp_path: Path) -> None:
    task, recipe = pk.task(folder / "task.yaml"), {"steps": 1, "batch_size": 4, "dev": 4, "cache": False, "out": tmp_path}
    one, two = (pk.train(predictor(folder, *[pk.SoftPrompt(2)] * count), task, **recipe) for count in (1, 2))  # type: ignore[arg-type]
    for first, other in ((one, two), (two, one)):
        place = first.save(first.save(tmp_path / first.path.name.partition("-")[2]))
        with refused(CheckpointError, "path-exists", folder=str(place)):
            other.save(place)


def test_a_checkpoint_that_was_changed_is_told(folder: Path, tmp_path: Path) -> None:
    fit = trained(folder, tmp_path)
    file = fit.path / "checkpoint.safetensors"
    whole = bytearray(file.read_bytes())
    whole[-3] ^= 1
    file.write_bytes(whole)
    with refused(CheckpointError, "damaged-checkpoint", file=str(file)):
        trained(folder, tmp_path)
    file.unlink()
    assert trained(folder, tmp_path).losses == fit.losses


def test_any_number_of_steps_begins_at_once(folder: Path, tmp_path: Path) -> None:
    fit = trained(folder, tmp_path, optimizer="spsa", steps=10**9, eval_every=1, patience=1)
    assert len(fit.losses) < 50


def test_rows_that_are_all_evaluated_are_not_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    with refused(TaskError, "rows-are-evaluated", task="sentiment", part="pool", rows=len(pk.task("sentiment").part("pool"))):
        pk.train(predictor(folder, model=pk.load("fake")), pk.task("sentiment"), split="train", optimizer="spsa", out=tmp_path)


def test_by_the_channel_no_text_is_trained(folder: Path, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review_channel", channel=True)
    written = pk.Predictor(pk.load(str(folder / "model")), [prompt, pk.SoftPrompt(3)], pk.extract.first_line())
    with refused(pk.Unsupported, "needs-scored-answers", purpose="channel"):
        pk.train(written, pk.task(folder / "texts.yaml"), out=tmp_path, cache=False, steps=1)


def test_a_training_that_is_broken_off_comes_to_the_very_same(folder: Path, tmp_path: Path) -> None:
    whole = trained(folder, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(done: int, total: int, told: str) -> None:
        if done == 5:
            raise Stop

    task, recipe = pk.task(folder / "task.yaml"), {"steps": 8, "batch_size": 6, "eval_every": 2, "dev": 12}
    with pytest.raises(Stop):
        pk.train(predictor(folder), task, out=tmp_path / "cut", cache=False, progress=stop, **recipe)
    fit = trained(folder, tmp_path / "cut")
    assert fit.resumed == 4
    assert (fit.learned, fit.losses, fit.looks) == (whole.learned, whole.losses, whole.looks)
    read = trained(folder, tmp_path / "cut")
    assert (read.resumed, read.seconds) == (8, fit.seconds)


@pytest.mark.parametrize("kind", ["mlp", "lstm", "residual"])
def test_a_network_is_trained_with_the_vectors_and_its_result_alone_is_kept(kind: Any, folder: Path, tmp_path: Path) -> None:
    task, recipe = (
        pk.task(folder / "task.yaml"),
        {"steps": 10, "batch_size": 6, "eval_every": 2, "dev": 12, "learning_rate": 0.05},
    )
    soft = pk.SoftPrompt(3, reparameterize=kind, width=5)

    def fitted(out: str, **more: Any) -> Any:
        return pk.train(predictor(folder, soft), task, out=tmp_path / out, cache=False, **recipe, **more)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, told: str) -> None:
        if done == 5:
            raise Stop

    whole = fitted("whole")
    assert whole.chosen.loss < whole.looks[0].loss
    with pytest.raises(Stop):
        fitted("cut", progress=stop)
    fit = fitted("cut")
    assert fit.resumed == 4
    assert (fit.learned, fit.losses, fit.looks) == (whole.learned, whole.losses, whole.looks)
    loaded: Any = pk.load_manipulation(fit.path)
    assert (loaded,) == fit.learned
    assert {name: array.shape for name, array in loaded.parameters.items()} == {"vectors": (3, 32)}
    assert fit.trainable > 3 * 32
    recipe["steps"] = 1
    again = pk.train(predictor(folder, loaded), task, out=tmp_path / "again", cache=False, **recipe)
    assert again.looks[0].loss == pytest.approx(fit.chosen.loss, abs=1e-5)
    assert again.trainable == 3 * 32


def test_a_training_that_is_killed_comes_to_the_very_same(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "promptkit", "train", "task.yaml", "--model", str(folder / "model"), "--steps", "60"]
    command += ["--eval-every", "1", "--dev", "8", "--batch-size", "2", "--patience", "99", "--manipulation", "soft:length=2"]
    command += ["--manipulation", "soft:length=2:reparameterize=residual:width=5"]

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, "--out", str(out)], cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)

    cut = start(tmp_path / "cut")
    while not list((tmp_path / "cut").glob("*/checkpoint.safetensors")):
        assert cut.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    assert not list((tmp_path / "cut").rglob("parameters.safetensors"))
    for out in ("cut", "whole"):
        assert start(tmp_path / out).wait() == 0
    found = {out: sorted((tmp_path / out).rglob("parameters.safetensors")) for out in ("cut", "whole")}
    assert [len(files) for files in found.values()] == [2, 2]
    for one, other in zip(*found.values(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_it_stops_where_dev_gets_no_better_and_keeps_the_best(folder: Path, tmp_path: Path) -> None:
    fit = trained(folder, tmp_path, steps=60, eval_every=1, patience=2, learning_rate=1e-9)
    assert len(fit.losses) < 60
    assert "no better in 2 looks" in fit.ended
    assert fit.chosen.step <= len(fit.losses) - 2


def test_a_loss_that_is_no_number_stops_it_with_a_reason(folder: Path, tmp_path: Path) -> None:
    with refused(TrainingError, "diverged", optimizer="adamw", learning_rates=(1e38,)) as error:
        trained(folder, tmp_path, learning_rate=1e38, steps=10)
    assert math.isnan(error.value.fields["loss"])
    assert 0 <= error.value.fields["step"] < 10


def test_the_command_trains_and_eval_uses_it(folder: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from promptkit.cli.main import main

    def typed(*words: str) -> Any:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(
            sys, "argv", ["promptkit", *words, "--model", str(folder / "model"), "--out", str(tmp_path), "--json"]
        )
        with pytest.raises(SystemExit, match="0"):
            main()
        return json.loads(capsys.readouterr().out)

    told = typed("train", "task.yaml", "--manipulation", "soft:length=3:init=labels", "--steps", "4", "--dev", "8")
    assert told["trainable"] == 96
    found = typed("eval", "task.yaml", "--prompt", told["path"])
    soft = pk.load_manipulation(told["path"])
    own = pk.evaluate(predictor(folder, soft), pk.task(folder / "task.yaml"), out=tmp_path / "own", cache=False)
    mine, theirs = ((Path(path) / "samples.jsonl").read_bytes() for path in (own.path, found["run"]))
    assert mine == theirs
    shown = typed("train", "task.yaml", "--shots", "1", "--demos", "random", "--seed", "7", "--steps", "1", "--dev", "4")
    assert "--seed 7" in shown["command"]
    assert "--seed" not in told["command"]
    plain = typed("eval", "task.yaml", "--shots", "0")
    assert (Path(plain["run"]) / "samples.jsonl").read_bytes() != theirs


@pytest.mark.parametrize(
    ("made", "code", "fields"),
    [
        (lambda p, task: pk.train(p, "sst2"), "not-a-task", {"value": "'sst2'"}),
        (
            lambda p, task: pk.train(p, task, stepz=3),
            "unknown-name",
            {"kind": "training keyword", "name": "stepz", "close": ["steps"]},
        ),
        (lambda p, task: pk.train(p, task, steps=0), "out-of-range", {"steps": 0}),
        (lambda p, task: pk.train(p, task, per_class=-1), "out-of-range", {"per_class": -1}),
        (lambda p, task: pk.train(p, task, learning_rate=0.0), "out-of-range", {"learning_rate": 0.0}),
        (
            lambda p, task: pk.train(p, task, schedule="cosin"),
            "unknown-name",
            {"kind": "schedule of a training", "name": "cosin"},
        ),
        (
            lambda p, task: pk.train(p, task, learning_rate="a"),
            "invalid-value",
            {"of": "a training", "keyword": "learning_rate", "value": "'a'"},
        ),
        (lambda p, task: pk.train(p, task, optimizer=3), "invalid-value", {"keyword": "optimizer", "value": "3"}),
        (lambda p, task: pk.train(p, task, optimizer=pk.AdamW), "class-not-object", {"optimizer": "AdamW"}),
    ],
)
def test_what_cannot_be_trained_is_told(folder: Path, made: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        made(predictor(folder), pk.task(folder / "task.yaml"))


def test_a_predictor_that_learns_nothing_is_refused(folder: Path) -> None:
    whole = predictor(folder)
    plain = pk.Predictor(whole.model, pk.Prompt("sentiment/review"), whole.reading)
    with refused(TrainingError, "nothing-to-train", predictor=plain.name):
        pk.train(plain, pk.task(folder / "task.yaml"))


def test_a_model_without_gradients_is_refused(folder: Path, tmp_path: Path) -> None:
    with refused(pk.Unsupported, "no-gradients", model="fake"):
        pk.train(predictor(folder, model=pk.load("fake")), pk.task(folder / "task.yaml"), out=tmp_path)
