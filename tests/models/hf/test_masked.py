"""Masked language models on the hf engine, compared with a plain forward pass of transformers on one masked text at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.core.errors import ModelError, TemplateError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.models.client import CachedModel
from promptkit.models.hf.masked_lm import MaskedLM
from tests.support.bidirectional import MASKED, make
from tests.support.errors import refused
from tests.support.hf_models import TEXTS, LoadModel, answer, numbers, rendered_rows, requests_of

WORDS = {"negative": "terrible", "positive": "great", "mixed": "so so"}
TEMPLATE = "{% block input %}{{ text }}{% endblock %}{% block target %} It was {{ label }}. Yes{% endblock %}"


def rows_of(
    model: Any, texts: Sequence[str] = TEXTS, template: str = TEMPLATE, words: Mapping[str, str] = WORDS, **options: Any
) -> list[Any]:
    return rendered_rows(model, texts, words, template, **options)


def label_tokens(tokenizer: Any, text: str, label: str, after: str) -> tuple[list[int], list[int]]:
    """The ids of a whole text with a label in it, and the places of the label's tokens."""
    encoding = tokenizer(f"{text}{label}{after}", return_offsets_mapping=True)
    begin, end = len(text), len(text) + len(label)
    begin -= text.endswith(" ") and tokenizer.mask_token == "<mask>"  # which takes the place of the space too
    overlap = [place for place, (a, b) in enumerate(encoding.offset_mapping) if a < end and b > begin]
    return encoding.input_ids, overlap


def pseudo_log_likelihood(model: Any, tokenizer: Any, text: str, label: str, after: str) -> list[float]:
    """The log-probability of each token of a label with only that token masked, one text at a time."""
    ids, places = label_tokens(tokenizer, text, label, after)
    scores = []
    for place in places:
        masked = torch.tensor([[tokenizer.mask_token_id if i == place else token for i, token in enumerate(ids)]])
        scores.append(model(masked).logits[0, place].log_softmax(-1)[ids[place]].item())
    return scores


@pytest.mark.parametrize("kind", MASKED)
def test_labels_have_their_pseudo_log_likelihood(load: LoadModel, kind: str) -> None:
    model, tokenizer = make(kind)
    loaded = load(kind, batch_tokens=96)
    for text, output in zip(TEXTS, answer(loaded, requests_of(rows_of(loaded))), strict=True):
        expected = [pseudo_log_likelihood(model, tokenizer, f"{text} It was ", word, ". Yes") for word in WORDS.values()]
        assert [len(row) for row in output.logprobs] == [len(row) for row in expected]
        assert numbers(output) == pytest.approx([x for row in expected for x in row], abs=1e-4)
    assert len({len(row) for row in expected}) > 1


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_prompt_is_the_tokenizers_own_encoding_with_a_mask(load: LoadModel, kind: str) -> None:
    loaded, tokenizer = load(kind), make(kind)[1]
    for text, row in zip(TEXTS, rows_of(loaded), strict=True):
        assert list(row.input.ids) == tokenizer(f"{text} It was {tokenizer.mask_token}. Yes").input_ids
        assert row.targets == tuple(WORDS.values())
        assert row.rescored_tokens == 0
        at = row.input.ids.index(tokenizer.mask_token_id)
        for word, ids in zip(WORDS.values(), row.continuations, strict=True):
            assert [*row.input.ids[:at], *ids, *row.input.ids[at + 1 :]] == tokenizer(f"{text} It was {word}. Yes").input_ids
        shown = "".join(piece.text for piece in row.pieces)
        before, after = tokenizer.cls_token, tokenizer.sep_token
        assert shown == f"{before}{text} It was {tokenizer.mask_token}. Yes{after}"
        parts = [span.part for span in row.input.spans]
        assert parts == ["frame", *(["query"] if text else []), "target", "frame"]
        assert [(span.start, span.stop) for span in row.input.spans][-1][1] == len(row.input.ids)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_demonstrations_are_complete_texts_before_the_masked_one(load: LoadModel, kind: str) -> None:
    loaded, tokenizer = load(kind), make(kind)[1]
    pool = [LabeledExample(id=f"r{i}", inputs={"text": f"film {i}"}, label="positive") for i in range(2)]
    (row,) = rows_of(loaded, ["a film"], pool=pool, demos=pk.demos.First(k=2), words=WORDS)
    shown = "".join(f"film {i} It was great. Yes\n\n" for i in range(2))
    assert list(row.input.ids) == tokenizer(f"{shown}a film It was {tokenizer.mask_token}. Yes").input_ids


