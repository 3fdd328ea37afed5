"""Encoder-decoders on the hf engine, compared with a plain forward pass of transformers on one prompt and one answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.core.arrays import zeros
from promptkit.core.errors import ModelError, TemplateError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions, KVPrefix
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Generate, Read, Request
from promptkit.models.client import CachedModel
from promptkit.models.hf.encoder_decoder_lm import EncoderDecoderLM
from tests.support.bidirectional import ENCODER_DECODERS, make
from tests.support.errors import refused
from tests.support.hf_models import TEXTS, LoadModel, answer, numbers, rendered_rows, requests_of

WORDS = {"negative": "bad and dull", "positive": "good"}


def prompt_text(text: str) -> str:
    return f"Decide whether each review is bad and dull or good.\n\nReview: {text}\nSentiment:"


def loss_logprobs(model: Any, tokenizer: Any, prompt: str, label: str) -> list[float]:
    """The log-probability of each token of a label by the loss of transformers, without a token that begins every target."""
    ids, labels = (torch.tensor([row]) for row in (tokenizer(prompt).input_ids, tokenizer(text_target=label).input_ids))
    logits = model(input_ids=ids, labels=labels).logits[0].log_softmax(-1)
    scores = logits.gather(1, labels[0][:, None])[:, 0].tolist()
    return scores[1:] if labels[0, 0] == tokenizer.bos_token_id else scores


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_labels_are_scored_as_by_the_loss_of_transformers(load: LoadModel, kind: str) -> None:
    model, tokenizer = make(kind)
    loaded = load(kind, batch_tokens=96)
    for text, output in zip(TEXTS, answer(loaded, requests_of(rendered_rows(loaded, TEXTS, WORDS))), strict=True):
        expected = [loss_logprobs(model, tokenizer, prompt_text(text), word) for word in WORDS.values()]
        assert [len(row) for row in output.logprobs] == [len(row) for row in expected]
        assert numbers(output) == pytest.approx([x for row in expected for x in row], abs=1e-4)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_prompts_and_labels_equal_the_tokenizers_own_encoding(load: LoadModel, kind: str) -> None:
    loaded, tokenizer = load(kind), make(kind)[1]
    for text, row in zip(TEXTS, rendered_rows(loaded, TEXTS, WORDS), strict=True):
        assert list(row.input.ids) == tokenizer(prompt_text(text)).input_ids
        assert row.input.spans[-1].part == "frame"
        assert row.targets == tuple(WORDS.values())
        targets = [tokenizer(text_target=word).input_ids for word in WORDS.values()]
        begins = targets[0][:1] if kind == "bart" else []
        assert [[*begins, *ids] for ids in row.continuations] == targets


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_greedy_texts_equal_those_of_transformers(load: LoadModel, kind: str) -> None:
    model, tokenizer = make(kind)
    loaded = load(kind, batch_tokens=200)
    inputs = [row.input for row in rendered_rows(loaded, TEXTS, WORDS)]
    outputs = answer(loaded, [Request(input=prompt, verb=Generate(max_tokens=7)) for prompt in inputs])
    for prompt, output in zip(inputs, outputs, strict=True):
        given = {"decoder_input_ids": torch.tensor([[2, 0]])} if kind in ("bart", "mbart") else {}
        model.generation_config.forced_eos_token_id = None
        ids = model.generate(
            torch.tensor([prompt.ids]), max_new_tokens=7 + (kind == "bart-forced"), do_sample=False, use_cache=False, **given
        )
        (generation,) = output.generations
        begins = 1 if kind.startswith("t5") else 2
        assert [*generation.ids] == ids[0, begins:].tolist()
        written = [i for i in generation.ids if i != tokenizer.eos_token_id]
        assert generation.text == tokenizer.decode(written, clean_up_tokenization_spaces=False)


def test_samples_do_not_depend_on_the_batch(load: LoadModel) -> None:
    loaded = load("t5")
    verb = Generate(max_tokens=6, n=3, temperature=1.0, seed=4)
    requests = [row.request(verb) for row in rendered_rows(loaded, TEXTS, WORDS)]
    together = answer(loaded, requests)
    small = load("t5", batch_tokens=1)
    assert [answer(small, [request])[0] for request in requests] == together
    texts = [text.text for output in together for text in output.generations]
    assert len(set(texts)) > len(requests)
    (rest,) = answer(
        loaded, [Request(input=requests[0].input, verb=Generate(max_tokens=6, n=3, known=1, temperature=1.0, seed=4))]
    )
    assert rest.generations == together[0].generations[1:]


def test_stop_strings_and_ends_end_a_text(load: LoadModel) -> None:
    loaded = load("bart-forced")
    (prompt, *_) = (row.input for row in rendered_rows(loaded, TEXTS, WORDS))
    (whole,) = answer(loaded, [Request(input=prompt, verb=Generate(max_tokens=8))])
    text = whole.generations[0].text
    stop = text[len(text) // 2]
    (cut,) = answer(loaded, [Request(input=prompt, verb=Generate(max_tokens=8, stop=(stop,)))])
    assert cut.generations[0].text == text[: text.index(stop)]
    assert cut.generations[0].ended == "stop"


def test_the_encoder_reads_each_prompt_once(load: LoadModel) -> None:
    loaded = load("t5", batch_tokens=64)
    requests = requests_of(rendered_rows(loaded, TEXTS, WORDS))
    loaded.load()
    encoded: list[int] = []
    loaded._forward.model.get_encoder().register_forward_hook(
        lambda module, args, kwargs, output: encoded.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    answer(loaded, requests)
    assert sum(encoded) == len(requests)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_reading_equals_transformers(load: LoadModel, kind: str) -> None:
    model, _ = make(kind)
    loaded = load(kind)
    inputs = [row.input for row in rendered_rows(loaded, TEXTS, WORDS)]
    start = torch.tensor([[0] if kind == "t5" else [2, 0]])
    verbs = [Read(token_ids=(7, 9), top_m=3, hidden_layer=layer) for layer in (0, 1, 3, -1)]
    verbs += [Read(hidden_layer=layer, mean_from=first) for layer in (-1, 1) for first in (0, 2)]
    outputs = iter(answer(loaded, [Request(input=prompt, verb=verb) for prompt in inputs for verb in verbs]))
    for prompt in inputs:
        plain = model(input_ids=torch.tensor([prompt.ids]), decoder_input_ids=start, output_hidden_states=True)
        logprobs = plain.logits[0, -1].log_softmax(-1)
        best = logprobs.topk(3)
        for verb in verbs:
            output = next(outputs)
            if verb.mean_from is None:
                state = plain.decoder_hidden_states[verb.hidden_layer][0, -1]
                assert output.logprobs == pytest.approx(logprobs[[7, 9]].tolist(), abs=1e-4)
                assert [token for token, _ in output.top] == best.indices.tolist()
            else:
                state = plain.encoder_hidden_states[verb.hidden_layer][0, verb.mean_from :].mean(0)
            assert output.hidden.numpy() == pytest.approx(state.numpy(), abs=1e-4)


def test_a_calibration_with_hidden_states_counts_the_layers_of_the_decoder(load: LoadModel) -> None:
    assert load("bart").card.layers == 3
    assert load("t5").card.layers == 3


def test_capabilities_are_declared_and_refused_before_weights_load(load: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    loaded = load("t5")
    monkeypatch.setattr(transformers.AutoModelForSeq2SeqLM, "from_pretrained", lambda *_, **__: pytest.fail("weights loaded"))
    assert "prefixes" not in loaded.capabilities
    assert "Generate" in loaded.capabilities
    words = pk.Verbalizer(WORDS)
    for learned in (pk.Prefix(3), pk.SteeringVector((1,)), pk.LoReFT(rank=1)):
        with refused(Unsupported, "no-prefixes-or-edits", model=loaded.name, manipulation=learned.name):
            pk.Predictor(loaded, [pk.Prompt("sentiment/review"), learned], words)
    prefix = KVPrefix(length=1, layers=(1,), keys=zeros(1, 4), values=zeros(1, 4))
    request = Request(input=TextInput(ids=(5, 1)), verb=Read(top_m=1), interventions=Interventions(prefixes=(prefix,)))
    with refused(Unsupported, "no-prefixes-or-edits", model=loaded.name):
        answer(loaded, [request])
    with refused(Unsupported, "not-causal", model=loaded.name):
        loaded.keys_values((5, 6))
    with refused(Unsupported, "not-causal", model=loaded.name):
        loaded.heads()
    with refused(Unsupported, "needs-causal-model", option="channel"):
        rendered_rows(loaded, TEXTS, WORDS, channel=True)


def test_a_label_without_tokens_is_refused(load: LoadModel) -> None:
    bound = pk.Prompt("sentiment/review").bind(
        BindContext(ask=CachedModel(load("t5")), reader=pk.Verbalizer({"a": " ", "b": "x"}))
    )
    with refused(TemplateError, "empty-target", target=""):
        bound([Example(id="a", inputs={"text": "a"})])


def test_a_model_without_a_start_token_is_refused() -> None:
    model, _ = make("t5")
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = settings.bos_token_id = None
    with refused(ModelError, "no-decoder-start", model_type="t5"):
        EncoderDecoderLM(model)


def test_the_kind_of_model_is_part_of_its_identity(load: LoadModel) -> None:
    assert "EncoderDecoderBackend" in load("t5").identity().values()
