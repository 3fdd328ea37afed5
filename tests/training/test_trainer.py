"""Training: gradients equal those of transformers, and an interrupted training run resumes exactly."""

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
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Request, Score
from promptkit.models.hf.tensors import array_of
from promptkit.training.checks import check
from promptkit.training.config import TrainingConfig
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


def predictor(folder: Path, *modifiers: Any, model: Any = None, align: Any = None) -> pk.Predictor:
    loaded = model or pk.load(str(folder / "model"))
    words = align or pk.Verbalizer({"no": "bad", "yes": "good"})
    return pk.Predictor(loaded, [pk.Prompt("sentiment/review"), *(modifiers or (pk.SoftPrompt(3),))], words)


def trained(folder: Path, out: Path, **config: Any) -> Any:
    given = {"steps": 8, "batch_size": 6, "eval_every": 2, "dev": 12, **config}
    return pk.train(predictor(folder), pk.task(folder / "task.yaml"), out=out, cache=False, **given)


# ---- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_and_gradients_equal_transformers(kind: str, tmp_path: Path) -> None:
    """Covers frozen tokens before the vectors, labels of several tokens, and a batch computed in parts."""
    model: Any = pk.load(str(save(tmp_path, kind)), batch_tokens=50)
    rows = torch.randn((3, 32), generator=torch.Generator().manual_seed(1))
    head, words = tuple(range(20, 32)), ((5, 6), (5, 7, 8), (9,))
    requests = [
        Request(
            input=TextInput(ids=(*head, -1, -2, 40 + i, -3, *range(50, 53 + i))),
            verb=Score(continuations=words),
            interventions=Interventions(vectors=array_of(rows)),
        )
        for i in range(4)
    ]
    weight = torch.randn(6, generator=torch.Generator().manual_seed(2))
    learned = rows.clone().requires_grad_()
    forward = model.differentiable(requests)
    actual = {}
    for part in forward.batches(range(4)):
        for index, scores in zip(part, forward.scores(part, Interventions(vectors=learned)), strict=True):
            actual[index] = torch.cat(scores)
            (actual[index] @ weight).backward(retain_graph=True)
    reference, expected = make_model(kind), rows.clone().requires_grad_()
    for index, request in enumerate(requests):
        scores = []
        for word in words:
            full = torch.tensor([(*request.input.ids, *word)])
            embeds = reference.get_input_embeddings()(full.clamp(min=0)).clone()
            embeds[full < 0] = expected[-1 - full[full < 0]]
            logprobs = reference(inputs_embeds=embeds).logits[0].log_softmax(-1)
            first = len(request.input.ids) - 1
            scores += [logprobs[first + place, token] for place, token in enumerate(word)]
        assert actual[index].tolist() == pytest.approx([score.item() for score in scores], abs=1e-4)
        (torch.stack(scores) @ weight).backward()
    assert learned.grad is not None
    assert torch.allclose(learned.grad, expected.grad, atol=1e-3, rtol=1e-3)
    assert not any(weight.grad is not None or weight.requires_grad for weight in model._forward.model.parameters())


def test_a_frozen_prefix_is_computed_once(folder: Path) -> None:
    model: Any = pk.load(str(folder / "model"))
    ids = (*range(20, 40), -1, 7)
    verb, learned = Score(continuations=((5,),)), Interventions(vectors=array_of(torch.ones(1, 32)))
    requests = [Request(input=TextInput(ids=(*ids, i)), verb=verb, interventions=learned) for i in (60, 61)]
    assert model.differentiable(requests)._reuse == 20


# ---- training runs ---------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 3))
def test_per_class_draws_rows_of_each_label_from_the_pool_by_seed(folder: Path, count: int, seed: int) -> None:
    task = pk.task(folder / "task.yaml")

    def drawn(count: int, seed: int) -> list[Any]:
        rows, _ = check(predictor(folder), task, split=None, config=TrainingConfig(per_class=count, seed=seed))
        return [*rows.pool]

    rows = drawn(count, seed)
    assert {row.id for row in rows} <= {row.id for row in task.part("pool")}
    assert [row.label for row in rows].count("yes") == [row.label for row in rows].count("no") == count
    assert {row.id for row in rows} < {row.id for row in drawn(count + 1, seed)}
    assert {row.id for row in drawn(count, seed + 1)} != {row.id for row in rows}