def test_a_label_of_one_token_takes_one_row_and_longer_ones_a_row_for_each_token(load: LoadModel) -> None:
    loaded = load("bert")
    loaded.load()
    rows: list[int] = []
    loaded._forward.model.base_model.register_forward_hook(
        lambda module, args, kwargs, output: rows.append(len(kwargs.get("input_ids", args[0] if args else []))),
        with_kwargs=True,
    )
    ids = (2, 9, 8, 4, 7, 3)
    for continuations, count in ((((5,), (6,), (7,)), 1), (((5,), (6, 7)), 3), (((5, 6), (5, 7)), 3)):
        rows.clear()
        answer(loaded, [Request(input=TextInput(ids=ids), verb=Score(continuations=continuations))])
        assert sum(rows) == count


def test_labels_that_merge_with_the_text_beside_them_are_scored_with_it(load: LoadModel) -> None:
    loaded, (model, tokenizer) = load("roberta"), make("roberta")
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}ood{% endblock %}"
    words = {"positive": "g", "negative": "x"}
    (row,) = rows_of(loaded, ["it was"], template=template, words=words)
    assert row.rescored_tokens > 0
    at = row.input.ids.index(tokenizer.mask_token_id)
    texts = [[*row.input.ids[:at], *ids, *row.input.ids[at + 1 :]] for ids in row.continuations]
    assert texts == [tokenizer(f"it was {word}ood").input_ids for word in words.values()]
    (output,) = answer(loaded, requests_of([row]))
    for ids, scores in zip(texts, output.logprobs, strict=True):
        masked = torch.tensor([[tokenizer.mask_token_id if i == at else token for i, token in enumerate(ids)]])
        assert scores[0] == pytest.approx(model(masked).logits[0, at].log_softmax(-1)[ids[at]].item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_reading_at_the_mask_equals_transformers(load: LoadModel, kind: str) -> None:
    model, tokenizer = make(kind)
    loaded = load(kind)
    inputs = [row.input for row in rows_of(loaded)]
    verbs = [Read(token_ids=(7, 9), top_m=3, hidden_layer=layer) for layer in (0, 1, 3, -1)]
    verbs += [Read(hidden_layer=layer, mean_from=first) for layer in (-1, 1) for first in (0, 2)]
    outputs = iter(answer(loaded, [Request(input=prompt, verb=verb) for prompt in inputs for verb in verbs]))
    for prompt in inputs:
        plain = model(torch.tensor([prompt.ids]), output_hidden_states=True)
        at = prompt.ids.index(tokenizer.mask_token_id)
        logprobs = plain.logits[0, at].log_softmax(-1)
        best = logprobs.topk(3)
        for verb in verbs:
            output, states = next(outputs), plain.hidden_states[verb.hidden_layer][0]
            if verb.mean_from is None:
                assert output.logprobs == pytest.approx(logprobs[[7, 9]].tolist(), abs=1e-4)
                assert [token for token, _ in output.top] == best.indices.tolist()
            state = states[at] if verb.mean_from is None else states[verb.mean_from :].mean(0)
            assert output.hidden.numpy() == pytest.approx(state.numpy(), abs=1e-4)


def test_texts_without_a_mask_have_mean_states_and_nothing_else(load: LoadModel) -> None:
    loaded, (model, _) = load("bert"), make("bert")
    ids = (2, 9, 8, 7, 3)
    (output,) = answer(loaded, [Request(input=TextInput(ids=ids), verb=Read(hidden_layer=-1, mean_from=1))])
    state = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, 1:].mean(0)
    assert output.hidden.numpy() == pytest.approx(state.numpy(), abs=1e-4)
    for masks, verb in ((0, Read(top_m=1)), (0, Read(hidden_layer=1)), (0, Score(continuations=((5,),))), (2, Read(top_m=1))):
        with refused(Unsupported, "not-one-mask", masks=masks):
            answer(loaded, [Request(input=TextInput(ids=(*ids, *[4] * masks)), verb=verb)])


def test_a_model_without_an_attention_mask_computes_rows_of_one_length_together(load: LoadModel) -> None:
    loaded, (model, _) = load("fnet"), make("fnet")
    prompts = [(*tuple(range(5, 5 + length)), 4, *tuple(range(20, 20 + length % 3))) for length in range(1, 7)]
    verb = Score(continuations=((5,), (6, 7), (8, 9, 10)))
    for prompt, output in zip(
        prompts, answer(loaded, [Request(input=TextInput(ids=p), verb=verb) for p in prompts]), strict=True
    ):
        at = prompt.index(4)
        for ids, scores in zip(verb.continuations, output.logprobs, strict=True):
            for place, token in enumerate(ids):
                row = [*prompt[:at], *ids[:place], 4, *ids[place + 1 :], *prompt[at + 1 :]]
                expected = model(torch.tensor([row])).logits[0, at + place].log_softmax(-1)[token]
                assert scores[place] == pytest.approx(expected.item(), abs=1e-4)


