"""The demo model, Gemma 3 270M, on real text: held to transformers one prompt at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.align.chain import reading
from promptkit.core.examples import Example
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Score, ScoreOutput
from promptkit.models.files.source import resolve
from promptkit.predictor.predictor import BoundPredictor
from promptkit.runs.run import Run
from promptkit.tasks.sampling import by_hash
from tests.support.paths import DATA as SHARED

pytestmark = pytest.mark.real
needs_data = pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason=f"there is no mirror of data sets at {SHARED}")


@cache
def demo(**settings: Any) -> Any:
    return pk.load("demo", **settings)


@cache
def reference() -> Any:
    """The same folder by transformers alone, as anyone would load it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve("demo").location
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder)


def predictor(task: pk.Task, *, k: int, model: Any = None) -> pk.Predictor:
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.balanced(k=k, seed=0))
    return pk.Predictor(model or demo(), prompt, pk.Verbalizer(task.spec.labels))


def bound_rows(task: pk.Task, k: int, count: int) -> tuple[BoundPredictor, list[Example]]:
    rows = by_hash(task.rows(task.spec.split), count)
    return predictor(task, k=k).bind(task), [Example(id=row.id, inputs=row.inputs) for row in rows]


def one_at_a_time(prompt: str, target: str) -> float:
    """log p(target | prompt) by one forward over the whole text, tokenized by transformers."""
    import torch

    model, tokenizer = reference()
    before = tokenizer(prompt, return_tensors="pt").input_ids
    whole = tokenizer(prompt + target, return_tensors="pt").input_ids
    assert whole[0, : before.shape[1]].tolist() == before[0].tolist()
    answer = whole[0, before.shape[1] :]
    logprobs = model(torch.as_tensor(whole), logits_to_keep=len(answer) + 1).logits[0].log_softmax(-1)
    return sum(logprobs[i, token].item() for i, token in enumerate(answer))


def text_of(rendered: Rendered) -> str:
    return "".join(piece.text for piece in rendered.pieces if not piece.control)


@needs_data
def test_sst2_label_logprobs_equal_one_prompt_at_a_time(tmp_path: Path) -> None:
    task = pk.task("sst2", data=SHARED)
    bound, examples = bound_rows(task, 16, 16)
    rows = bound.apply(examples)
    run = pk.evaluate(predictor(task, k=16), task, limit=16, out=tmp_path)
    recorded = [json.loads(line)["logprobs"] for line in (run.path / "samples.jsonl").read_text().splitlines()]
    worst = max(
        abs(one_at_a_time(text_of(row), target) - line[label])
        for row, line in zip(rows, recorded, strict=True)
        for target, label in zip(row.targets, task.labels, strict=True)
    )
    assert worst < 1e-3


@needs_data
def test_banking77s_77_labels_in_one_row_equal_a_row_a_label() -> None:
    task = pk.task("banking77", data=SHARED)
    bound, rows = bound_rows(task, 0, 2)
    requests = bound.requests(rows)
    assert all(isinstance(r.verb, Score) and len(r.verb.continuations) == 77 for r in requests)

    def scores(model: Any) -> list[float]:
        found: dict[int, ScoreOutput] = {}
        for indices, outputs in model.answer(requests):
            found |= dict(zip(indices, outputs, strict=True))
        return [x for i in sorted(found) for row in found[i].logprobs for x in row]

    packed, plain = scores(demo()), scores(demo(attention="sdpa"))
    assert packed == pytest.approx(plain, abs=1e-4)
    assert len(packed) > 200


@needs_data
def test_every_shipped_task_renders_without_a_warning_for_the_demo_model() -> None:
    from promptkit.evaluation.preview import views

    for name in ("ag_news", "banking77", "cb", "rte", "sst2", "trec"):
        task = pk.task(name, data=SHARED)
        for view in views(predictor(task, k=4), task, split=task.spec.split, n=8):
            assert not [warning for warning in view.warnings if warning.code != "indistinct-labels"], name
            assert view.bos == 1


def test_markers_in_data_do_not_act_on_the_demo_model() -> None:
    tokenizer = demo().card.tokenizer
    control = set(tokenizer.control.values())
    text = "<bos><start_of_turn>user\nhi<end_of_turn><start_of_image>\n\n  <unused3> <table>"
    ids = tokenizer.encode(text).ids
    assert control.isdisjoint(ids)
    assert tokenizer.decode(ids) == text
    plain = "Review: fine\n\n   indented\t<table> tail"
    _, own = reference()
    assert list(tokenizer.encode(plain).ids) == own(plain, add_special_tokens=False).input_ids


def test_a_batch_setting_moves_no_label_logprob_and_flips_no_clear_prediction(tmp_path: Path) -> None:
    task = pk.task("sentiment")

    def run(model: Any) -> Run:
        return pk.evaluate(predictor(task, k=8, model=model), task, limit=24, out=tmp_path)

    one, other = run(demo()), run(demo(batch_tokens=200))
    a, b = one.results[0].logprobs, other.results[0].logprobs
    assert abs(a - b).max() < 1e-4
    clear = abs(a[:, 0] - a[:, 1]) > 1e-3
    assert (a.argmax(1) == b.argmax(1))[clear].all()


def test_a_killed_run_continues_to_the_same_bytes_on_the_real_model(tmp_path: Path) -> None:
    options = ["--limit", "48", "--calibrate", "contextual", "--set", "batch_tokens=200", "--no-cache", "--json"]
    command = [sys.executable, "-m", "promptkit", "eval", "sentiment", *options, "--out"]
    whole = json.loads(subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, check=True).stdout)
    victim = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed" / Path(whole["run"]).name
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _lines(folder / "samples.jsonl"):
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    assert 0 < _lines(folder / "samples.jsonl") < 48
    resumed = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, check=True)
    assert 0 < json.loads(resumed.stdout)["resumed"] < 48
    for name in ("run.json", "samples.jsonl", "support.jsonl", "summary.json"):
        assert (folder / name).read_bytes() == (Path(whole["run"]) / name).read_bytes()


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def written_alone(prompt: str, verb: Generate) -> list[int]:
    """The greedy tokens behind one prompt by transformers' own `generate`, up to its end token."""
    model, tokenizer = reference()
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    whole = model.generate(ids, max_new_tokens=verb.max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    new: list[int] = whole[0, ids.shape[1] :].tolist()
    return new


@pytest.mark.parametrize("name", ["capitals", "arithmetic"])
def test_greedy_texts_are_those_of_transformers_one_prompt_at_a_time(name: str) -> None:
    task, count = pk.task(name), {"capitals": 16, "arithmetic": 3}[name]
    bound = pk.Predictor(demo(), pk.Prompt(task.spec.template, demos=pk.demos.random(k=4)), reading(task)).bind(task)
    rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), count)]
    rendered, requests = bound.apply(rows), bound.requests(rows)
    outputs = {i: output for indices, batch in demo().answer(requests) for i, output in zip(indices, batch, strict=True)}
    for index, prompt in enumerate(rendered):
        (text,) = outputs[index].generations
        alone = written_alone(text_of(prompt), requests[index].verb)
        assert alone[: len(text.ids)] == list(text.ids)


def test_the_bundled_facts_are_known_and_read_from_what_is_written(tmp_path: Path) -> None:
    task = pk.task("capitals")
    predictor = pk.Predictor(demo(), pk.Prompt(task.spec.template, demos=pk.demos.random(k=8)), reading(task))
    metrics = pk.evaluate(predictor, task, limit=64, out=tmp_path).results[0].metrics
    assert metrics["exact_match"]["value"] > 0.6
    assert metrics["no_answer"]["value"] == 0
