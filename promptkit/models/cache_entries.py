"""The entries of the score cache: the keys of a request, and outputs as JSON values."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.hashing import sha256, sha256_hex
from promptkit.core.interventions import NO_INTERVENTIONS, Interventions
from promptkit.core.requests import (
    Classify,
    ClassifyOutput,
    Generate,
    GenerateOutput,
    Generation,
    Output,
    Read,
    ReadOutput,
    Request,
    Score,
    ScoreOutput,
)
from promptkit.core.version import __version__

Value = Sequence[Any]
"""The JSON value of one entry, read from a file that anyone may have changed."""


def model_digest(model: Mapping[str, object]) -> str:
    """Returns the hash of a model's identity and promptkit's version."""
    return sha256_hex(json.dumps([__version__, model], sort_keys=True))


def entry_keys(model: str, request: Request) -> list[bytes]:
    """Returns the keys of a request: one, or one for each sample of a generation.

    Args:
        model: The digest of the model.
        request: The request.
    """
    read = f"{request.input.modality}\0{request.input.fingerprint()}\0{_digest(request.interventions)}"
    return [sha256(f"{model}\0{read}\0{verb}\0{sample}") for sample, verb in _samples(request)]


def _samples(request: Request) -> list[tuple[int, str]]:
    """Returns the number and the settings of each sample; a greedy text does not depend on the seed."""
    verb = request.verb
    if not isinstance(verb, Generate):
        return [(0, repr(verb))]
    random = verb.temperature > 0
    settings = repr(replace(verb, n=1, known=0, seed=verb.seed if random else 0))
    return [(sample if random else 0, settings) for sample in range(verb.known, verb.n)]


@lru_cache(maxsize=4)
def _digest(interventions: Interventions[Array]) -> str:
    """Returns a hash of interventions, empty without any; it is cached because all requests of a run share them."""
    return sha256_hex(repr(interventions)) if interventions != NO_INTERVENTIONS else ""


def encode(output: Output) -> list[Value]:
    """Returns the JSON value for each key of the output's request."""
    if isinstance(output, ScoreOutput):
        return [output.logprobs]
    if isinstance(output, ReadOutput):
        return [[output.logprobs, output.top, _pack(output.hidden)]]
    if isinstance(output, ClassifyOutput):
        return [[_pack(output.logits), output.log_normalizer]]
    return [[text.ids, text.text, text.ended] for text in output.generations]


def decode(request: Request, values: Sequence[Value]) -> Output | None:
    """Returns the output that the values encode, or None if they do not fit the request."""
    verb = request.verb
    try:
        if isinstance(verb, Score):
            if not values[0]:
                return ScoreOutput(logprobs=(), answered=False)
            logprobs = tuple(tuple(map(float, row)) for row in values[0])
            return ScoreOutput(logprobs=logprobs) if [*map(len, logprobs)] == [*map(len, verb.continuations)] else None
        if isinstance(verb, Read):
            read, top, hidden = values[0]
            return ReadOutput(logprobs=tuple(read), top=tuple((int(i), float(x)) for i, x in top), hidden=_unpack(hidden))
        if isinstance(verb, Classify):
            logits, log_normalizer = values[0]
            return ClassifyOutput(logits=_array(logits), log_normalizer=float(log_normalizer))
        return GenerateOutput(
            generations=tuple(Generation(ids=tuple(ids), text=text, ended=ended) for ids, text, ended in values)
        )
    except (TypeError, ValueError):
        return None


def _pack(array: Array | None) -> str | None:
    """Returns a vector as little-endian float32 in base64, which takes a quarter of the space of decimal digits."""
    return None if array is None else base64.b64encode(array.tobytes()).decode()


def _unpack(text: str | None) -> Array | None:
    return None if text is None else _array(text)


def _array(text: str) -> Array:
    return as_array(np.frombuffer(base64.b64decode(text, validate=True), "<f4"))
