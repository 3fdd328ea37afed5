"""PEFT's checkpoints give here what they give in PEFT, and ours there; where PEFT goes wrong, ours does not."""

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
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.storage import save as keep
from promptkit.models.client import CachedModel
from tests.support.errors import refused
from tests.support.tiny import VOCABULARY, make_model, make_tokenizer

pytestmark = [  # what PEFT reads and gives
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
    """Grouped-query attention both; Gemma 3 scales its embeddings, has sliding windows, and heads wider than its embeddings."""
    path = tmp_path_factory.mktemp(request.param)
    make_model(request.param, **({"head_dim": 20} if request.param == "gemma3" else {})).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return pk.load(str(folder))


def own(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def trained(folder: Path, config: Any, out: Path, steps: int = 3) -> Any:
    """A model that PEFT has trained for a few steps, and saved in a folder."""
    torch.manual_seed(1)
    changed = peft.get_peft_model(own(folder), config)
    changed.train()
    optimizer = torch.optim.AdamW([each for each in changed.parameters() if each.requires_grad], lr=0.05)
    ids = torch.randint(3, VOCABULARY, (4, 12))
    for _ in range(steps):
        changed(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    changed.save_pretrained(out)
    return changed.eval()


def rendered(model: Any, *changes: Any) -> list[Any]:
    around = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS))
    return composed([pk.Prompt("sentiment/review"), *changes]).bind(around)(ROWS)


def answers(model: Any, asked: list[Request]) -> list[Any]:
    found = {i: output for indices, outputs in model.answer(asked) for i, output in zip(indices, outputs, strict=True)}
    return [found[i] for i in range(len(asked))]


def labels_of(model: Any, *changes: Any) -> list[list[float]]:
    """Of each row, the log-probability of every token of every label, all rows asked at once."""
    asked = [Request(input=each.input, verb=Score(continuations=each.continuations)) for each in rendered(model, *changes)]
    return [[x for label in output.logprobs for x in label] for output in answers(model, asked)]


def next_of(model: Any, *changes: Any) -> list[tuple[float, ...]]:
    """Of each row, the whole vocabulary's log-probabilities behind the prompt."""
    every = Read(token_ids=tuple(range(VOCABULARY)))
    return [
        output.logprobs for output in answers(model, [Request(input=r.input, verb=every) for r in rendered(model, *changes)])
    ]


def in_peft(changed: Any, ids: tuple[int, ...], words: tuple[tuple[int, ...], ...]) -> tuple[list[float], list[float]]:
    """The same two of one row by itself, each label behind the whole prompt, by PEFT's own forward."""
    labels: list[float] = []
    after: list[float] = []
    for word in words:
        with torch.no_grad():
            logits = changed(input_ids=torch.tensor([[*ids, *word]])).logits[0]
        read = logits[-len(word) - 1 :].log_softmax(-1)
        labels += [read[place, token].item() for place, token in enumerate(word)]
        after = read[0].tolist()
    return labels, after


def agree(model: Any, changed: Any, soft: Any) -> None:
    labels, after = labels_of(model, soft), next_of(model, soft)
    for place, plain in enumerate(rendered(model)):
        expected = in_peft(changed, plain.input.ids, plain.continuations)
        assert labels[place] == pytest.approx(expected[0], abs=1e-4)
        assert after[place] == pytest.approx(expected[1], abs=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_peft_has_trained_gives_the_same_here(name: str, folder: Path, model: Any, tmp_path: Path) -> None:
    changed = trained(folder, CONFIGS[name](), tmp_path)
    soft: Any = pk.load_manipulation(tmp_path)
    assert soft.name == ("prefix" if "prefix" in name else "soft")
    agree(model, changed, soft)
    agree(model, peft.PeftModel.from_pretrained(own(folder), tmp_path).eval(), soft)
    assert max(abs(x - y) for x, y in zip(next_of(model)[0], next_of(model, soft)[0], strict=True)) > 0.1


OURS = {
    "soft": pk.SoftPrompt(6, init="random", place="start", seed=3, reparameterize="lstm", width=7),
    "prefix": pk.Prefix(6, init="random", seed=3),
    "prefix of a text, by a network": pk.Prefix(15, init="so it was", mlp=16),
}


@pytest.mark.parametrize("name", OURS)
def test_what_was_trained_here_gives_the_same_in_peft(name: str, folder: Path, model: Any, tmp_path: Path) -> None:
    around, blank = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS)), OURS[name]
    ours: Any = blank.with_parameters(blank.initial_parameters(around), {"name": str(folder)})
    pk.convert(keep(ours, tmp_path / "ours"), tmp_path / "theirs")
    changed = peft.PeftModel.from_pretrained(own(folder), tmp_path / "theirs").eval()
    agree(model, changed, ours)
    assert changed.peft_config["default"].base_model_name_or_path == str(folder)
    back = pk.load_manipulation(pk.convert(tmp_path / "theirs", tmp_path / "back").path)
    assert (back.parameters, back.base, back.settings()) == (ours.parameters, ours.base, ours.settings())


