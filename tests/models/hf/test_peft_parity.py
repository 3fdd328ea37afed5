"""Checkpoints give the same results here and in PEFT, in both directions; known errors of PEFT do not occur here."""

from __future__ import annotations

from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

import promptkit as pk
from promptkit.core.errors import CheckpointError
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.storage import save as keep
from promptkit.models.client import CachedModel
from tests.support.errors import refused
from tests.support.hf_models import answer
from tests.support.tiny import VOCABULARY, make_model, make_tokenizer

pytestmark = [  # raised inside PEFT
    pytest.mark.filterwarnings(f"ignore:`{name}` is deprecated:FutureWarning")
    for name in ("is_gradient_checkpointing", "past_key_values")
]

WORDS = {"no": "bad, really", "yes": "good"}
ROWS = [Example(id=f"q{i}", inputs={"text": "so " * (3 * i) + "it was"}) for i in range(4)]
CONFIGS = {
    "prompt tuning": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "prompt tuning, from tokens": lambda: peft.PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=5, prompt_tuning_init="SAMPLE_VOCAB"
    ),
    "p-tuning": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=12),
    "p-tuning by LSTM": lambda: peft.PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=12, encoder_reparameterization_type="LSTM"
    ),
    "prefix tuning": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prefix tuning, longer than a window": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=15),
    "prefix tuning by projection": lambda: peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=12
    ),
}


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both have grouped-query attention; Gemma 3 also scaled embeddings, sliding windows and wide heads."""
    path = tmp_path_factory.mktemp(request.param)
    make_model(request.param, **({"head_dim": 20} if request.param == "gemma3" else {})).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return pk.load(str(folder))


def base_model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def train_with_peft(folder: Path, config: Any, out: Path, steps: int = 3) -> Any:
    """Trains a model with PEFT for a few steps and saves it in a folder."""
    torch.manual_seed(1)
    peft_model = peft.get_peft_model(base_model(folder), config)
    peft_model.train()
    optimizer = torch.optim.AdamW([parameter for parameter in peft_model.parameters() if parameter.requires_grad], lr=0.05)
    ids = torch.randint(3, VOCABULARY, (4, 12))
    for _ in range(steps):
        peft_model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    peft_model.save_pretrained(out)
    return peft_model.eval()


def rendered(model: Any, *manipulations: Any) -> list[Any]:
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    return composed([pk.Prompt("sentiment/review"), *manipulations]).bind(context)(ROWS)


def label_logprobs(model: Any, *manipulations: Any) -> list[list[float]]:
    """The log-probabilities of all tokens of all labels for each row, computed in one batch."""
    requests = [entry.request(Score(continuations=entry.continuations)) for entry in rendered(model, *manipulations)]
    return [[x for label in output.logprobs for x in label] for output in answer(model, requests)]


def next_token_logprobs(model: Any, *manipulations: Any) -> list[tuple[float, ...]]:
    """The log-probabilities of all tokens after the prompt, for each row."""
    every = Read(token_ids=tuple(range(VOCABULARY)))
    return [output.logprobs for output in answer(model, [r.request(every) for r in rendered(model, *manipulations)])]


def peft_logprobs(peft_model: Any, ids: tuple[int, ...], words: tuple[tuple[int, ...], ...]) -> tuple[list[float], list[float]]:
    """Computes label and next-token log-probabilities of one row with PEFT, one label at a time."""
    labels: list[float] = []
    after: list[float] = []
    for word in words:
        with torch.no_grad():
            logits = peft_model(input_ids=torch.tensor([[*ids, *word]])).logits[0]
        read = logits[-len(word) - 1 :].log_softmax(-1)
        labels += [read[place, token].item() for place, token in enumerate(word)]
        after = read[0].tolist()
    return labels, after


def assert_equal_logprobs(model: Any, peft_model: Any, soft: Any) -> None:
    labels, after = label_logprobs(model, soft), next_token_logprobs(model, soft)
    for place, plain in enumerate(rendered(model)):
        expected = peft_logprobs(peft_model, plain.input.ids, plain.continuations)
        assert labels[place] == pytest.approx(expected[0], abs=1e-4)
        assert after[place] == pytest.approx(expected[1], abs=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_peft_checkpoints_give_equal_results(name: str, folder: Path, model: Any, tmp_path: Path) -> None:
    peft_model = train_with_peft(folder, CONFIGS[name](), tmp_path)
    soft: Any = pk.load_manipulation(tmp_path)
    assert soft.name == ("prefix" if "prefix" in name else "soft")
    assert_equal_logprobs(model, peft_model, soft)
    assert_equal_logprobs(model, peft.PeftModel.from_pretrained(base_model(folder), tmp_path).eval(), soft)
    assert (
        max(abs(x - y) for x, y in zip(next_token_logprobs(model)[0], next_token_logprobs(model, soft)[0], strict=True)) > 0.1
    )


MANIPULATIONS = {
    "soft": pk.SoftPrompt(6, init="random", place="start", seed=3, reparameterize="lstm", width=7),
    "prefix": pk.Prefix(6, init="random", seed=3),
    "prefix of a text, with mlp": pk.Prefix(15, init="so it was", mlp=16),
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_converted_checkpoints_give_equal_results_in_peft(name: str, folder: Path, model: Any, tmp_path: Path) -> None:
    context, blank = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS)), MANIPULATIONS[name]
    ours: Any = blank.with_parameters(blank.initial_parameters(context), {"name": str(folder)})
    pk.convert(keep(ours, tmp_path / "ours"), tmp_path / "theirs")
    peft_model = peft.PeftModel.from_pretrained(base_model(folder), tmp_path / "theirs").eval()
    assert_equal_logprobs(model, peft_model, ours)
    assert peft_model.peft_config["default"].base_model_name_or_path == str(folder)
    back = pk.load_manipulation(pk.convert(tmp_path / "theirs", tmp_path / "back").path)
    assert (back.parameters, back.base, back.settings()) == (ours.parameters, ours.base, ours.settings())


def padded_on_the_left(prompts: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded ids and their attention mask."""
    blanks = [max(map(len, prompts)) - len(ids) for ids in prompts]
    mask = [[0] * blank + [1] * len(ids) for blank, ids in zip(blanks, prompts, strict=True)]
    return torch.tensor([[2] * blank + [*ids] for blank, ids in zip(blanks, prompts, strict=True)]), torch.tensor(mask)


