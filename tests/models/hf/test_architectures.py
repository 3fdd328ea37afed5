"""Every kind of request on tiny random models of many architectures, compared with plain forward passes of transformers.

The results are the table of docs/architectures.md, which `pytest tests/models/hf/test_architectures.py --update-architectures`
writes anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import PromptkitError
from promptkit.core.interventions import HiddenEdit, Interventions
from promptkit.core.requests import Generate, Read
from tests.support.architectures import CONTINUATIONS, documented_table, request, tiny_config, write_table
from tests.support.folders import save_model
from tests.support.hf_models import answer, layer_states

BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
KINDS = [
    "afmoe",
    "apertus",
    "arcee",
    "aria_text",
    "bart",
    "bert",
    "biogpt",
    "bitnet",
    "bloom",
    "codegen",
    "cohere",
    "cohere2",
    "ctrl",
    "cwm",
    "deepseek_v2",
    "deepseek_v3",
    "diffllama",
    "doge",
    "dots1",
    "ernie4_5",
    "ernie4_5_moe",
    "exaone4",
    "exaone_moe",
    "falcon",
    "falcon_mamba",
    "flex_olmo",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gemma3n_text",
    "glm",
    "glm4",
    "glm4_moe",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox_japanese",
    "gpt_oss",
    "gptj",
    "granite",
    "granitemoe",
    "helium",
    "hunyuan_v1_dense",
    "jais2",
    "jetmoe",
    "lfm2",
    "llama",
    "llama4_text",
    "mamba",
    "mamba2",
    "minicpm3",
    "minimax_m2",
    "ministral",
    "ministral3",
    "mistral",
    "mixtral",
    "modernbert-decoder",
    "mpt",
    "nanochat",
    "nemotron",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "openai-gpt",
    "opt",
    "persimmon",
    "phi",
    "phi3",
    "phimoe",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "rwkv",
    "seed_oss",
    "smollm3",
    "solar_open",
    "stablelm",
    "starcoder2",
    "vaultgemma",
    "xglm",
]
VERBS = ("score", "read", "last state", "layer state", "generate", "soft prompt", "training", "prefix", "steering")
PROMPTS = (tuple(3 + (11 * i) % 300 for i in range(15)), (*(3 + (11 * i) % 300 for i in range(10)), 40, 41))
LAYER = 1
TOLERANCE = 1e-4


class Reference:
    """A model of transformers without promptkit, one sequence at a time."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.embedding = self.model.get_input_embeddings()
        self.layers = next(m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m) == 2)

    def logprobs(self, *, ids: tuple[int, ...] = (), embeddings: Tensor | None = None) -> Tensor:
        """Log-probabilities at every position, (tokens, vocabulary)."""
        inputs = {"input_ids": torch.tensor([ids])} if embeddings is None else {"inputs_embeds": embeddings[None]}
        with torch.no_grad():
            logits: Tensor = self.model(**inputs, use_cache=False).logits
        return logits[0].float().log_softmax(-1)

    def scores(self, prompt: tuple[int, ...]) -> list[list[float]]:
        """The log-probability of each token of each continuation."""
        return [self._score(self.logprobs(ids=prompt + each[:-1]), each) for each in CONTINUATIONS]

    def scores_with_vectors(self, before: tuple[int, ...], vectors: Tensor, after: tuple[int, ...]) -> list[list[float]]:
        """As `scores`, of a prompt with vectors between two parts."""
        scores = []
        for each in CONTINUATIONS:
            with torch.no_grad():
                parts = (self.embedding(torch.tensor(before)), vectors, self.embedding(torch.tensor(after + each[:-1])))
            scores.append(self._score(self.logprobs(embeddings=torch.cat(parts)), each))
        return scores

    def scores_with_added(self, prompt: tuple[int, ...], vector: Tensor) -> list[list[float]]:
        """As `scores`, with a vector added to the output of a layer at the prompt's last token."""

        def add(module: nn.Module, inputs: object, output: Any) -> Any:
            states = (output if isinstance(output, Tensor) else output[0]).clone()
            states[:, len(prompt) - 1] += vector
            return states if isinstance(output, Tensor) else type(output)((states, *output[1:]))

        hook = self.layers[LAYER - 1].register_forward_hook(add)
        try:
            return self.scores(prompt)
        finally:
            hook.remove()

    def states(self, prompt: tuple[int, ...]) -> dict[int, Tensor]:
        """The states between two layers and the last ones, (tokens, d_model)."""
        return {layer: layer_states(self.model, prompt, layer) for layer in (LAYER, -1)}

    def written(self, prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
        """The most likely tokens one after the other, up to the end token."""
        ids = prompt
        while len(ids) < len(prompt) + count and (ids == prompt or ids[-1] != 1):
            ids = (*ids, int(self.logprobs(ids=ids)[-1].argmax()))
        return ids[len(prompt) :]

    @staticmethod
    def _score(logprobs: Tensor, continuation: tuple[int, ...]) -> list[float]:
        last = logprobs[len(logprobs) - len(continuation) :]
        return [row[token].item() for row, token in zip(last, continuation, strict=True)]


def assert_scores(actual: Any, expected: list[list[float]]) -> None:
    for row, expected_row in zip(actual.logprobs, expected, strict=True):
        assert row == pytest.approx(expected_row, abs=TOLERANCE)


def check_score(model: Any, reference: Reference) -> None:
    for prompt, output in zip(PROMPTS, answer(model, [request(prompt) for prompt in PROMPTS]), strict=True):
        assert_scores(output, reference.scores(prompt))


def check_read(model: Any, reference: Reference) -> None:
    reads = [request(prompt, Read(token_ids=(8, 12), top_m=3)) for prompt in PROMPTS]
    for prompt, output in zip(PROMPTS, answer(model, reads), strict=True):
        expected = reference.logprobs(ids=prompt)[-1]
        assert output.logprobs == pytest.approx(expected[[8, 12]].tolist(), abs=TOLERANCE)
        assert [token for token, _ in output.top] == expected.topk(3).indices.tolist()


def check_last_state(model: Any, reference: Reference) -> None:
    check_states(model, reference, -1)


def check_layer_state(model: Any, reference: Reference) -> None:
    check_states(model, reference, LAYER)


def check_states(model: Any, reference: Reference, layer: int) -> None:
    for prompt in PROMPTS:
        state = reference.states(prompt)[layer]
        verbs = [Read(hidden_layer=layer, mean_from=start) for start in (None, 2)]
        for verb, output in zip(verbs, answer(model, [request(prompt, verb) for verb in verbs]), strict=True):
            expected = state[-1] if verb.mean_from is None else state[verb.mean_from :].mean(0)
            assert output.hidden.numpy() == pytest.approx(expected.numpy(), abs=TOLERANCE)


def check_generate(model: Any, reference: Reference) -> None:
    outputs = answer(model, [request(prompt, Generate(max_tokens=5)) for prompt in PROMPTS])
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        assert output.generations[0].ids == reference.written(prompt, 5)


def check_soft_prompt(model: Any, reference: Reference) -> None:
    rows = model.embed((20, 21)).numpy()
    vectors = torch.tensor(rows) + 0.1 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    before, after = PROMPTS[0][:3], PROMPTS[0][3:]
    (output,) = answer(model, [request((*before, -1, -2, *after), vectors=as_array(vectors.numpy()))])
    assert_scores(output, reference.scores_with_vectors(before, vectors, after))


def check_training(model: Any, reference: Reference) -> None:
    """The gradient of the soft prompt."""
    before, after = PROMPTS[0][:3], PROMPTS[0][3:]
    vectors = torch.tensor(model.embed((20, 21)).numpy()).requires_grad_()
    learned = request((*before, -1, -2, *after), vectors=as_array(vectors.detach().numpy()))
    (scores,) = model.differentiable([learned]).scores([0], Interventions(vectors=vectors))
    (actual,) = torch.autograd.grad(torch.cat(scores).sum(), vectors)
    parts = [reference.embedding(torch.tensor(part)).detach() for part in (before, after)]
    total = torch.zeros(())
    for each in CONTINUATIONS:
        end = reference.embedding(torch.tensor(each[:-1], dtype=torch.long)).detach()
        embeddings = torch.cat((parts[0], vectors, parts[1], end))
        logprobs = reference.model(inputs_embeds=embeddings[None], use_cache=False).logits[0].float().log_softmax(-1)
        total = total + logprobs[len(logprobs) - len(each) :].gather(1, torch.tensor(each)[:, None]).sum()
    (expected,) = torch.autograd.grad(total, vectors)
    assert actual.numpy() == pytest.approx(expected.numpy(), abs=1e-3 * expected.abs().max().item())


def check_prefix(model: Any, reference: Reference) -> None:
    prefix = model.keys_values(PROMPTS[0][:4])
    (output,) = answer(model, [request(PROMPTS[0][4:], prefixes=(prefix,))])
    assert_scores(output, reference.scores(PROMPTS[0]))


def check_steering(model: Any, reference: Reference) -> None:
    vector = torch.randn(model.card.d_model, generator=torch.Generator().manual_seed(0))
    edit = HiddenEdit(layer=LAYER, operation="add", last=1, arrays=(as_array(vector.numpy()),))
    (output,) = answer(model, [request(PROMPTS[0], edits=(edit,))])
    assert_scores(output, reference.scores_with_added(PROMPTS[0], vector))


CHECKS: dict[str, Callable[[Any, Reference], None]] = dict(
    zip(
        VERBS,
        (
            check_score,
            check_read,
            check_last_state,
            check_layer_state,
            check_generate,
            check_soft_prompt,
            check_training,
            check_prefix,
            check_steering,
        ),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The row of the table of each architecture that was run; with --update-architectures, they are written."""
    measured: dict[str, str] = {}
    yield measured
    if request.config.getoption("--update-architectures"):
        write_table(BEGIN, END, [VERSION, "", HEAD, RULE, *(measured[kind] for kind in sorted(measured))])


VERSION = f"Measured with transformers {hf.__version__}."
HEAD = f"| architecture | shared prefixes | {' | '.join(VERBS)} |"
RULE = "|---" * (len(VERBS) + 2) + "|"


def cell(check: Callable[[Any, Reference], None], model: Any, reference: Reference) -> str:
    """Returns the result of a check: `works`, or why the request is refused. A wrong number fails the test."""
    try:
        check(model, reference)
    except PromptkitError as error:
        reason = str(error).partition(". ")[0].removeprefix(f"The model {model.name} ")
        return f"refused: {reason.replace(f' of the model {model.name}', '')}"
    return "works"


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # in older versions of transformers
@pytest.mark.parametrize("kind", KINDS)
def test_architecture(kind: str, tmp_path: Path, rows: dict[str, str], request: pytest.FixtureRequest) -> None:
    save_model(tmp_path, hf.AutoModelForCausalLM.from_config(tiny_config(kind)))
    model, reference = pk.load(tmp_path), Reference(tmp_path)
    cells = [cell(check, model, reference) for check in CHECKS.values()]
    shared = ", ".join(note.removeprefix("no shared prefixes: ") for note in model.notes())
    shared = re.sub(r" by [\d.e+-]+ in log-probability", "", shared)
    rows[kind] = f"| {kind} | {f'no: {shared}' if shared else 'yes'} | {' | '.join(cells)} |"
    if "not a causal language model" in cells[0] and VERSION not in documented_table(BEGIN, END):
        pytest.skip("this version of transformers computes it wrongly, as 5.16 does Doge with its default attention")
    assert cells[0] == "works"
    if not request.config.getoption("--update-architectures"):
        lines = documented_table(BEGIN, END)
        (documented,) = (line for line in lines if line.startswith(f"| {kind} |"))
        if VERSION in lines:
            assert rows[kind] == documented, "make architectures"
        else:  # another version takes packed attention in other architectures, and may fail in another way
            verbs = [[each.startswith("works") for each in row.split(" | ")[2:]] for row in (rows[kind], documented)]
            assert verbs[0] == verbs[1]


def test_the_table_has_every_architecture_once(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-architectures"):
        pytest.skip("the table is written after the last test")
    table = documented_table(BEGIN, END)
    assert [line.split()[1] for line in table[4:]] == sorted(KINDS)
    assert len(set(KINDS)) >= 40