def test_training_lowers_the_loss_and_leaves_the_model_unchanged(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    before = {name: weight.clone() for name, weight in make_model("gemma3").state_dict().items()}
    result = trained(folder, tmp_path, steps=20, learning_rate=0.3)
    assert result.best.loss < result.dev_evaluations[0].loss
    assert result.best.sort_key == max(evaluation.sort_key for evaluation in result.dev_evaluations)
    model: Any = result.predictor.model
    assert all(torch.equal(weight, before[name]) for name, weight in model._forward.model.state_dict().items())
    assert result.rows == {"pool": len(task.part("pool")), "dev": 12}
    run = pk.evaluate(result.predictor, task, out=tmp_path, split="train", allow_seen=True, cache=False)
    assert len(run.ids) == len(task.rows("train"))


def test_labels_with_too_few_rows_are_noted(folder: Path, tmp_path: Path) -> None:
    counts = Counter(row.label for row in pk.task(folder / "task.yaml").part("pool"))
    result = trained(folder, tmp_path, steps=1, per_class=counts["no"] + 1)
    fewer = [label for label in ("no", "yes") if counts[label] <= counts["no"]]
    expected = f"{len(fewer)} of 2 labels have fewer than {counts['no'] + 1} rows to train on: "
    assert result.notes == (expected + ", ".join(f"{label} ({counts[label]})" for label in fewer),)
    assert str(result).endswith(f"note: {result.notes[0]}")
    assert result.to_json()["notes"] == [*result.notes]
    assert trained(folder, tmp_path, steps=1, per_class=2).notes == ()


def test_labels_outside_pool_and_dev_are_not_used(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    used = {row.inputs["text"] for part in ("pool", "dev") for row in task.part(part)}
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    other = [row if row["text"] in used else {**row, "label": "no"} for row in rows]
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


def test_losses_do_not_depend_on_batch_tokens_or_attention(folder: Path, tmp_path: Path) -> None:
    task, config = pk.task(folder / "task.yaml"), {"steps": 3, "batch_size": 6, "dev": 8}
    results = [
        pk.train(predictor(folder, model=pk.load(str(folder / "model"), **options)), task, out=tmp_path, cache=False, **config)
        for options in ({}, {"batch_tokens": 40}, {"attention": "eager"})
    ]
    for result in results[1:]:
        assert result.losses == pytest.approx(results[0].losses, abs=1e-3)


def test_two_soft_prompts_train_together_and_both_are_used(folder: Path, tmp_path: Path) -> None:
    parts = (pk.SoftPrompt(2, init="random"), pk.SoftPrompt(3, place="start"))
    task = pk.task(folder / "task.yaml")
    result = pk.train(predictor(folder, *parts), task, out=tmp_path, cache=False, steps=3, batch_size=4, dev=8)
    loaded = [pk.load_manipulation(path) for path in result.saved]
    assert tuple(loaded) == result.learned
    assert [dict(entry.settings())["length"] for entry in loaded] == [2, 3]
    again = pk.train(predictor(folder, *loaded), task, out=tmp_path, cache=False, steps=1, batch_size=4, dev=8)
    assert again.dev_evaluations[0].loss == pytest.approx(result.best.loss, abs=1e-5)


def test_training_for_generated_texts_lowers_their_loss(folder: Path, tmp_path: Path) -> None:
    written = pk.Predictor(
        pk.load(str(folder / "model")), [pk.Prompt(folder / "t.j2"), pk.SoftPrompt(3)], pk.extract.FirstLine()
    )
    result = pk.train(written, pk.task(folder / "texts.yaml"), out=tmp_path, cache=False, steps=20, dev=8, learning_rate=0.3)
    assert result.best.loss < result.dev_evaluations[0].loss
    assert result.best.value is None
    assert f"dev loss on 8 rows: {result.dev_evaluations[0].loss:.3f} before, {result.best.loss:.3f} after" in str(result)
    assert "accuracy" not in str(result)


def test_results_are_not_saved_into_the_folder_of_another_training(folder: Path, tmp_path: Path) -> None:
    task, config = pk.task(folder / "task.yaml"), {"steps": 1, "batch_size": 4, "dev": 4, "cache": False, "out": tmp_path}
    one, two = (pk.train(predictor(folder, *[pk.SoftPrompt(2)] * count), task, **config) for count in (1, 2))
    for first, other in ((one, two), (two, one)):
        place = first.save(first.save(tmp_path / first.path.name.partition("-")[2]))
        with refused(CheckpointError, "path-exists", folder=str(place)):
            other.save(place)


def test_a_damaged_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    result = trained(folder, tmp_path)
    file = result.path / "checkpoint.safetensors"
    full = bytearray(file.read_bytes())
    full[-3] ^= 1
    file.write_bytes(full)
    with refused(CheckpointError, "damaged-checkpoint", file=str(file)):
        trained(folder, tmp_path)
    file.unlink()
    assert trained(folder, tmp_path).losses == result.losses


def test_a_huge_number_of_steps_starts_immediately(folder: Path, tmp_path: Path) -> None:
    result = trained(folder, tmp_path, optimizer="spsa", steps=10**9, eval_every=1, patience=1)
    assert len(result.losses) < 50


def test_the_error_for_evaluated_rows_counts_them(folder: Path, tmp_path: Path) -> None:
    with refused(TaskError, "rows-are-evaluated", task="sentiment", part="pool", rows=len(pk.task("sentiment").part("pool"))):
        pk.train(predictor(folder, model=pk.load("fake")), pk.task("sentiment"), split="train", optimizer="spsa", out=tmp_path)


def test_training_generated_texts_by_the_channel_is_refused(folder: Path, tmp_path: Path) -> None:
    prompt = pk.Prompt("sentiment/review_channel", channel=True)
    written = pk.Predictor(pk.load(str(folder / "model")), [prompt, pk.SoftPrompt(3)], pk.extract.FirstLine())
    with refused(pk.Unsupported, "needs-scored-answers", purpose="channel"):
        pk.train(written, pk.task(folder / "texts.yaml"), out=tmp_path, cache=False, steps=1)


def test_an_interrupted_training_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    full = trained(folder, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Stop

    task, config = pk.task(folder / "task.yaml"), {"steps": 8, "batch_size": 6, "eval_every": 2, "dev": 12}
    with pytest.raises(Stop):
        pk.train(predictor(folder), task, out=tmp_path / "cut", cache=False, progress=stop, **config)
    result = trained(folder, tmp_path / "cut")
    assert result.resumed == 4
    assert (result.learned, result.losses, result.dev_evaluations) == (full.learned, full.losses, full.dev_evaluations)
    read = trained(folder, tmp_path / "cut")
    assert (read.resumed, read.seconds) == (8, result.seconds)


@pytest.mark.parametrize("kind", ["mlp", "lstm", "residual"])
def test_a_reparameterized_prompt_resumes_exactly_and_saves_only_vectors(kind: Any, folder: Path, tmp_path: Path) -> None:
    task, config = (
        pk.task(folder / "task.yaml"),
        {"steps": 10, "batch_size": 6, "eval_every": 2, "dev": 12, "learning_rate": 0.05},
    )
    soft = pk.SoftPrompt(3, reparameterize=kind, width=5)

    def fitted(out: str, **options: Any) -> Any:
        return pk.train(predictor(folder, soft), task, out=tmp_path / out, cache=False, **config, **options)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Stop

    full = fitted("whole")
    assert full.best.loss < full.dev_evaluations[0].loss
    with pytest.raises(Stop):
        fitted("cut", progress=stop)
    result = fitted("cut")
    assert result.resumed == 4
    assert (result.learned, result.losses, result.dev_evaluations) == (full.learned, full.losses, full.dev_evaluations)
    loaded: Any = pk.load_manipulation(result.path)
    assert (loaded,) == result.learned
    assert {name: array.shape for name, array in loaded.parameters.items()} == {"vectors": (3, 32)}
    assert result.trainable > 3 * 32
    config["steps"] = 1
    again = pk.train(predictor(folder, loaded), task, out=tmp_path / "again", cache=False, **config)
    assert again.dev_evaluations[0].loss == pytest.approx(result.best.loss, abs=1e-5)
    assert again.trainable == 3 * 32


def test_a_killed_training_resumes_exactly(folder: Path, tmp_path: Path) -> None:
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
    files = {out: sorted((tmp_path / out).rglob("parameters.safetensors")) for out in ("cut", "whole")}
    assert [len(paths) for paths in files.values()] == [2, 2]
    for one, other in zip(*files.values(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_early_stopping_keeps_the_best_step(folder: Path, tmp_path: Path) -> None:
    result = trained(folder, tmp_path, steps=60, eval_every=1, patience=2, learning_rate=1e-9)
    assert len(result.losses) < 60
    assert len(result.dev_evaluations) - 1 - result.dev_evaluations.index(result.best) == 2
    assert result.best.step <= len(result.losses) - 2


def test_a_loss_that_is_not_finite_is_refused(folder: Path, tmp_path: Path) -> None:
    with refused(TrainingError, "diverged", optimizer="adamw", learning_rates=(1e38,)) as error:
        trained(folder, tmp_path, learning_rate=1e38, steps=10)
    assert math.isnan(error.value.fields["loss"])
    assert 0 <= error.value.fields["step"] < 10


def test_the_command_trains_a_prompt_that_eval_uses(folder: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from promptkit.cli.main import main

    def run(*words: str) -> Any:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(
            sys, "argv", ["promptkit", *words, "--model", str(folder / "model"), "--out", str(tmp_path), "--json"]
        )
        with pytest.raises(SystemExit, match="0"):
            main()
        return json.loads(capsys.readouterr().out)

    output = run("train", "task.yaml", "--manipulation", "soft:length=3:init=labels", "--steps", "4", "--dev", "8")
    assert output["trainable"] == 96
    evaluation = run("eval", "task.yaml", "--prompt", output["path"])
    soft = pk.load_manipulation(output["path"])
    evaluated = pk.evaluate(predictor(folder, soft), pk.task(folder / "task.yaml"), out=tmp_path / "own", cache=False)
    mine, theirs = ((Path(path) / "samples.jsonl").read_bytes() for path in (evaluated.path, evaluation["run"]))
    assert mine == theirs
    seeded = run("train", "task.yaml", "--shots", "1", "--demos", "random", "--seed", "7", "--steps", "1", "--dev", "4")
    assert "--seed 7" in seeded["command"]
    assert "--seed" not in output["command"]
    plain = run("eval", "task.yaml", "--shots", "0")
    assert (Path(plain["run"]) / "samples.jsonl").read_bytes() != theirs


@pytest.mark.parametrize(
    ("action", "code", "fields"),
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
            {"kind": "schedule of the training configuration", "name": "cosin"},
        ),
        (
            lambda p, task: pk.train(p, task, learning_rate="a"),
            "invalid-value",
            {"of": "the training configuration", "keyword": "learning_rate", "value": "'a'"},
        ),
        (lambda p, task: pk.train(p, task, optimizer=3), "not-an-instance", {"keyword": "optimizer", "value": "3"}),
        (lambda p, task: pk.train(p, task, optimizer=pk.AdamW), "not-an-instance", {"value": repr(pk.AdamW)}),
    ],
)
def test_invalid_configurations_are_refused(folder: Path, action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action(predictor(folder), pk.task(folder / "task.yaml"))


def test_a_predictor_without_learnable_manipulations_is_refused(folder: Path) -> None:
    full = predictor(folder)
    plain = pk.Predictor(full.model, pk.Prompt("sentiment/review"), full.reader)
    with refused(TrainingError, "nothing-to-train", predictor=plain.name):
        pk.train(plain, pk.task(folder / "task.yaml"))


def test_a_model_without_gradients_is_refused(folder: Path, tmp_path: Path) -> None:
    with refused(pk.Unsupported, "no-gradients", model="fake"):
        pk.train(predictor(folder, model=pk.load("fake")), pk.task(folder / "task.yaml"), out=tmp_path)