def padded_on_the_left(prompts: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Their ids, and which of them are no padding."""
    blanks = [max(map(len, prompts)) - len(ids) for ids in prompts]
    mask = [[0] * blank + [1] * len(ids) for blank, ids in zip(blanks, prompts, strict=True)]
    return torch.tensor([[2] * blank + [*ids] for blank, ids in zip(blanks, prompts, strict=True)]), torch.tensor(mask)


def test_padding_on_the_left_is_a_trap_in_peft_and_none_here(folder: Path, model: Any, tmp_path: Path) -> None:
    """PEFT puts its vectors before the padding, so that the tokens stand away from them."""
    changed = trained(folder, CONFIGS["prompt tuning"](), tmp_path)
    soft = pk.load_manipulation(tmp_path)
    prompts = [each.input.ids for each in rendered(model)]
    alone = torch.tensor([in_peft(changed, ids, ((5,),))[1] for ids in prompts])
    padded, mask = padded_on_the_left(prompts)
    with torch.no_grad():
        theirs = changed(input_ids=padded, attention_mask=mask).logits[:, -1].log_softmax(-1)
    moved = (theirs - alone).abs().amax(1)
    assert moved[0] > 0.1  # the shortest
    assert moved[-1] < 1e-4  # the longest has no padding

    assert torch.allclose(torch.tensor(next_of(model, soft)), alone, atol=1e-4)  # packed, without padding
    padding: Any = pk.load(str(folder), attention="eager")  # labels of a row padded on the right
    by_itself = [answers(padding, [one])[0].logprobs for one in scored(padding, soft)]
    for found, expected in zip(answers(model, scored(model, soft)), by_itself, strict=True):
        for label, other in zip(found.logprobs, expected, strict=True):
            assert label == pytest.approx(other, abs=1e-4)
    assert torch.allclose(left_padded(own(folder), prompts, soft), alone, atol=1e-4)


def scored(model: Any, soft: Any) -> list[Request]:
    return [Request(input=each.input, verb=Score(continuations=each.continuations)) for each in rendered(model, soft)]


def left_padded(model: Any, prompts: list[tuple[int, ...]], soft: Any) -> torch.Tensor:
    """Transformers' own forward with the padding where it belongs, before the vectors."""
    vectors = torch.tensor(soft.parameters["vectors"].numpy())
    width, embedding, rows, masks = max(map(len, prompts)), model.get_input_embeddings(), [], []
    for ids in prompts:
        blank = width - len(ids)
        rows.append(torch.cat([embedding(torch.full((blank,), 2)), vectors, embedding(torch.tensor(ids))]))
        masks.append([0] * blank + [1] * (len(ids) + len(vectors)))
    with torch.no_grad():
        read: torch.Tensor = model(inputs_embeds=torch.stack(rows), attention_mask=torch.tensor(masks)).logits[:, -1]
    return read.log_softmax(-1)


def test_so_it_is_before_a_prefix_and_in_sliding_windows_even_with_positions(folder: Path, model: Any, tmp_path: Path) -> None:
    """PEFT puts padding between a prefix and the tokens. Positions mend it, but not that a window counts the padding too."""
    changed, prefix = trained(folder, CONFIGS["prefix tuning"](), tmp_path), pk.load_manipulation(tmp_path)
    prompts = [each.input.ids for each in rendered(model)]
    alone = torch.tensor([in_peft(changed, ids, ((5,),))[1] for ids in prompts])
    padded, mask = padded_on_the_left(prompts)

    def moved(**more: Any) -> torch.Tensor:
        with torch.no_grad():
            theirs = changed(input_ids=padded, attention_mask=mask, **more).logits[:, -1].log_softmax(-1)
        return (theirs - alone).abs().amax(1)

    assert moved()[0] > 0.1  # the shortest
    assert moved()[-1] < 1e-4  # the longest has no padding
    shortest = moved(position_ids=(mask.cumsum(1) - 1).clamp(min=0))[0]
    assert shortest > 0.1 if changed.config.model_type.startswith("gemma3") else shortest < 1e-4

    assert torch.allclose(torch.tensor(next_of(model, prefix)), alone, atol=1e-4)  # packed, without padding
    padding: Any = pk.load(str(folder), attention="eager")
    assert torch.allclose(torch.tensor(next_of(padding, prefix)), alone, atol=1e-4)


def test_texts_are_written_behind_a_prefix_that_peft_may_lose(folder: Path, model: Any, tmp_path: Path) -> None:
    """Where transformers calls a cache `cache`, `generate` of PEFT 0.21 writes as if there were no prefix."""
    changed, prefix = trained(folder, CONFIGS["prefix tuning"](), tmp_path), pk.load_manipulation(tmp_path)
    held, bare = rendered(model, prefix)[0].input.prefixes, [tuple(range(4 + i, 8 + 2 * i)) for i in range(5)]
    told = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}

    def stepwise(ids: tuple[int, ...]) -> list[int]:
        for _ in range(3):
            with torch.no_grad():
                ids += (int(changed(input_ids=torch.tensor([ids])).logits[0, -1].argmax()),)
        return [*ids[-3:]]

    def written(*prefixes: Any) -> list[list[int]]:
        asked = [Request(input=TextInput(ids=ids, prefixes=prefixes), verb=Generate(max_tokens=3)) for ids in bare]
        return [[*output.generations[0].ids] for output in answers(model, asked)]

    assert written(*held) == [stepwise(ids) for ids in bare] != written()
    loses = "cache" in signature(type(changed.get_base_model()).forward).parameters
    with pytest.warns(FutureWarning, match="ignoring deprecated `past_key_values=") if loses else nullcontext():
        rows = [torch.tensor([ids]) for ids in bare]
        theirs = [changed.generate(input_ids=row, attention_mask=row.ge(0).long(), **told)[0, -3:].tolist() for row in rows]
    assert theirs == (written() if loses else written(*held))


def test_a_checkpoint_is_evaluated_by_its_folder(folder: Path, model: Any, tmp_path: Path) -> None:
    trained(folder, CONFIGS["p-tuning"](), tmp_path)
    soft = pk.load_manipulation(tmp_path)
    predictor = pk.Predictor(model, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
    assert predictor.manipulate.settings()["with"] == [soft.settings()]
    other = own(folder)
    with torch.no_grad():
        other.get_input_embeddings().weight[5] += 1
    other.save_pretrained(tmp_path / "other")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "other")
    elsewhere = pk.load(str(tmp_path / "other"))
    with refused(CheckpointError, "unconfirmed-model", model=elsewhere.name):
        pk.Predictor(elsewhere, [pk.Prompt("sentiment/review"), soft], pk.Verbalizer(WORDS))