def test_left_padding_changes_results_in_peft_only(folder: Path, model: Any, tmp_path: Path) -> None:
    """PEFT inserts vectors before the padding, which separates them from the tokens."""
    peft_model = train_with_peft(folder, CONFIGS["prompt tuning"](), tmp_path)
    soft = pk.load_manipulation(tmp_path)
    prompts = [entry.input.ids for entry in rendered(model)]
    single = torch.tensor([peft_logprobs(peft_model, ids, ((5,),))[1] for ids in prompts])
    padded, mask = padded_on_the_left(prompts)
    with torch.no_grad():
        theirs = peft_model(input_ids=padded, attention_mask=mask).logits[:, -1].log_softmax(-1)
    shift = (theirs - single).abs().amax(1)
    assert shift[0] > 0.1  # the shortest
    assert shift[-1] < 1e-4  # the longest has no padding

    assert torch.allclose(torch.tensor(next_token_logprobs(model, soft)), single, atol=1e-4)  # packed, without padding
    padding: Any = pk.load(str(folder), attention="eager")  # labels of a row padded on the right
    by_itself = [answer(padding, [one])[0].logprobs for one in score_requests(padding, soft)]
    for result, expected in zip(answer(model, score_requests(model, soft)), by_itself, strict=True):
        for label, other in zip(result.logprobs, expected, strict=True):
            assert label == pytest.approx(other, abs=1e-4)
    assert torch.allclose(left_padded(base_model(folder), prompts, soft), single, atol=1e-4)


def score_requests(model: Any, soft: Any) -> list[Request]:
    return [entry.request(Score(continuations=entry.continuations)) for entry in rendered(model, soft)]


def left_padded(model: Any, prompts: list[tuple[int, ...]], soft: Any) -> torch.Tensor:
    """The forward of transformers with the padding correctly placed before the vectors."""
    vectors = torch.tensor(soft.parameters["vectors"].numpy())
    width, embedding, rows, masks = max(map(len, prompts)), model.get_input_embeddings(), [], []
    for ids in prompts:
        blank = width - len(ids)
        rows.append(torch.cat([embedding(torch.full((blank,), 2)), vectors, embedding(torch.tensor(ids))]))
        masks.append([0] * blank + [1] * (len(ids) + len(vectors)))
    with torch.no_grad():
        read: torch.Tensor = model(inputs_embeds=torch.stack(rows), attention_mask=torch.tensor(masks)).logits[:, -1]
    return read.log_softmax(-1)


