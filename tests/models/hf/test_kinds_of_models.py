"""What holds for encoder-decoders and masked language models alike: batches, resumed runs, soft prompts and commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Generate, Read, Request
from promptkit.models.client import CachedModel
from promptkit.training.config import TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.gradients import GradientLosses
from promptkit.training.rows import TrainingRows
from tests.support.bidirectional import ENCODER_DECODERS, MASKED, make
from tests.support.errors import refused
from tests.support.hf_models import LoadModel, answer, numbers, rendered_rows, requests_of
from tests.support.tiny import save_reviews

KINDS = (*ENCODER_DECODERS, *MASKED)
FAMILIES = ("t5", "bart", "bert", "roberta")
WORDS = {"negative": "bad and dull", "positive": "good"}
TEXTS = [
    f"{text} {i}" for i in range(5) for text in ("a good evening", "never again! a bad, dull film\n\nand long", "500", "ok")
]


def values(model: Any, requests: list[Request]) -> list[list[float]]:
    return [numbers(output) for output in answer(model, requests)]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_batch_size_order_or_subset(load: LoadModel, kind: str) -> None:
    model = load(kind)
    requests = requests_of(rendered_rows(model, TEXTS, WORDS))
    requests += [request.prepared.request(Read(token_ids=(5,), hidden_layer=1)) for request in requests[:5]]
    expected = values(model, requests)
    for batch_tokens in (1, 33, 200, 4096):
        other = values(load(kind, batch_tokens=batch_tokens), requests)
        assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(other, expected, strict=True))
    assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(values(model, requests[::-1])[::-1], expected, strict=True))
    assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(values(model, requests[3:9]), expected[3:9], strict=True))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_resumed_plan_recomputes_batches_with_identical_results(load: LoadModel, kind: str) -> None:
    model = load(kind, batch_tokens=128)
    requests = requests_of(rendered_rows(model, TEXTS, WORDS))
    complete = dict(pair for indices, outputs in model.answer(requests) for pair in zip(indices, outputs, strict=True))
    half = frozenset(range(0, len(requests), 2))
    resumed = dict(pair for indices, outputs in model.answer(requests, half) for pair in zip(indices, outputs, strict=True))
    assert set(resumed) >= set(complete) - half
    assert all(resumed[index] == complete[index] for index in resumed)
    assert not [*model.answer(requests, frozenset(range(len(requests))))]


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_as_learned_vectors_equal_the_tokens(load: LoadModel, kind: str) -> None:
    model = load(kind)
    requests = requests_of(rendered_rows(model, TEXTS[:4], WORDS))
    expected = values(model, requests)
    changed = []
    for request in requests:
        ids = request.input.ids
        vectors = model.embed(ids[1:5])
        prompt = TextInput(ids=(ids[0], -1, -2, -3, -4, *ids[5:]))
        changed.append(Request(input=prompt, verb=request.verb, interventions=Interventions(vectors=vectors)))
    assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(values(model, changed), expected, strict=True))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_soft_prompt_is_where_a_plain_forward_pass_has_it(load: LoadModel, kind: str) -> None:
    loaded, (model, tokenizer) = load(kind), make(kind)
    soft = pk.SoftPrompt(3, parameters={"vectors": as_array(np.random.default_rng(0).normal(size=(3, 32)))})
    bound = pk.Predictor(loaded, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS)).manipulate.bind(
        BindContext(ask=CachedModel(loaded), reader=pk.Verbalizer(WORDS))
    )
    (row,) = bound([Example(id="a", inputs={"text": "a good film"})])
    (output,) = answer(loaded, [row.request(Read(token_ids=(5, 6)))])
    first = len(loaded.card.tokenizer.bos)
    mask = f" {tokenizer.mask_token}" if kind in MASKED else ""
    text = f"Decide whether each review is bad and dull or good.\n\nReview: a good film\nSentiment:{mask}"
    ids = tokenizer(text).input_ids
    embeddings = model.get_input_embeddings()(torch.tensor([ids]))
    vectors = torch.from_numpy(soft.parameters["vectors"].numpy().copy())[None]
    embeddings = torch.cat([embeddings[:, :first], vectors, embeddings[:, first:]], dim=1)
    given = {} if kind in MASKED else {"decoder_input_ids": torch.tensor([[0] if kind == "t5" else [2, 0]])}
    at = ids.index(tokenizer.mask_token_id) + 3 if kind in MASKED else -1
    expected = model(inputs_embeds=embeddings, **given).logits[0, at].log_softmax(-1)[[5, 6]]
    assert output.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradients_of_soft_prompts_equal_finite_differences(load: LoadModel, kind: str) -> None:
    model = load(kind)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(2)], pk.Verbalizer(WORDS))
    task, config = pk.task("sentiment"), TrainingConfig(steps=1, batch_size=4, dev=1)
    data = TrainingData(predictor, task, TrainingRows.from_task(task, None, config), config, None)
    losses = GradientLosses(data, model)
    rows = data.batch(0)
    ((name, start),) = data.initial_parameters().items()
    _, slopes = losses.gradient({name: start}, rows)
    gradient, random = slopes[name].numpy(), np.random.default_rng(0).normal(size=start.shape)
    direction = random / np.linalg.norm(random) + gradient / np.linalg.norm(gradient)  # a random one alone can be almost level
    direction /= np.linalg.norm(direction)
    step = 8e-3

    def loss(sign: int) -> float:
        (values,) = losses.row_losses([{name: as_array(start.numpy() + sign * step * direction)}], rows)
        return float(np.mean([value.loss for value in values]))

    slope = float((gradient * direction).sum())
    assert abs(slope) > 1e-2
    assert (loss(1) - loss(-1)) / (2 * step) == pytest.approx(slope, rel=0.01)
    _, again = GradientLosses(data, model, checkpointing=True).gradient({name: start}, rows)
    assert again[name].numpy() == pytest.approx(slopes[name].numpy(), abs=1e-6)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_soft_prompt_trains_is_saved_and_predicts_the_same(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model = load(kind)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(4)], pk.Verbalizer(WORDS))
    task = pk.task("sentiment")
    settings: dict[str, Any] = {"steps": 12, "batch_size": 8, "eval_every": 4, "dev": 12, "learning_rate": 0.3}
    before = {name: weight.clone() for name, weight in model._forward.model.state_dict().items()}
    result = pk.train(predictor, task, out=tmp_path, cache=False, **settings)
    assert result.best.loss < result.dev_evaluations[0].loss
    assert all(torch.equal(before[name], weight) for name, weight in model._forward.model.state_dict().items())
    (learned,) = result.learned
    again = pk.load_manipulation(pk.save_manipulation(learned, tmp_path / "soft"))
    run, other = (
        pk.evaluate(
            pk.Predictor(model, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS)),
            task,
            limit=10,
            out=tmp_path / name,
            cache=False,
        )
        for name, soft in (("one", learned), ("other", again))
    )
    assert (run.path / "samples.jsonl").read_bytes() == (other.path / "samples.jsonl").read_bytes()


@pytest.mark.parametrize("kind", FAMILIES)
def test_generation_only_where_it_is_declared(load: LoadModel, kind: str) -> None:
    model = load(kind)
    assert ("Generate" in model.capabilities) == (kind in ENCODER_DECODERS)
    if kind in ENCODER_DECODERS:
        (output,) = answer(model, [Request(input=TextInput(ids=(5, 6)), verb=Generate(max_tokens=2))])
        assert len(output.generations[0].ids) <= 2


def promptkit(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_commands_train_evaluate_and_resume(load: LoadModel, kind: str, tmp_path: Path) -> None:
    folder = load(kind).name
    save_reviews(tmp_path, 120)
    common = (tmp_path / "task.yaml", "--model", folder, "--out", tmp_path / "runs", "--json")
    shown = promptkit("render", *common[:3], "--json", "--shots", 0, "--tokens")["rows"][0]
    assert ("[MASK]" in shown["prompt"]) == (kind == "bert")
    assert shown["targets"] == ["bad", "good"]
    text = (
        CliRunner().invoke(app, ["render", str(tmp_path / "task.yaml"), "--model", folder, "--shots", "0", "--tokens"]).output
    )
    assert ("[MASK]" in text) == (kind == "bert")
    assert "answers scored" in text
    evaluated = promptkit("eval", *common, "--shots", 2, "--calibrate", "contextual,pmi,batch:rows=4", "--limit", 8)
    assert [result["align"] for result in evaluated["results"]] == ["verbalizer", "contextual", "pmi", "batch:rows=4"]
    samples = Path(evaluated["run"]) / "samples.jsonl"
    rows = samples.read_bytes()
    (Path(evaluated["run"]) / "summary.json").unlink()
    samples.write_bytes(b"".join(rows.splitlines(keepends=True)[:3]))
    resumed = promptkit("eval", *common, "--shots", 2, "--calibrate", "contextual,pmi,batch:rows=4", "--limit", 8, "--no-cache")
    assert resumed["resumed"] == 3
    assert samples.read_bytes() == rows
    trained = promptkit("train", *common, "--manipulation", "soft:length=3", "--steps", 3, "--dev", 4, "--batch-size", 4)
    scored = promptkit(*shlex.split(trained["command"])[1:], "--limit", 8, "--json", "--out", tmp_path / "runs")
    assert scored["n"] == 8


@pytest.mark.parametrize("kind", FAMILIES)
def test_probes_and_similar_demonstrations_read_hidden_states(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model = load(kind)
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Similar(k=2))
    probes = (pk.probes.HiddenCalibration(), pk.probes.KNNPrompting(), pk.probes.AutomaticVerbalizer())
    predictors = [pk.Predictor(model, prompt, [pk.Verbalizer(WORDS), probe]) for probe in probes]
    run = pk.evaluate(predictors, pk.task("sentiment"), limit=6, out=tmp_path)
    assert len(run.results) >= 3


def test_a_soft_prompt_needs_room_in_the_context(load: LoadModel) -> None:
    with refused(InputError, "no-room-for-prompt", tokens=256):
        pk.Predictor(load("bert"), [pk.Prompt("sentiment/review"), pk.SoftPrompt(256)], pk.Verbalizer(WORDS))


@pytest.mark.parametrize("kind", FAMILIES)
def test_trigger_tokens_are_searched_by_gradients(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model = load(kind)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.TriggerTokens(2)], pk.Verbalizer(WORDS))
    result = pk.train(predictor, pk.task("sentiment"), out=tmp_path, cache=False, steps=4, batch_size=8, dev=12, eval_every=2)
    assert result.best.loss <= result.dev_evaluations[0].loss
    (ids,) = (learned.parameters["ids"].numpy() for learned in result.learned)
    assert not {int(token) for token in ids} & set(model.card.tokenizer.control.values())


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_soft_prompt_trains_on_texts_that_the_decoder_writes(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model = load(kind)
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    (tmp_path / "t.j2").write_text(template)
    save_reviews(tmp_path, 60, template="t.j2", answer="first_line")
    predictor = pk.Predictor(model, [pk.Prompt(template), pk.SoftPrompt(3)], pk.extract.FirstLine())
    task = pk.task(str(tmp_path / "texts.yaml"))
    result = pk.train(predictor, task, out=tmp_path, cache=False, steps=8, batch_size=8, dev=8, eval_every=4, learning_rate=0.3)
    assert result.best.loss < result.dev_evaluations[0].loss


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_the_encoder_reads_a_chain_of_thought_before_the_answer(load: LoadModel, kind: str, tmp_path: Path) -> None:
    model, tokenizer = load(kind), make(kind)[1]
    prompt = pk.Prompt("sentiment/review", cot=pk.cot.ZeroShot(max_tokens=4))
    bound = prompt.bind(BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS)))
    (row,) = bound([Example(id="a", inputs={"text": "a good film"})])
    shown = "".join(piece.text for piece in row.pieces if not piece.control)
    assert shown.startswith("Decide whether each review is bad and dull or good.\n\nReview: a good film\nSentiment:")
    assert "step by step" in shown
    assert list(row.input.ids) == tokenizer(shown).input_ids
    assert row.targets == tuple(WORDS.values())
    run = pk.evaluate(pk.Predictor(model, prompt, pk.Verbalizer(WORDS)), pk.task("sentiment"), limit=3, out=tmp_path)
    assert run.to_json()["n"] == 3


@pytest.mark.parametrize("kind", FAMILIES)
def test_sixteen_bit_weights_and_mixed_precision_are_close(load: LoadModel, kind: str, tmp_path: Path) -> None:
    full, low = load(kind), load(kind, dtype="bfloat16")
    expected_rows, actual_rows = (values(model, requests_of(rendered_rows(model, TEXTS, WORDS))) for model in (full, low))
    for expected, actual in zip(expected_rows, actual_rows, strict=True):
        assert actual == pytest.approx(expected, abs=0.5)
    if kind in ENCODER_DECODERS:
        answer(low, [Request(input=TextInput(ids=(5, 6)), verb=Generate(max_tokens=3))])
    predictor = pk.Predictor(full, [pk.Prompt("sentiment/review"), pk.SoftPrompt(2)], pk.Verbalizer(WORDS))
    settings: dict[str, Any] = {"steps": 4, "batch_size": 4, "dev": 4, "eval_every": 2, "mixed_precision": "bf16"}
    result = pk.train(predictor, pk.task("sentiment"), out=tmp_path, cache=False, **settings)
    assert len(result.losses) == 4
