"""The entries of the score cache: the keys of a request, and outputs as JSON values."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from promptkit.core.arrays import Array
from promptkit.core.inputs import HiddenEdit, KVPrefix, TextInput
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.core.version import __version__

Value = Sequence[Any]
"""The JSON value of one entry, read from a file that anyone may have changed."""


def model_digest(model: Mapping[str, object]) -> str:
    """Returns the hash of a model's identity and promptkit's version."""
    return hashlib.sha256(json.dumps([__version__, model], sort_keys=True).encode()).hexdigest()


def entry_keys(model: str, request: Request) -> list[bytes]:
    """Returns the keys of a request: one, or one for each sample of a generation.

    Args:
        model: The digest of the model.
        request: The request.
    """
    learned = _learned_digest(request.input)
    return [
        hashlib.sha256(f"{model}\0{request.input.ids}\0{learned}\0{verb}\0{sample}".encode("utf-8", "surrogatepass")).digest()
        for sample, verb in _samples(request)
    ]


def _samples(request: Request) -> list[tuple[int, str]]:
    """Returns the number and the settings of each sample; a greedy text does not depend on the seed."""
    verb = request.verb
    if not isinstance(verb, Generate):
        return [(0, repr(verb))]
    random = verb.temperature > 0
    settings = repr(replace(verb, n=1, known=0, seed=verb.seed if random else 0))
    return [(sample if random else 0, settings) for sample in range(verb.known, verb.n)]


def _learned_digest(prompt: TextInput) -> str:
    vectors = hashlib.sha256(prompt.vectors.data).hexdigest() if prompt.vectors else ""
    return vectors + (_layers_digest(prompt.prefixes, prompt.edits) if prompt.prefixes or prompt.edits else "")


@lru_cache(maxsize=4)
def _layers_digest(prefixes: tuple[KVPrefix[Array], ...], edits: tuple[HiddenEdit[Array], ...]) -> str:
    """Returns the hash of the interventions on layers; it is cached because all requests of a run share them."""
    return hashlib.sha256(f"{prefixes}\0{edits}".encode()).hexdigest()


def encode(output: Output) -> list[Value]:
    """Returns the JSON value for each key of the output's request."""
    if isinstance(output, ScoreOutput):
        return [output.logprobs]
    if isinstance(output, ReadOutput):
        return [[output.logprobs, output.top, _pack(output.hidden)]]
    return [[text.ids, text.text, text.ended] for text in output.generations]


def decode(request: Request, values: Sequence[Value]) -> Output | None:
    """Returns the output that the values encode, or None if they do not fit the request."""
    verb = request.verb
    try:
        if isinstance(verb, Score):
            logprobs = tuple(tuple(map(float, row)) for row in values[0])
            return ScoreOutput(logprobs=logprobs) if [*map(len, logprobs)] == [*map(len, verb.continuations)] else None
        if isinstance(verb, Read):
            read, top, hidden = values[0]
            return ReadOutput(logprobs=tuple(read), top=tuple((int(i), float(x)) for i, x in top), hidden=_unpack(hidden))
        return GenerateOutput(
            generations=tuple(Generation(ids=tuple(ids), text=text, ended=ended) for ids, text, ended in values)
        )
    except (TypeError, ValueError, struct.error):
        return None


def _pack(numbers: Sequence[float]) -> str:
    """Returns numbers as little-endian float32 in base64, which takes a quarter of the space of their digits."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _unpack(text: str) -> tuple[float, ...]:
    data = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(data) // 4}f", data)
