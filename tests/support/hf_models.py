"""Requests to tiny models of the hf engine, and their outputs as plain numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

import promptkit as pk
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.core.requests import Output, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.client import CachedModel
from tests.support.tiny import VOCABULARY

TEXTS = ["a good evening", "never again! a bad, dull film\n\nand long", "500", "as far as one may think", "", "liked it"]
"""Reviews of different lengths, one of them empty."""
LoadModel = Callable[..., Any]
"""`load_model(kind, **settings)`: a tiny model of the hf engine; the fixture of tests/models/hf/conftest.py."""


def rendered_rows(
    model: Any,
    texts: Sequence[str],
    words: Mapping[str, str],
    template: str = "sentiment/review",
    *,
    pool: Sequence[LabeledExample] = (),
    **options: Any,
) -> list[Any]:
    """The rows of a prompt for texts to classify; `words` are the label words, `options` those of `pk.Prompt`."""
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(words), rows={"pool": pool})
    bound = pk.Prompt(template, **options).bind(context)
    return bound([Example(id=text, inputs={"text": text}) for text in texts])


def requests_of(rows: Sequence[Any]) -> list[Request]:
    """Requests for the scores of the labels of rendered rows."""
    return [row.request(Score(continuations=row.continuations)) for row in rows]


def answer(model: Any, requests: Sequence[Request]) -> list[Any]:
    """The outputs of requests, in their order."""
    outputs = {index: output for indices, batch in model.answer(requests) for index, output in zip(indices, batch, strict=True)}
    return [outputs[index] for index in range(len(requests))]


def numbers(output: Output) -> list[float]:
    """All numbers of an output in one list."""
    if isinstance(output, ScoreOutput):
        return [x for row in output.logprobs for x in row]
    assert isinstance(output, ReadOutput)
    return [*output.logprobs, *(x for _, x in output.top), *([] if output.hidden is None else output.hidden.numpy().tolist())]


def layer_states(model: Any, ids: Sequence[int], layer: int) -> torch.Tensor:
    """What the next layer receives, or for -1 the output head, in a model of transformers, (tokens, d_model)."""
    parts = (model.get_decoder(), model.base_model, *model.children())
    decoder = next(part for part in parts if isinstance(part, PreTrainedModel) and part is not model)
    count = model.config.get_text_config().num_hidden_layers
    layers = next(part for part in decoder.modules() if isinstance(part, nn.ModuleList) and len(part) == count)
    received: list[torch.Tensor] = []

    def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> None:
        received.append(inputs[0] if inputs else named["hidden_states"])

    hooks = [each.register_forward_pre_hook(record, with_kwargs=True) for each in layers]
    with torch.no_grad():
        last = decoder(torch.tensor([ids]), use_cache=False).last_hidden_state
    for hook in hooks:
        hook.remove()
    return [*received, last][layer][0]


def random_prompts(count: int, *, seed: int, shared: int = 12, shortest: int = 2, longest: int = 9) -> list[tuple[int, ...]]:
    """Random token ids: `shared` tokens that all prompts begin with, then `shortest` to `longest` tokens of each prompt."""
    draw = random.Random(seed)
    beginning = tuple(draw.randrange(3, VOCABULARY) for _ in range(shared))
    return [
        beginning + tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(shortest, longest))) for _ in range(count)
    ]
