"""The fake engine: a deterministic language model whose probabilities are hashes, for documentation, dry runs and tests.

Its tokens are bytes. Its next-token distributions sum to 1 and depend on the entire prompt. It needs no weights and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from promptkit.core.arrays import Array, as_array
from promptkit.core.hashing import blake2b_int
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, Encoding, TextCard
from promptkit.core.requests import GenerateOutput, Output, Prepared, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.core.thinking import ThoughtMarkers
from promptkit.models import registry
from promptkit.models.base import BatchedEngine
from promptkit.models.constraint import Constraints, byte_tokenizer
from promptkit.models.generation import Writing, outputs_of, texts_of

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

CONTROL = {"<bos>": 256, "<turn>": 257, "<end>": 258}
VOCABULARY = 256 + len(CONTROL)
D_MODEL = 16
CONTEXT_LENGTH = 1 << 20


class ByteTokenizer:
    """A tokenizer with one token for each UTF-8 byte and three control tokens."""

    control: Mapping[str, int] = CONTROL
    bos: tuple[int, ...] = (CONTROL["<bos>"],)
    ends: tuple[int, ...] = (CONTROL["<end>"],)

    def encode(self, text: str, *, after: str | None = None, before: str | None = None) -> Encoding:
        """Returns the bytes of the text; every byte of a character starts at the offset of the character."""
        starts = [index for index, character in enumerate(text) for _ in character.encode("utf-8", "surrogatepass")]
        return Encoding(ids=tuple(text.encode("utf-8", "surrogatepass")), starts=tuple(starts))

    def name(self, token_id: int) -> str:
        """Returns the control token's name, the printable character, or the byte in hexadecimal."""
        names = {number: name for name, number in CONTROL.items()}
        return names.get(token_id) or (chr(token_id) if 32 <= token_id < 127 else f"<0x{token_id:02X}>")

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of the ids, with control tokens by name."""
        parts = [self.name(i).encode() if i > 255 else bytes([i]) for i in ids]
        return b"".join(parts).decode("utf-8", "replace")

    def chat(self, turns: Sequence[tuple[str, str]], options: ChatOptions = DEFAULT_CHAT) -> str:
        """Returns `<bos>`, then `<turn>role`, the content and `<end>` for each turn, then the start of the answer.

        Without thinking, the answer starts with an empty thought, as in the chat template of Qwen.
        """
        formatted = "".join(f"<turn>{role}\n{content}<end>\n" for role, content in turns)
        return f"<bos>{formatted}<turn>assistant\n" + ("<think>\n\n</think>\n\n" if options.thinking is False else "")

    def thought_markers(self, options: ChatOptions = DEFAULT_CHAT) -> Sequence[ThoughtMarkers]:
        """Returns none: the model has no thoughts."""
        return ()


class FakeModel(BatchedEngine):
    """A model that answers every request from a hash of its token ids."""

    capabilities = registry.ENGINES["fake"].capabilities

    class Settings(registry.Settings):
        """Settings of the fake engine."""

        batch_tokens: PositiveInt = 4096
        """Maximum number of tokens in a batch."""
        context_length: PositiveInt = CONTEXT_LENGTH
        """Number of tokens of the context; a small one tries out prompts that do not fit."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Creates a fake model.

        Args:
            name: Any word; a different word gives different probabilities.
            settings: The settings of the engine.
        """
        super().__init__(name if name == "fake" else f"fake:{name}", batch_tokens=settings.batch_tokens)
        self._settings = settings
        self._token_vectors: dict[int, Floats] = {}
        self.card = TextCard(
            tokenizer=ByteTokenizer(),
            d_model=D_MODEL,
            embedding_width=D_MODEL,
            vocabulary=VOCABULARY,
            layers=1,
            kv_heads=1,
            context_length=settings.context_length,
            instruct=False,
        )

    @cached_property
    def _writing(self) -> Writing:
        constraints = Constraints(lambda: byte_tokenizer([*CONTROL], end=CONTROL["<end>"]), self.name)
        return Writing(tokenizer=self.card.tokenizer, ends=frozenset(ByteTokenizer.ends), constrain=constraints)

    def identity(self) -> Mapping[str, object]:
        """Returns the name and the settings, which determine every result."""
        return {"engine": "fake", "name": self.name, **self._settings.model_dump()}

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of the tokens; used as learned vectors, they do not give the results of the tokens."""
        return as_array(self._layer_vectors(0)[list(ids)])

    def _compute(self, requests: Sequence[Request]) -> tuple[Output, ...]:
        return tuple(map(self._output, requests))

    def _output(self, request: Request) -> Output:
        ids, verb = _content_ids(request.prepared), request.verb
        if isinstance(verb, Score):
            return ScoreOutput(
                logprobs=tuple(
                    tuple(float(self._next(ids + c[:depth])[token]) for depth, token in enumerate(c))
                    for c in verb.continuations
                )
            )
        return self._read(ids, verb) if isinstance(verb, Read) else self._write(request)

    def _write(self, request: Request) -> GenerateOutput:
        texts, ids = texts_of([request], self._writing.constrain), _content_ids(request.prepared)
        for text in texts:
            while text.generation is None:
                logprobs = self._next(ids + tuple(text.ids))
                if text.constraint is not None:
                    logprobs = np.where(text.constraint.allowed(VOCABULARY), logprobs, -np.inf)
                token = int(logprobs.argmax())
                if text.verb.temperature > 0:
                    weights = np.cumsum(np.exp((logprobs - logprobs.max()) / text.verb.temperature))
                    token = int(np.searchsorted(weights, text.uniform * weights[-1], side="right"))
                text.add(token, self._writing)
        return outputs_of(texts, 1)[0]

    def _read(self, ids: tuple[int, ...], verb: Read) -> ReadOutput:
        logprobs = self._next(ids)
        best = np.argsort(-logprobs, kind="stable")[: verb.top_m]
        return ReadOutput(
            logprobs=tuple(float(logprobs[token]) for token in verb.token_ids),
            top=tuple((int(token), float(logprobs[token])) for token in best),
            hidden=None if verb.hidden_layer is None else self._hidden(ids, verb.hidden_layer, verb.mean_from),
        )

    def _hidden(self, ids: tuple[int, ...], layer: int, mean_from: int | None) -> Array:
        """Returns a hidden state: at each position, the mean of the vectors of the tokens up to it."""
        vectors = self._layer_vectors(layer)[[token % VOCABULARY for token in ids]]
        states = vectors.cumsum(0) / np.arange(1, len(ids) + 1)[:, None]
        state = states[-1] if mean_from is None else states[mean_from:].mean(0)
        return as_array(state)

    def _layer_vectors(self, layer: int) -> Floats:
        """Returns one vector for each token, shape (VOCABULARY, D_MODEL)."""
        if layer not in self._token_vectors:
            noise = self._noise((), VOCABULARY * D_MODEL, f"hidden {layer}")
            self._token_vectors[layer] = noise.reshape(VOCABULARY, D_MODEL)
        return self._token_vectors[layer]

    def _next(self, ids: tuple[int, ...]) -> Floats:
        """Returns the next-token log-probabilities, shape (VOCABULARY,)."""
        logits = self._noise(ids, VOCABULARY, "logits")
        normalized: Floats = logits - np.logaddexp.reduce(logits)
        return normalized

    def _noise(self, ids: tuple[int, ...], size: int, purpose: str) -> Floats:
        seed = blake2b_int(f"{self.name}\0{purpose}\0{ids}")
        return np.random.default_rng(seed).normal(size=size)


def _content_ids(prepared: Prepared) -> tuple[int, ...]:
    """Returns the token ids, with the id of each learned vector replaced by a hash of its values."""
    ids, vectors = prepared.text.ids, prepared.interventions.vectors
    if vectors is None:
        return ids
    hashes = [-1 - blake2b_int(row.tobytes(), size=6) for row in vectors.numpy()]
    return tuple(token if token >= 0 else hashes[-1 - token] for token in ids)