def test_a_head_that_needs_all_positions_gives_the_same_scores(load: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("bert")
    expected = [numbers(output) for output in answer(loaded, requests_of(rows_of(loaded)))]
    monkeypatch.setattr(MaskedLM, "head_takes_one_position", False)
    for output, values in zip(answer(loaded, requests_of(rows_of(loaded))), expected, strict=True):
        assert numbers(output) == pytest.approx(values, abs=1e-5)


def test_the_context_counts_the_positions_that_the_model_has(load: LoadModel) -> None:
    assert load("roberta").card.context_length == load("bert").card.context_length == 256
    longest = TextInput(ids=(0, *[9] * 253, 4, 2))
    loaded = load("roberta")
    answer(loaded, [Request(input=longest, verb=Read(top_m=1))])


def test_the_longest_label_counts_for_the_context(load: LoadModel) -> None:
    pool = [LabeledExample(id=f"r{i}", inputs={"text": f"film {i} " * 20}, label="positive") for i in range(9)]
    (row,) = rows_of(load("bert"), ["a film"], pool=pool, demos=pk.demos.First(k=9))
    assert row.dropped
    assert len(row.input.ids) - 1 + max(map(len, row.continuations)) <= 256


def test_capabilities_are_declared_and_refused_before_weights_load(load: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    loaded = load("bert")
    monkeypatch.setattr(transformers.AutoModelForMaskedLM, "from_pretrained", lambda *_, **__: pytest.fail("weights loaded"))
    assert loaded.capabilities.verbs == {"Score", "Read"}
    assert "prefixes" not in loaded.capabilities
    with refused(Unsupported, "cannot-generate", model=loaded.name):
        pk.Predictor(loaded, pk.Prompt("arithmetic/direct"), pk.extract.FinalNumber())
    with refused(Unsupported, "cannot-generate", model=loaded.name):
        answer(loaded, [Request(input=TextInput(ids=(2, 9, 4, 3)), verb=Generate(max_tokens=3))])
    for learned in (pk.Prefix(3), pk.SteeringVector((1,)), pk.LoReFT(rank=1)):
        with refused(Unsupported, "no-prefixes-or-edits", model=loaded.name, manipulation=learned.name):
            pk.Predictor(loaded, [pk.Prompt(TEMPLATE), learned], pk.Verbalizer(WORDS))
    with refused(Unsupported, "cannot-generate", model=loaded.name):
        CachedModel(loaded)([Request(input=TextInput(ids=(2, 9, 4, 3)), verb=Generate(max_tokens=3))])
    for option, value in (("channel", True), ("cot", pk.cot.ZeroShot()), ("chat", True)):
        with refused(Unsupported, "needs-causal-model", option=option):
            rows_of(loaded, **{option: value})
    with refused(Unsupported, "not-causal", model=loaded.name):
        loaded.keys_values((5, 6))
    with refused(Unsupported, "not-causal", model=loaded.name):
        loaded.heads()


@pytest.mark.parametrize(
    "target", ["{{ label }} or {{ label }}", "{{ label }}{% if label == 'great' %}!{% else %}.{% endif %}"]
)
def test_a_template_must_have_the_label_in_one_place(load: LoadModel, target: str) -> None:
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} " + target + "{% endblock %}"
    with refused(TemplateError, "no-single-slot"):
        rows_of(load("bert"), template=template)


def test_filters_of_the_label_apply_to_what_is_scored(load: LoadModel) -> None:
    template = "{% block input %}{{ text }}{% endblock %}{% block target %} It was {{ label | upper }}!{% endblock %}"
    (row,) = rows_of(load("roberta"), ["a"], template=template)
    assert row.targets == ("TERRIBLE", "GREAT", "SO SO")


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    model, tokenizer = make("bert")
    model.save_pretrained(tmp_path)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path)
    with refused(ModelError, "no-mask-token", model=str(tmp_path)):
        _ = pk.load(str(tmp_path)).card


def test_control_tokens_in_data_are_encoded_as_text(load: LoadModel) -> None:
    loaded = load("bert")
    (row,) = rows_of(loaded, ["[MASK] good [SEP] [CLS]"])
    assert [row.input.ids.count(token) for token in (2, 3, 4)] == [1, 1, 1]
    assert len(answer(loaded, requests_of([row]))) == 1


def test_the_kind_of_model_is_part_of_its_identity(load: LoadModel) -> None:
    assert "MaskedBackend" in load("bert").identity().values()
