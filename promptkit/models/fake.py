"""The fake engine: a deterministic language model made of hashes, for documentation, dry runs and tests.

It reads bytes, obeys the rules of probability (its next-token distributions sum to 1 and depend on the whole prompt)
and knows nothing. No weights, no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from promptkit.core.inputs import TextInput, Vectors
from promptkit.core.model import Card, Encoding
from promptkit.core.requests import GenerateOutput, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models import registry as base
from promptkit.models.batching import make_plan
from promptkit.models.generation import outputs_of, texts_of
from promptkit.models.one_token import refuse_layers

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

CONTROL = {"<bos>": 256, "<turn>": 257, "<end>": 258}
VOCABULARY = 256 + len(CONTROL)
D_MODEL = 16
CONTEXT_LENGTH = 1 << 20


class ByteTokenizer:
    """One token a UTF-8 byte, and three control tokens."""

    control: Mapping[str, int] = CONTROL
    bos: tuple[int, ...] = (CONTROL["<bos>"],)

    ends: tuple[int, ...] = (CONTROL["<end>"],)

    def encode(self, text: str) -> Encoding:
        """Bytes; every byte of a character starts where the character does."""
        starts = [index for index, character in enumerate(text) for _ in character.encode("utf-8", "surrogatepass")]
        return Encoding(ids=tuple(text.encode("utf-8", "surrogatepass")), starts=tuple(starts))

    def name(self, token_id: int) -> str:
        """The control token's name, or the byte as hexadecimal."""
        names = {number: name for name, number in CONTROL.items()}
        return names.get(token_id) or (chr(token_id) if 32 <= token_id < 127 else f"<0x{token_id:02X}>")

    def decode(self, ids: Sequence[int]) -> str:
        """The text; control tokens by name."""
        parts = [self.name(i).encode() if i > 255 else bytes([i]) for i in ids]
        return b"".join(parts).decode("utf-8", "replace")

    def chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """`<bos>`, then `<turn>role`, the content and `<end>` for each turn."""
        shown = "".join(f"<turn>{role}\n{content}<end>\n" for role, content in turns)
        return f"<bos>{shown}<turn>assistant\n"


class FakeModel:
    """Answers every request from a hash of the token ids."""

    verbs = frozenset({"Score", "Read", "Generate"})
    hidden_states = True

    class Settings(base.Settings):
        """Settings of the fake engine."""

        batch_tokens: PositiveInt = 4096
        """Tokens answered at once."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Another `name` is another model."""
        self.name = name if name == "fake" else f"fake:{name}"
        self._settings = settings
        self._vectors: dict[int, Floats] = {}
        self.card = Card(
            tokenizer=ByteTokenizer(),
            d_model=D_MODEL,
            vocabulary=VOCABULARY,
            layers=1,
            kv_heads=1,
            context_length=CONTEXT_LENGTH,
            instruct=False,
        )

    def identity(self) -> Mapping[str, object]:
        """The name is the model."""
        return {"engine": "fake", "name": self.name, "batch_tokens": self._settings.batch_tokens}

    def embed(self, ids: Sequence[int]) -> Vectors:
        """The tokens' vectors; as learned ones they are other tokens than those."""
        self._hidden((0,), 0, None)
        return Vectors(data=self._vectors[0][list(ids)].astype("<f4").tobytes(), d_model=D_MODEL)

    def notes(self) -> Sequence[str]:
        """Nothing ever happens."""
        return ()

    def load(self) -> None:
        """There is nothing to load."""

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """See `Model.batches`."""
        size = self._settings.batch_tokens
        plan = make_plan(requests, batch_tokens=size, batch_pairs=size**2, share=False)
        return [batch.requests for batch in plan.batches]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Answer a batch of the plan at a time; see `Model.answer`."""
        refuse_layers(requests, self.name)
        finished = frozenset(done)
        for batch in self.batches(requests):
            if not finished.issuperset(batch):
                yield batch, tuple(self._output(requests[i]) for i in batch)

    def _output(self, request: Request) -> Output:
        ids, verb = _distinct(request.input), request.verb
        if isinstance(verb, Score):
            return ScoreOutput(
                logprobs=tuple(
                    tuple(float(self._next(ids + c[:depth])[token]) for depth, token in enumerate(c))
                    for c in verb.continuations
                )
            )
        return self._read(ids, verb) if isinstance(verb, Read) else self._write(request)

    def _write(self, request: Request) -> GenerateOutput:
        texts, ids = texts_of([request]), _distinct(request.input)
        for text in texts:
            while text.generation is None:
                logprobs = self._next(ids + tuple(text.ids))
                token = int(logprobs.argmax())
                if text.verb.temperature > 0:
                    weights = np.cumsum(np.exp((logprobs - logprobs.max()) / text.verb.temperature))
                    token = int(np.searchsorted(weights, text.uniform * weights[-1], side="right"))
                text.add(token, self.card.tokenizer, frozenset(self.card.tokenizer.ends))
        return outputs_of(texts, 1)[0]

    def _read(self, ids: tuple[int, ...], verb: Read) -> ReadOutput:
        logprobs = self._next(ids)
        best = np.argsort(-logprobs, kind="stable")[: verb.top_m]
        return ReadOutput(
            logprobs=tuple(float(logprobs[token]) for token in verb.token_ids),
            top=tuple((int(token), float(logprobs[token])) for token in best),
            hidden=() if verb.hidden_layer is None else self._hidden(ids, verb.hidden_layer, verb.mean_from),
        )

    def _hidden(self, ids: tuple[int, ...], layer: int, mean_from: int | None) -> tuple[float, ...]:
        """A token has a vector; the hidden state at a position is the mean of those of the tokens so far."""
        if layer not in self._vectors:
            self._vectors[layer] = self._noise((), VOCABULARY * D_MODEL, f"hidden {layer}").reshape(VOCABULARY, D_MODEL)
        states = self._vectors[layer][[token % VOCABULARY for token in ids]].cumsum(0) / np.arange(1, len(ids) + 1)[:, None]
        state = states[-1] if mean_from is None else states[mean_from:].mean(0)
        return tuple(state.astype(np.float32).tolist())

    def _next(self, ids: tuple[int, ...]) -> Floats:
        """Next-token log-probabilities, shape (VOCABULARY,)."""
        logits = self._noise(ids, VOCABULARY, "logits")
        normalized: Floats = logits - np.logaddexp.reduce(logits)
        return normalized

    def _noise(self, ids: tuple[int, ...], size: int, purpose: str) -> Floats:
        key = f"{self.name}\0{purpose}\0{ids}".encode()
        seed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
        return np.random.default_rng(seed).normal(size=size)


def _distinct(prompt: TextInput) -> tuple[int, ...]:
    """The ids, those of learned vectors by what the vectors hold."""
    if prompt.vectors is None:
        return prompt.ids
    width = 4 * prompt.vectors.d_model
    rows = [prompt.vectors.data[begin : begin + width] for begin in range(0, len(prompt.vectors.data), width)]
    held = [-1 - int.from_bytes(hashlib.blake2b(row, digest_size=6).digest()) for row in rows]
    return tuple(token if token >= 0 else held[-1 - token] for token in prompt.ids)
