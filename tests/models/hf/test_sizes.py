"""What is read from configurations: widths, context lengths, end tokens, scaling of positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import CheckpointError, ModelError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import HiddenEdit, Interventions
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.models.client import CachedModel
from promptkit.models.hf.verify import _probes
from tests.support.bidirectional import make
from tests.support.errors import refused
from tests.support.folders import SIZES, llama, read, save_model, score
from tests.support.hf_models import answer, numbers
from tests.support.tiny import VOCABULARY, make_tokenizer

PROMPT = (0, 5, 6, 7)


def opt(**changed: Any) -> Any:
    """An OPT whose embedding is narrower than its states, as that of OPT-350m."""
    sizes = {**SIZES, "word_embed_proj_dim": 16, "ffn_dim": 48, **changed}
    return hf.OPTForCausalLM(hf.OPTConfig(**sizes))


def gemma3n() -> Any:
    """A Gemma 3n, whose layers have several states for each token."""
    config = hf.Gemma3nTextConfig(
        **{**SIZES, "num_key_value_heads": 2, "head_dim": 8},
        layer_types=["sliding_attention", "full_attention"],
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCABULARY,
        num_kv_shared_layers=0,
        laurel_rank=4,
        altup_num_inputs=2,
        activation_sparsity_pattern=[0.0, 0.0],
    )
    return hf.Gemma3nForCausalLM(config)


def with_vector(vectors: Any, ids: tuple[int, ...] = (0, -1, 6, 7)) -> Request:
    return Request(
        input=TextInput(ids=ids),
        verb=Score(continuations=((8, 9), (10,))),
        interventions=Interventions(vectors=as_array(vectors)),
    )


def with_edit(width: int, layer: int = 1) -> Request:
    edit = HiddenEdit(layer=layer, operation="add", last=1, arrays=(as_array(torch.ones(width).numpy()),))
    return Request(input=TextInput(ids=PROMPT), verb=Score(continuations=((8, 9),)), interventions=Interventions(edits=(edit,)))


# ---- layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["packed", "eager"])
@pytest.mark.parametrize("kind", ["llama", "bert", "bart", "t5"])
def test_layers_counted_from_the_last_one(tmp_path: Path, kind: str, attention: str) -> None:
    folder = save_model(tmp_path, llama()) if kind == "llama" else save_model(tmp_path, *make(kind))
    model = pk.load(folder, attention=attention)
    layers = 3 if kind == "bert" else 2  # a mean over the prompt is that of the encoder's states
    for number in range(layers + 1):
        one, other = answer(model, [read(number, mean_from=1), read(number - layers - 1, mean_from=1)])
        assert hidden_of(one) == pytest.approx(hidden_of(other), abs=1e-5)
    for number in (-layers - 2, layers + 1):
        with refused(Unsupported, "no-such-states", layer=number, model_layers=layers):
            answer(model, [read(number, mean_from=1)])


def hidden_of(output: Any) -> list[float]:
    values: list[float] = output.hidden.numpy().tolist()
    return values


# ---- widths --------------------------------------------------------------------------------------------


def test_embedding_narrower_than_the_states(tmp_path: Path) -> None:
    source = opt()
    model = pk.load(save_model(tmp_path, source))
    assert (model.card.embedding_width, model.card.d_model) == (16, 32)
    assert model.embed((5,)).shape == (1, 16)
    as_token, as_vector = answer(model, [score(), with_vector(model.embed((5,)).numpy())])
    assert numbers(as_token) == pytest.approx(numbers(as_vector), abs=1e-5)
    states = source(torch.tensor([PROMPT]), output_hidden_states=True).hidden_states
    (hidden,) = answer(model, [read(1)])
    assert hidden.hidden.numpy() == pytest.approx(states[1][0, -1].numpy(), abs=1e-5)
    assert answer(model, [with_edit(32)])
    with refused(CheckpointError, "wrong-vector-width", width=32, model_width=16):
        answer(model, [with_vector(torch.ones(1, 32).numpy())])
    received: list[Any] = []
    source.model.decoder.project_out.register_forward_pre_hook(lambda module, inputs: received.append(inputs[0]))
    source(torch.tensor([PROMPT]))
    (last,) = answer(model, [read(-1)])  # before it is projected to the width of the embedding
    assert last.hidden.numpy() == pytest.approx(received[0][0, -1].numpy(), abs=1e-5)


def test_soft_prompt_where_the_embedding_is_narrower(tmp_path: Path) -> None:
    model = pk.load(save_model(tmp_path, opt()))
    assert pk.SoftPrompt(3).shapes  # the manipulation knows no width of its own
    vectors = torch.randn(3, model.card.embedding_width, generator=torch.Generator().manual_seed(0)).numpy()
    (output,) = answer(model, [with_vector(vectors, (0, -1, -2, -3, 7))])
    assert all(torch.isfinite(torch.tensor(numbers(output))))


def test_layers_with_several_states_for_each_token(tmp_path: Path) -> None:
    source = gemma3n()
    model = pk.load(save_model(tmp_path, source))
    (last,) = answer(model, [read(-1)])
    expected = source.model(torch.tensor([PROMPT])).last_hidden_state[0, -1]
    assert last.hidden.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    with refused(Unsupported, "unusual-hidden-states", layer=1, d_model=32):
        answer(model, [read(1)])
    with refused(Unsupported, "no-edits", model=model.name):
        answer(model, [with_edit(32)])
    with refused(Unsupported, "no-learned-vectors"):  # a second embedding of each token id goes into every layer
        answer(model, [with_vector(model.embed((5,)).numpy())])


@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_both_forward_passes_read_the_same_last_state(tmp_path: Path, attention: Any) -> None:
    source = gemma3n()
    model = pk.load(save_model(tmp_path, source), attention=attention)
    expected = source.model(torch.tensor([PROMPT])).last_hidden_state[0, 1:].mean(0)
    (mean,) = answer(model, [read(-1, mean_from=1)])
    assert mean.hidden.numpy() == pytest.approx(expected.numpy(), abs=1e-5)


# ---- context length ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (hf.MptConfig(d_model=32, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=VOCABULARY), 64),
        (hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=48), 48),
        (hf.LlamaConfig(**{**SIZES, "max_position_embeddings": 96}), 96),
        (hf.RwkvConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, context_length=80), 80),
        (hf.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2), 2**31),
        (hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4), 2**31),
    ],
    ids=lambda value: value.model_type if isinstance(value, hf.PretrainedConfig) else "",
)
def test_context_length(tmp_path: Path, config: Any, length: int) -> None:
    model = pk.load(save_model(tmp_path, hf.AutoModelForCausalLM.from_config(config)))
    assert model.card.context_length == length


@pytest.mark.parametrize(("kind", "length"), [("t5", 2**31), ("t5", 40), ("llama", 40)])
def test_context_length_of_the_tokenizer_counts_where_the_configuration_has_none(
    tmp_path: Path, kind: str, length: int
) -> None:
    """T5 has a bias for every distance of two tokens, and no largest position."""
    model, tokenizer = (llama(), make_tokenizer()) if kind == "llama" else make(kind)
    if length < 2**31:
        tokenizer.model_max_length = length
    loaded = pk.load(save_model(tmp_path, model, tokenizer))
    assert loaded.card.context_length == (SIZES["max_position_embeddings"] if kind == "llama" else length)


def test_t5_reads_texts_longer_than_its_largest_bucket(tmp_path: Path) -> None:
    model, tokenizer = make("t5")
    ids = tuple(3 + i % 20 for i in range(300))
    (output,) = answer(pk.load(save_model(tmp_path, model, tokenizer)), [score(ids)])
    decoder_ids = torch.tensor([[model.config.decoder_start_token_id, 8]])
    logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=decoder_ids).logits[0].log_softmax(-1)
    assert numbers(output)[:2] == pytest.approx([logits[0, 8].item(), logits[1, 9].item()], abs=1e-4)


# ---- end tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_generation_settings", [False, True])
def test_end_tokens_of_the_configuration_and_of_the_generation_settings(tmp_path: Path, with_generation_settings: bool) -> None:
    source = llama(eos_token_id=[*range(1, VOCABULARY, 3)])
    save_model(tmp_path, source)
    settings = tmp_path / "generation_config.json"
    settings.unlink()
    if with_generation_settings:
        hf.GenerationConfig(eos_token_id=[*range(2, VOCABULARY, 3)]).save_pretrained(tmp_path)
    request = Request(input=TextInput(ids=PROMPT), verb=Generate(max_tokens=30))
    (output,) = answer(pk.load(tmp_path), [request])
    ends = [i for i in range(VOCABULARY) if i % 3 == 1 or (with_generation_settings and i % 3 == 2)]
    ids = torch.tensor([PROMPT])
    expected = source.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False, eos_token_id=ends)
    assert list(output.generations[0].ids) == expected[0, len(PROMPT) :].tolist()


# ---- scaling of positions ------------------------------------------------------------------------------


def longrope() -> Any:
    scaling = {
        "rope_type": "longrope",
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [2.0, 4.0, 6.0, 8.0],
        "rope_theta": 1e4,
        "original_max_position_embeddings": 32,
    }
    return hf.Phi3ForCausalLM(hf.Phi3Config(**SIZES, original_max_position_embeddings=32, rope_parameters=scaling))


def dynamic() -> Any:
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    return llama(max_position_embeddings=32, rope_parameters=scaling)


@pytest.mark.parametrize("make", [longrope, dynamic])
def test_a_sequence_is_scaled_by_its_own_length(tmp_path: Path, make: Any) -> None:
    """The same item, beside a short and beside a long continuation, and after a longer item."""
    source = make()
    save_model(tmp_path, source)
    prompt = tuple(3 + (7 * i) % 300 for i in range(31))
    alone = score(prompt, (40,), (50,))
    beside = score(prompt, (40,), tuple(range(60, 72)))
    longer = score(tuple(3 + (5 * i) % 300 for i in range(60)), (40, 41))
    model = pk.load(tmp_path)
    first, second, third = answer(model, [alone, beside, longer])
    assert first.logprobs[0] == pytest.approx(second.logprobs[0], abs=1e-6)
    for request, output in ((beside, second), (longer, third)):
        for continuation, logprobs in zip(request.verb.continuations, output.logprobs, strict=True):
            fresh = hf.AutoModelForCausalLM.from_pretrained(tmp_path)
            ids = torch.tensor([(*request.input.ids, *continuation[:-1])])
            with torch.no_grad():
                expected = fresh(ids).logits[0].log_softmax(-1)[len(request.input.ids) - 1 :]
            assert logprobs == pytest.approx(
                [row[token].item() for row, token in zip(expected, continuation, strict=True)], abs=1e-4
            )


def test_a_text_of_an_encoder_is_scaled_by_its_own_length(tmp_path: Path) -> None:
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    config = hf.EuroBertConfig(**{**SIZES, "max_position_embeddings": 16, "num_key_value_heads": 2}, rope_parameters=scaling)
    save_model(tmp_path, hf.EuroBertModel(config))
    texts = [tuple(3 + (7 * i) % 300 for i in range(length)) for length in (4, 40, 20)]
    requests = [read(-1, ids, mean_from=0) for ids in texts]
    together = answer(pk.load(f"encoder:{tmp_path}"), requests)
    for request, output in zip(requests, together, strict=True):
        (alone,) = answer(pk.load(f"encoder:{tmp_path}"), [request])
        assert output.hidden.numpy() == pytest.approx(alone.hidden.numpy(), abs=1e-6)


# ---- numbers that are not finite -----------------------------------------------------------------------


def test_not_a_number_in_every_logit(tmp_path: Path) -> None:
    source = llama()
    save_model(tmp_path, source)
    with torch.no_grad():
        source.model.norm.weight[0] = torch.nan
    source.save_pretrained(tmp_path)
    with refused(ModelError, "not-finite"):
        pk.load(tmp_path).load()


@pytest.mark.parametrize("attention", ["packed", "eager"])
@pytest.mark.parametrize(
    "verb",
    [
        Generate(max_tokens=3),
        Generate(max_tokens=3, temperature=1.0),
        Score(continuations=((8,),)),
        Read(hidden_layer=1),
        Read(top_m=2),
    ],
    ids=["greedy", "sampled", "score", "hidden", "top"],
)
def test_not_a_number_for_one_token(tmp_path: Path, verb: Any, attention: Any) -> None:
    """The tokens of the check at load are fine; only a prompt with this token is not."""
    source = llama()
    save_model(tmp_path, source)
    with torch.no_grad():
        source.model.embed_tokens.weight[300] = torch.nan
    source.save_pretrained(tmp_path)
    model = pk.load(tmp_path, attention=attention)
    assert CachedModel(model)([Request(input=TextInput(ids=PROMPT), verb=verb)])
    with refused(ModelError, "not-finite"):
        CachedModel(model)([Request(input=TextInput(ids=(0, 5, 300)), verb=verb)])


def test_not_a_number_in_a_token_of_the_verification_of_the_packed_forward(tmp_path: Path) -> None:
    """The verification stops, and does not fall back to the padded forward, which returns the same."""
    source = llama()
    save_model(tmp_path, source)
    token = _probes(VOCABULARY)[1].input.ids[-1]
    assert token not in _probes(VOCABULARY)[0].input.ids
    with torch.no_grad():
        source.model.embed_tokens.weight[token] = torch.nan
    source.save_pretrained(tmp_path)
    with refused(ModelError, "not-finite"):
        pk.load(tmp_path).load()
