"""Every kind of request on tiny encoder-decoders and masked language models, compared with plain forward passes.

The results are the second table of docs/architectures.md, which `--update-architectures` writes anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import PromptkitError
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Generate, Read
from tests.support.architectures import CONTINUATIONS, documented_table, request, tiny_config, write_table
from tests.support.bidirectional import byte_level
from tests.support.folders import save_model
from tests.support.hf_models import answer

BEGIN, END = "<!-- begin of the second table -->", "<!-- end of the second table -->"
ENCODER_DECODERS = [
    *(
        "bart",
        "bigbird_pegasus",
        "blenderbot",
        "blenderbot-small",
        "fsmt",
        "led",
        "longt5",
        "m2m_100",
        "marian",
        "mbart",
        "mt5",
    ),
    *("mvp", "nllb-moe", "pegasus", "plbart", "prophetnet", "switch_transformers", "t5", "umt5"),
]
MASKED = [
    *("albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra"),
    *("ernie", "esm", "eurobert", "flaubert", "fnet", "ibert", "jina_embeddings_v3", "layoutlm", "megatron-bert", "modernbert"),
    *(
        "mpnet",
        "mra",
        "nomic_bert",
        "nystromformer",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "xlm",
    ),
    *("xlm-roberta", "xlm-roberta-xl", "yoso"),
]
MASK, START = 4, 2
FIELDS: dict[str, Any] = {
    **dict.fromkeys(("encoder_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "num_heads"), 4),
    "encoder_ffn_dim": 48,
    "d_kv": 8,
    "vocab_size": 420,
}
"""The value of each field of which an encoder-decoder has more than a causal model."""
TOLERANCE = 1e-4
VERBS = ("score", "read", "hidden", "generate", "soft prompt", "training")


def config_of(kind: str) -> Any:
    config = tiny_config(kind)
    for name, value in FIELDS.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config.is_decoder, config.is_encoder_decoder = False, kind in ENCODER_DECODERS
    config.decoder_start_token_id = START
    return config


class Reference:
    """A model of transformers without promptkit, one sequence at a time."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.writes = kind in ENCODER_DECODERS
        auto: Any = hf.AutoModelForSeq2SeqLM if self.writes else hf.AutoModelForMaskedLM
        self.model: Any = auto.from_pretrained(folder).eval()
        self.prompts = [(*range(6, 16),), (*range(6, 12), 40)]
        if not self.writes:
            self.prompts = [(*prompt[:4], MASK, *prompt[4:]) for prompt in self.prompts]

    def output(
        self, prompt: tuple[int, ...], decoder: tuple[int, ...] = (), vectors: Tensor | None = None, **options: Any
    ) -> Any:
        """The output for a prompt, with vectors in place of its first tokens."""
        read: dict[str, Any] = {"input_ids": torch.tensor([prompt])}
        if vectors is not None:
            rest = self.model.get_input_embeddings()(torch.tensor([prompt[len(vectors) :]])).detach()
            read = {"inputs_embeds": torch.cat((vectors[None], rest), dim=1)}
        if self.writes:
            read |= {"decoder_input_ids": torch.tensor([decoder]), "use_cache": False}
        return self.model(**read, **options)

    def scores(self, prompt: tuple[int, ...], start: tuple[int, ...], vectors: Tensor | None = None) -> list[list[Tensor]]:
        """The log-probability of each token of each answer."""
        if self.writes:
            outputs = [self.output(prompt, start + each[:-1], vectors).logits[0].log_softmax(-1) for each in CONTINUATIONS]
            return [
                [logits[len(start) - 1 + place, token] for place, token in enumerate(each)]
                for logits, each in zip(outputs, CONTINUATIONS, strict=True)
            ]
        at = prompt.index(MASK)
        scores = []
        for each in CONTINUATIONS:
            rows = [(*prompt[:at], *each[:i], MASK, *each[i + 1 :], *prompt[at + 1 :]) for i in range(len(each))]
            scores.append(
                [self.output(row, (), vectors).logits[0, at + i].log_softmax(-1)[each[i]] for i, row in enumerate(rows)]
            )
        return scores

    def place(self, prompt: tuple[int, ...]) -> int:
        """The position at which the answer is predicted."""
        return -1 if self.writes else prompt.index(MASK)


def start_of(model: Any) -> tuple[int, ...]:
    model.load()
    start: tuple[int, ...] = getattr(model._forward.frozen, "start", ())
    return start


def assert_scores(actual: Any, expected: list[list[Tensor]]) -> None:
    for row, expected_row in zip(actual.logprobs, expected, strict=True):
        assert row == pytest.approx([score.item() for score in expected_row], abs=TOLERANCE)


def check_score(model: Any, reference: Reference) -> None:
    for prompt, output in zip(reference.prompts, answer(model, list(map(request, reference.prompts))), strict=True):
        assert_scores(output, reference.scores(prompt, start_of(model)))


