"""Requests to tiny models of the hf engine, and their outputs as plain numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from promptkit.core.requests import Output, ReadOutput, Request, ScoreOutput
from tests.support.tiny import VOCABULARY

LoadModel = Callable[..., Any]
"""`load_model(kind, **settings)`: a tiny model of the hf engine; the fixture of tests/models/hf/conftest.py."""


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


def random_prompts(count: int, *, seed: int, shared: int = 12, shortest: int = 2, longest: int = 9) -> list[tuple[int, ...]]:
    """Random token ids: `shared` tokens that all prompts begin with, then `shortest` to `longest` tokens of each prompt."""
    draw = random.Random(seed)
    beginning = tuple(draw.randrange(3, VOCABULARY) for _ in range(shared))
    return [
        beginning + tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(shortest, longest))) for _ in range(count)
    ]
