"""The demo model, Gemma 3 270M, on real text, compared with transformers on one prompt at a time."""

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
from promptkit.align.chain import reader_for
from promptkit.core.examples import Example
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Score, ScoreOutput
from promptkit.models.files.source import resolve
from promptkit.predictor.bound import BoundPredictor
from promptkit.runs.run import Run
from promptkit.tasks.sampling import by_hash
from tests.support.paths import DATA as SHARED

pytestmark = pytest.mark.real
needs_data = pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason=f"there is no mirror of datasets at {SHARED}")


@cache
def demo(**settings: Any) -> Any:
    return pk.load("demo", **settings)


@cache
def reference() -> Any:
    """The model and tokenizer loaded from the same folder with transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve("demo").location
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder)


def predictor(task: pk.Task, *, k: int, model: Any = None) -> pk.Predictor:
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=k, seed=0))
    return pk.Predictor(model or demo(), prompt, pk.Verbalizer(task.spec.labels))


def bound_rows(task: pk.Task, k: int, count: int) -> tuple[BoundPredictor, list[Example]]:
    rows = by_hash(task.rows(task.spec.split), count)
    return predictor(task, k=k).bind(task), [Example(id=row.id, inputs=row.inputs) for row in rows]


def reference_logprob(prompt: str, target: str) -> float:
    """log p(target | prompt) by transformers, with one forward pass over prompt and target."""
    import torch

    model, tokenizer = reference()
    prompt_ids = tokenizer(prompt, return_tensors="pt").input_ids
    ids = tokenizer(prompt + target, return_tensors="pt").input_ids
    assert ids[0, : prompt_ids.shape[1]].tolist() == prompt_ids[0].tolist()
    answer = ids[0, prompt_ids.shape[1] :]
    logprobs = model(torch.as_tensor(ids), logits_to_keep=len(answer) + 1).logits[0].log_softmax(-1)
    return sum(logprobs[i, token].item() for i, token in enumerate(answer))


def text_of(rendered: Rendered) -> str:
    return "".join(piece.text for piece in rendered.pieces if not piece.control)


@needs_data
def test_sst2_label_logprobs_equal_one_prompt_at_a_time(tmp_path: Path) -> None:
    task = pk.task("sst2", data=SHARED)
    bound, examples = bound_rows(task, 16, 16)
    rows = bound.encode(examples)
    run = pk.evaluate(predictor(task, k=16), task, limit=16, out=tmp_path)
    recorded = [json.loads(line)["logprobs"] for line in (run.path / "samples.jsonl").read_text().splitlines()]
    worst = max(
        abs(reference_logprob(text_of(row), target) - line[label])
        for row, line in zip(rows, recorded, strict=True)
        for target, label in zip(row.targets, task.labels, strict=True)
    )
    assert worst < 1e-3


@needs_data
def test_77_labels_scored_together_equal_labels_scored_one_by_one() -> None:
    task = pk.task("banking77", data=SHARED)
    bound, rows = bound_rows(task, 0, 2)
    requests = bound.requests(rows)
    assert all(isinstance(r.verb, Score) and len(r.verb.continuations) == 77 for r in requests)

    def scores(model: Any) -> list[float]:
        by_index: dict[int, ScoreOutput] = {}
        for indices, outputs in model.answer(requests):
            by_index |= dict(zip(indices, outputs, strict=True))
        return [x for i in sorted(by_index) for row in by_index[i].logprobs for x in row]

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


def test_control_tokens_in_data_are_encoded_as_text() -> None:
    tokenizer = demo().card.tokenizer
    control = set(tokenizer.control.values())
    text = "<bos><start_of_turn>user\nhi<end_of_turn><start_of_image>\n\n  <unused3> <table>"
    ids = tokenizer.encode(text).ids
    assert control.isdisjoint(ids)
    assert tokenizer.decode(ids) == text
    plain = "Review: fine\n\n   indented\t<table> tail"
    _, tokenizer_of_transformers = reference()
    assert list(tokenizer.encode(plain).ids) == tokenizer_of_transformers(plain, add_special_tokens=False).input_ids


def test_batch_settings_change_no_label_logprob_and_no_clear_prediction(tmp_path: Path) -> None:
    task = pk.task("sentiment")

    def run(model: Any) -> Run:
        return pk.evaluate(predictor(task, k=8, model=model), task, limit=24, out=tmp_path)

    one, other = run(demo()), run(demo(batch_tokens=200))
    a, b = one.results[0].logprobs, other.results[0].logprobs
    assert abs(a - b).max() < 1e-4
    clear = abs(a[:, 0] - a[:, 1]) > 1e-3
    assert (a.argmax(1) == b.argmax(1))[clear].all()


def test_a_killed_run_resumes_to_the_same_bytes_on_the_real_model(tmp_path: Path) -> None:
    options = ["--limit", "48", "--calibrate", "contextual", "--set", "batch_tokens=200", "--no-cache", "--json"]
    command = [sys.executable, "-m", "promptkit", "eval", "sentiment", *options, "--out"]
    complete = json.loads(
        subprocess.run([*command, str(tmp_path / "complete")], capture_output=True, text=True, check=True).stdout
    )
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed" / Path(complete["run"]).name
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _lines(folder / "samples.jsonl"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert 0 < _lines(folder / "samples.jsonl") < 48
    resumed = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, check=True)
    assert 0 < json.loads(resumed.stdout)["resumed"] < 48
    for name in ("run.json", "samples.jsonl", "support.jsonl", "summary.json"):
        assert (folder / name).read_bytes() == (Path(complete["run"]) / name).read_bytes()


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def reference_generation(prompt: str, verb: Generate) -> list[int]:
    """The tokens that greedy decoding with transformers generates for one prompt."""
    model, tokenizer = reference()
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    output = model.generate(ids, max_new_tokens=verb.max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    new: list[int] = output[0, ids.shape[1] :].tolist()
    return new


@pytest.mark.parametrize("name", ["capitals", "arithmetic"])
def test_greedy_texts_equal_transformers(name: str) -> None:
    task, count = pk.task(name), {"capitals": 16, "arithmetic": 3}[name]
    bound = pk.Predictor(demo(), pk.Prompt(task.spec.template, demos=pk.demos.Random(k=4)), reader_for(task)).bind(task)
    rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), count)]
    rendered, requests = bound.encode(rows), bound.requests(rows)
    outputs = {i: output for indices, batch in demo().answer(requests) for i, output in zip(indices, batch, strict=True)}
    for index, prompt in enumerate(rendered):
        (text,) = outputs[index].generations
        expected = reference_generation(text_of(prompt), requests[index].verb)
        assert expected[: len(text.ids)] == list(text.ids)


def test_the_demo_model_answers_capitals_and_the_answers_are_extracted(tmp_path: Path) -> None:
    task = pk.task("capitals")
    predictor = pk.Predictor(demo(), pk.Prompt(task.spec.template, demos=pk.demos.Random(k=8)), reader_for(task))
    metrics = pk.evaluate(predictor, task, limit=64, out=tmp_path).results[0].metrics
    assert metrics["exact_match"]["value"] > 0.6
    assert metrics["no_answer"]["value"] == 0