def check_read(model: Any, reference: Reference) -> None:
    reads = [request(prompt, Read(token_ids=(8, 12), top_m=3)) for prompt in reference.prompts]
    for prompt, output in zip(reference.prompts, answer(model, reads), strict=True):
        logits = reference.output(prompt, start_of(model)).logits[0, reference.place(prompt)]
        assert output.logprobs == pytest.approx(logits.log_softmax(-1)[[8, 12]].tolist(), abs=TOLERANCE)


def check_hidden(model: Any, reference: Reference) -> None:
    verbs = [Read(hidden_layer=layer, mean_from=start) for layer in (1, -1) for start in (None, 2)]
    for prompt in reference.prompts:
        output = reference.output(prompt, start_of(model), output_hidden_states=True)
        for verb, actual in zip(verbs, answer(model, [request(prompt, verb) for verb in verbs]), strict=True):
            assert verb.hidden_layer is not None
            if reference.writes:
                layers = output.decoder_hidden_states if verb.mean_from is None else output.encoder_hidden_states
            else:
                layers = output.hidden_states
            states = layers[verb.hidden_layer][0]
            expected = states[reference.place(prompt)] if verb.mean_from is None else states[verb.mean_from :].mean(0)
            assert actual.hidden.numpy() == pytest.approx(expected.detach().numpy(), abs=TOLERANCE)


def check_generate(model: Any, reference: Reference) -> None:
    verb = Generate(max_tokens=5)
    for prompt, output in zip(reference.prompts, answer(model, [request(p, verb) for p in reference.prompts]), strict=True):
        start = ids = start_of(model)
        while len(ids) < len(start) + 5 and (ids == start or ids[-1] not in model._ends):
            ids = (*ids, int(reference.output(prompt, ids).logits[0, -1].argmax()))
        assert output.generations[0].ids == ids[len(start) :]


def vectors_of(model: Any) -> Tensor:
    rows = model.embed((20, 21)).numpy()
    vectors: Tensor = torch.tensor(rows) + 0.1 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    return vectors


def check_soft_prompt(model: Any, reference: Reference) -> None:
    vectors, prompt = vectors_of(model), reference.prompts[0]
    (output,) = answer(model, [request((-1, -2, *prompt[2:]), vectors=as_array(vectors.numpy()))])
    assert_scores(output, reference.scores(prompt, start_of(model), vectors))


def check_training(model: Any, reference: Reference) -> None:
    """The gradient of the soft prompt."""
    vectors, prompt = vectors_of(model).requires_grad_(), reference.prompts[0]
    learned = request((-1, -2, *prompt[2:]), vectors=as_array(vectors.detach().numpy()))
    (scores,) = model.differentiable([learned]).scores([0], Interventions(vectors=vectors))
    (actual,) = torch.autograd.grad(torch.cat(scores).sum(), vectors)
    rows = reference.scores(prompt, start_of(model), vectors)
    (expected,) = torch.autograd.grad(torch.stack([score for row in rows for score in row]).sum(), vectors)
    assert actual.numpy() == pytest.approx(expected.numpy(), abs=1e-3 * expected.abs().max().item())


CHECKS: dict[str, Callable[[Any, Reference], None]] = dict(
    zip(VERBS, (check_score, check_read, check_hidden, check_generate, check_soft_prompt, check_training), strict=True)
)
HEAD = f"| architecture | kind | {' | '.join(VERBS)} |"
RULE = "|---" * (len(VERBS) + 2) + "|"


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The row of the table of each architecture that was run; with --update-architectures, they are written."""
    measured: dict[str, str] = {}
    yield measured
    if request.config.getoption("--update-architectures"):
        write_table(BEGIN, END, [HEAD, RULE, *(measured[kind] for kind in sorted(measured))])


def cell(check: Callable[[Any, Reference], None], model: Any, reference: Reference) -> str:
    """Returns the result of a check: `works`, or why the request is refused. A wrong number fails the test."""
    try:
        check(model, reference)
    except PromptkitError as error:
        reason = str(error).partition(". ")[0].replace(model.name, "")
        return f"refused: {re.sub(r'^The model  ', '', reason)}"
    return "works"


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # in older versions of transformers
@pytest.mark.parametrize("kind", [*ENCODER_DECODERS, *MASKED])
def test_architecture(kind: str, tmp_path: Path, rows: dict[str, str], request: pytest.FixtureRequest) -> None:
    auto: Any = hf.AutoModelForSeq2SeqLM if kind in ENCODER_DECODERS else hf.AutoModelForMaskedLM
    save_model(tmp_path, auto.from_config(config_of(kind)), byte_level())
    model, reference = pk.load(tmp_path), Reference(tmp_path, kind)
    cells = [cell(check, model, reference) for check in CHECKS.values()]
    name = "encoder-decoder" if kind in ENCODER_DECODERS else "masked"
    rows[kind] = f"| {kind} | {name} | {' | '.join(cells)} |"
    assert cells[0] == "works" or kind == "fsmt"
    if not request.config.getoption("--update-architectures"):
        assert rows[kind] in documented_table(BEGIN, END), "make architectures"


def test_the_table_has_every_architecture_once(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-architectures"):
        pytest.skip("the table is written after the last test")
    table = documented_table(BEGIN, END)
    assert [line.split()[1] for line in table[2:]] == sorted([*ENCODER_DECODERS, *MASKED])