def test_left_padding_with_a_prefix_changes_results_in_peft_only(folder: Path, model: Any, tmp_path: Path) -> None:
    """PEFT has the padding between prefix and tokens. Position ids correct that, but sliding windows still count it."""
    peft_model, prefix = train_with_peft(folder, CONFIGS["prefix tuning"](), tmp_path), pk.load_manipulation(tmp_path)
    prompts = [entry.input.ids for entry in rendered(model)]
    single = torch.tensor([peft_logprobs(peft_model, ids, ((5,),))[1] for ids in prompts])
    padded, mask = padded_on_the_left(prompts)

    def shift(**options: Any) -> torch.Tensor:
        with torch.no_grad():
            theirs = peft_model(input_ids=padded, attention_mask=mask, **options).logits[:, -1].log_softmax(-1)
        return (theirs - single).abs().amax(1)

    assert shift()[0] > 0.1  # the shortest
    assert shift()[-1] < 1e-4  # the longest has no padding
    shortest = shift(position_ids=(mask.cumsum(1) - 1).clamp(min=0))[0]
    assert shortest > 0.1 if peft_model.config.model_type.startswith("gemma3") else shortest < 1e-4

    assert torch.allclose(torch.tensor(next_token_logprobs(model, prefix)), single, atol=1e-4)  # packed, without padding
    padding: Any = pk.load(str(folder), attention="eager")
    assert torch.allclose(torch.tensor(next_token_logprobs(padding, prefix)), single, atol=1e-4)


def test_generation_uses_the_prefix_that_peft_may_ignore(folder: Path, model: Any, tmp_path: Path) -> None:
    """With versions of transformers that name the argument `cache`, `generate` of PEFT 0.21 ignores the prefix."""
    peft_model, prefix = train_with_peft(folder, CONFIGS["prefix tuning"](), tmp_path), pk.load_manipulation(tmp_path)
    prefixes = rendered(model, prefix)[0].interventions.prefixes
    prompts = [tuple(range(4 + i, 8 + 2 * i)) for i in range(5)]
    settings = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}

    def stepwise(ids: tuple[int, ...]) -> list[int]:
        for _ in range(3):
            with torch.no_grad():
                ids += (int(peft_model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()),)
        return [*ids[-3:]]

    def generated(*learned: Any) -> list[list[int]]:
        verb, interventions = Generate(max_tokens=3), Interventions(prefixes=learned)
        requests = [Request(input=TextInput(ids=ids), verb=verb, interventions=interventions) for ids in prompts]
        return [[*output.generations[0].ids] for output in answer(model, requests)]

    assert generated(*prefixes) == [stepwise(ids) for ids in prompts] != generated()
    ignores_prefix = "cache" in signature(type(peft_model.get_base_model()).forward).parameters
    with pytest.warns(FutureWarning, match="ignoring deprecated `past_key_values=") if ignores_prefix else nullcontext():
        rows = [torch.tensor([ids]) for ids in prompts]
        theirs = [
            peft_model.generate(input_ids=row, attention_mask=row.ge(0).long(), **settings)[0, -3:].tolist() for row in rows
        ]
    assert theirs == (generated() if ignores_prefix else generated(*prefixes))


def test_a_checkpoint_refuses_another_base_model(folder: Path, model: Any, tmp_path: Path) -> None:
    train_with_peft(folder, CONFIGS["p-tuning"](), tmp_path)
    soft = pk.load_manipulation(tmp_path)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
    assert predictor.manipulate.settings()["with"] == [soft.settings()]
    other = base_model(folder)
    with torch.no_grad():
        other.get_input_embeddings().weight[5] += 1
    other.save_pretrained(tmp_path / "other")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "other")
    elsewhere = pk.load(str(tmp_path / "other"))
    with refused(CheckpointError, "unconfirmed-model", model=elsewhere.name):
        pk.Predictor(elsewhere, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
